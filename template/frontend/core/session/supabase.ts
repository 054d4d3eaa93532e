import "server-only";

import { AuthClient, isAuthApiError, type Session as SupabaseSession } from "@supabase/auth-js";

import { byCookies } from "@core/session/by-cookies";
import { type Tokens, forgetTokens } from "@core/session/cookies";
import type { Refreshed } from "@core/session/refresh";
import { required } from "@core/settings";

const LONGEST_MS = 10_000;

/** Supabase's own client, made for one request: it must not remember anybody. */
export function supabase() {
  const url = required("SUPABASE_URL", "https://abcdefghijklmnopqrst.supabase.co");
  return new AuthClient({
    url: `${url.replace(/\/+$/, "")}/auth/v1`,
    headers: { apikey: required("SUPABASE_PUBLISHABLE_KEY", "sb_publishable_...") },
    autoRefreshToken: false,
    detectSessionInUrl: false,
    persistSession: false,
    fetch: (input, init) =>
      fetch(input, { ...init, cache: "no-store", signal: AbortSignal.timeout(LONGEST_MS) }),
  });
}

export function tokensOf(session: SupabaseSession): Tokens {
  return {
    access: session.access_token,
    refresh: session.refresh_token,
    expiresIn: session.expires_in,
  };
}

async function refresh(refreshToken: string): Promise<Refreshed> {
  const { data, error } = await supabase().refreshSession({ refresh_token: refreshToken });
  if (data.session) return tokensOf(data.session);
  if (isAuthApiError(error) && error.status < 500 && error.status !== 429) return "refused";
  throw error;
}

async function forget(): Promise<string> {
  const { access } = await forgetTokens();
  if (access) {
    const { error } = await supabase().admin.signOut(access, "local");
    if (error) console.error("Supabase has not ended the session:", error.message);
  }
  return "/";
}

/** Supabase signs in (https://supabase.com/docs/guides/auth/passwords). */
export const { needsSignIn, session, endSession, withSession, contentSources, SessionProvider } =
  byCookies({ refresh, endSession: forget });
