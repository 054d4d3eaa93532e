import { type NextRequest, NextResponse } from "next/server";

import { NONCE_HEADER, PATH_HEADER, REQUEST_ID_HEADER, requestId } from "@core/request";
import { contentSecurityPolicy } from "@core/security";
import { withSession } from "@core/session";
import { frontendUrl } from "@core/settings";

/** What a page is told of its request, and the browser of the page. */
export function prepare(request: NextRequest): NextResponse {
  const nonce = crypto.randomUUID();
  const policy = contentSecurityPolicy(nonce);
  const id = requestId(request.headers.get(REQUEST_ID_HEADER));

  const headers = new Headers(request.headers);
  headers.set(PATH_HEADER, request.nextUrl.pathname + request.nextUrl.search);
  headers.set(REQUEST_ID_HEADER, id);
  headers.set(NONCE_HEADER, nonce);
  headers.set("content-security-policy", policy); // from here Next.js takes its scripts' nonce
  // Next.js compares a server action's Origin with this one. Where the public address is known,
  // nothing that a proxy or a browser says counts.
  const address = frontendUrl();
  if (address) headers.set("x-forwarded-host", new URL(address).host);

  const response = NextResponse.next({ request: { headers } });
  response.headers.set("content-security-policy", policy);
  response.headers.set(REQUEST_ID_HEADER, id);
  return response;
}

/** What happens to every request for a page before the page is made. */
export const proxy = withSession(prepare);
