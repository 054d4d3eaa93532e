export { register } from "@core/instrumentation";
