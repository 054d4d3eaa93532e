export { beginSignIn as GET } from "@core/session/oidc-sign-in";
