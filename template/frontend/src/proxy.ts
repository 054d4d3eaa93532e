export { proxy } from "@core/proxy";

// Next.js reads this without running it, so it must be a literal.
export const config = {
  matcher: ["/((?!_next/static/|_next/image$|health$|icon.svg$).*)"],
};
