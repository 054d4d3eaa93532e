import "server-only";

import { headers } from "next/headers";

/** The path with its query, for coming back to it. Set by the proxy, never by a browser. */
export const PATH_HEADER = "x-path";
export const NONCE_HEADER = "x-nonce";
export const REQUEST_ID_HEADER = "x-request-id";

const SANE_ID = /^[A-Za-z0-9._-]{1,128}$/;

/** The request's own id when it is a sane one, otherwise a new one. */
export function requestId(given: string | null): string {
  return given && SANE_ID.test(given) ? given : crypto.randomUUID();
}

/** The path and query of the request at hand. */
export async function currentPath(): Promise<string> {
  return (await headers()).get(PATH_HEADER) ?? "/";
}

/** What the API is told of the browser's request: its id, and for whom it is. */
export function passedOn(incoming: Headers): Record<string, string> {
  const passed: Record<string, string> = {
    [REQUEST_ID_HEADER]: requestId(incoming.get(REQUEST_ID_HEADER)),
  };
  for (const name of ["x-forwarded-for", "user-agent"]) {
    const value = incoming.get(name);
    if (value) passed[name] = value;
  }
  return passed;
}
