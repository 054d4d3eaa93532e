import "server-only";

import { headers } from "next/headers";

import { answer, connect } from "@core/client";
import { ApiProblem } from "@core/problem";
import { passedOn } from "@core/request";
import { byCookies } from "@core/session/by-cookies";
import { type Tokens, forgetTokens } from "@core/session/cookies";
import type { Refreshed } from "@core/session/refresh";

/** A pair of tokens, as the API gives it. */
export type Pair = { access_token: string; refresh_token: string; expires_in: number };

export function tokensOf(pair: Pair): Tokens {
  return {
    access: pair.access_token,
    refresh: pair.refresh_token,
    expiresIn: pair.expires_in,
  };
}

/** Swaps a refresh token for a new pair. */
export async function refresh(refreshToken: string, incoming: Headers): Promise<Refreshed> {
  const body = { refresh_token: refreshToken };
  try {
    const call = connect(passedOn(incoming)).POST("/api/v1/auth/refresh", { body });
    return tokensOf((await answer(call)).data);
  } catch (error) {
    if (!(error instanceof ApiProblem)) throw error;
    // 409: another request has swapped it this very moment. 422: this is no refresh token at all.
    if (error.status === 409) return "elsewhere";
    if (error.status === 401 || error.status === 422) return "refused";
    throw error;
  }
}

async function forget(): Promise<string> {
  const { refresh } = await forgetTokens();
  if (refresh) {
    const body = { refresh_token: refresh };
    const call = connect(passedOn(await headers())).POST("/api/v1/auth/logout", { body });
    await call.catch((error) => console.error("The API has not ended the session:", error));
  }
  return "/";
}

/** The API itself signs in. */
export const { needsSignIn, session, endSession, withSession, contentSources, SessionProvider } =
  byCookies({ refresh, endSession: forget });
