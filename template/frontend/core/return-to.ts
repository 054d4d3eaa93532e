const HERE = "http://here.invalid";
const LONGEST = 2000; // it travels in addresses and in a cookie

/** The path to return to after signing in; anything that leads to another site becomes "/". */
export function safeReturnTo(asked: unknown): string {
  if (
    typeof asked !== "string" ||
    !asked.startsWith("/") ||
    encodeURIComponent(asked).length > LONGEST
  )
    return "/";
  let url: URL;
  try {
    url = new URL(asked, HERE);
  } catch {
    return "/";
  }
  // Browsers read "/\evil" and "//evil" as addresses of other hosts, and skip tabs and line feeds;
  // so does URL. What it makes of "/.//evil" must not be such an address either.
  const path = url.pathname + url.search + url.hash;
  return url.origin === HERE && !path.startsWith("//") ? path : "/";
}

/** Where to sign in, and then come back. */
export function signInAddress(returnTo: string): string {
  return `/sign-in?returnTo=${encodeURIComponent(safeReturnTo(returnTo))}`;
}
