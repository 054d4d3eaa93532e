import "server-only";

import { type NextRequest, NextResponse } from "next/server";

import {
  type Cookie,
  type Tokens,
  cookieName,
  cookieOf,
  forgottenCookies,
  tokenCookies,
} from "@core/session/cookies";
import type { Handle } from "@core/session/port";

/** New tokens; or the old ones are worth nothing; or another request is getting the new ones. */
export type Refreshed = Tokens | "refused" | "elsewhere";
export type Refresh = (refreshToken: string, incoming: Headers) => Promise<Refreshed>;

const STILL_UNDERWAY_MS = 5_000;
const ELSEWHERE_MS = 1_000;
const REFUSED = "refused";
const REFUSED_SECONDS = 10;
const swaps = new Map<string, Promise<Refreshed>>();

/**
 * Makes the wrapper of the proxy that refreshes tokens: for the request at hand, and in the browser.
 *
 * Most providers take a refresh token once, and its second use for a theft. So requests that bring
 * the same one share a single swap. When another server was faster, the browser gets the new tokens
 * from that one: it is sent to the same page once more.
 */
export function refreshing(
  refresh: Refresh,
): (handle: Handle) => (request: NextRequest) => Promise<Response> {
  return (handle) => async (request) => {
    const token = request.cookies.get(cookieName("refresh_token"))?.value;
    if (!token || request.cookies.get(cookieName("access_token"))) return handle(request);
    try {
      const outcome = await swapOnce(token, () => refresh(token, request.headers));
      if (outcome === "elsewhere") return comeBack(request);
      if (outcome !== "refused") {
        return withCookies(request, handle, tokenCookies({ refresh: token, ...outcome }));
      }
      // A provider that knows no "elsewhere" refuses what another server has just swapped.
      if (!request.cookies.has(cookieName(REFUSED))) {
        const response = await comeBack(request);
        response.cookies.set(cookieOf(REFUSED, "1", REFUSED_SECONDS));
        return response;
      }
      return withCookies(request, handle, [...forgottenCookies(), cookieOf(REFUSED, "", 0)]);
    } catch (error) {
      // Not signed out: whoever comes back in a minute still has the refresh token.
      console.error("The session could not be refreshed:", error);
      return handle(request);
    }
  };
}

/** Has the browser ask again, a form too, with the cookies that another answer has brought it. */
async function comeBack(request: NextRequest): Promise<NextResponse> {
  await new Promise((resolve) => setTimeout(resolve, ELSEWHERE_MS));
  return NextResponse.redirect(request.nextUrl, 307);
}

function swapOnce(token: string, swap: () => Promise<Refreshed>): Promise<Refreshed> {
  const underway = swaps.get(token);
  if (underway) return underway;
  const begun = swap();
  swaps.set(token, begun);
  const forget = () => swaps.delete(token);
  begun.then(() => setTimeout(forget, STILL_UNDERWAY_MS).unref(), forget);
  return begun;
}

function withCookies(request: NextRequest, handle: Handle, changed: Cookie[]): NextResponse {
  for (const { name, value } of changed) {
    if (value) request.cookies.set(name, value);
    else request.cookies.delete(name);
  }
  const response = handle(request);
  for (const cookie of changed) response.cookies.set(cookie);
  return response;
}
