export { finishSignIn as GET } from "@core/session/oidc-sign-in";
