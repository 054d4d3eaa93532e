import "server-only";

import { cookies } from "next/headers";

import { isDevelopment } from "@core/settings";
import type { Session } from "@core/session/port";

/** What a provider gives whoever signs in. */
export type Tokens = { access: string; refresh?: string; expiresIn: number };

type Options = {
  httpOnly: true;
  sameSite: "lax";
  secure: boolean;
  path: "/";
  maxAge: number;
};

export type Cookie = { name: string; value: string } & Options;

/** The provider ends sessions sooner; this is only how long a browser remembers. */
const REMEMBERED_SECONDS = 90 * 24 * 3600;
const EARLY_SECONDS = 30;
/** What browsers keep in a cookie, its name and its attributes included. */
const LARGEST = 3800;
/** What may stand in an Authorization header (RFC 6750, 2.1). */
const TOKEN = /^[\w.~+/-]+=*$/;

/** The full name of a cookie; with this prefix, browsers take it from this very host only. */
export function cookieName(name: string): string {
  return isDevelopment() ? name : `__Host-${name}`;
}

/** A cookie that no script reads, and that no other site's form sends. */
export function cookieOf(name: string, value: string, maxAge: number): Cookie {
  if (value.length > LARGEST) {
    throw new Error(
      `The ${name} of ${value.length} characters does not fit into a cookie (${LARGEST}):` +
        " have the provider put less into it",
    );
  }
  const options: Options = {
    httpOnly: true,
    sameSite: "lax",
    secure: !isDevelopment(),
    path: "/",
    maxAge,
  };
  return { name: cookieName(name), value, ...options };
}

/** The cookies that keep tokens. That of the access token is gone shortly before the token ends. */
export function tokenCookies(tokens: Tokens): Cookie[] {
  const seconds = Math.max(tokens.expiresIn - EARLY_SECONDS, Math.floor(tokens.expiresIn / 2));
  const kept = [cookieOf("access_token", tokens.access, seconds)];
  if (tokens.refresh) kept.push(cookieOf("refresh_token", tokens.refresh, REMEMBERED_SECONDS));
  return kept;
}

/** The cookies that make a browser forget the tokens. */
export function forgottenCookies(): Cookie[] {
  return ["access_token", "refresh_token"].map((name) => cookieOf(name, "", 0));
}

/** Keeps tokens. Only server actions and route handlers may do this. */
export async function keepTokens(tokens: Tokens): Promise<void> {
  const jar = await cookies();
  for (const cookie of [...forgottenCookies(), ...tokenCookies(tokens)]) jar.set(cookie);
}

/** Forgets the tokens, and gives what they were. */
export async function forgetTokens(): Promise<{ access?: string; refresh?: string }> {
  const jar = await cookies();
  const kept = {
    access: jar.get(cookieName("access_token"))?.value,
    refresh: jar.get(cookieName("refresh_token"))?.value,
  };
  for (const cookie of forgottenCookies()) jar.set(cookie);
  return kept;
}

/** Whoever is signed in. The API judges the token; here it is only carried. */
export async function sessionOfCookies(): Promise<Session | null> {
  const token = (await cookies()).get(cookieName("access_token"))?.value;
  return token && TOKEN.test(token) ? { token } : null;
}
