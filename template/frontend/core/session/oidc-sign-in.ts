import "server-only";

import { cookies } from "next/headers";
import { type NextRequest, NextResponse } from "next/server";
import {
  type Configuration,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  calculatePKCECodeChallenge,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
} from "openid-client";

import { connect } from "@core/client";
import { ApiProblem } from "@core/problem";
import { passedOn } from "@core/request";
import { safeReturnTo } from "@core/return-to";
import { type Tokens, cookieName, cookieOf, keepTokens } from "@core/session/cookies";
import { forTheApi, ownAddress, provider, tokensOf } from "@core/session/oidc";

const HANDSHAKE = "handshake";
const HANDSHAKE_SECONDS = 600;

type Handshake = { state: string; nonce: string; verifier: string; returnTo: string };

/** Sends the browser to the provider. */
export async function beginSignIn(request: NextRequest): Promise<Response> {
  // Next.js fetches pages ahead, by script. No script can follow to another site, so it is to
  // navigate instead.
  if ((request.headers.get("sec-fetch-mode") ?? "navigate") !== "navigate") {
    return new Response("Open this page to sign in.", { status: 401 });
  }
  const handshake: Handshake = {
    state: randomState(),
    nonce: randomNonce(),
    verifier: randomPKCECodeVerifier(),
    returnTo: safeReturnTo(request.nextUrl.searchParams.get("returnTo")),
  };
  let config: Configuration;
  try {
    config = await provider();
  } catch (error) {
    console.error("The provider does not answer:", error);
    return failed("away");
  }
  const address = buildAuthorizationUrl(config, {
    redirect_uri: `${ownAddress()}/sign-in/callback`,
    scope: process.env.OIDC_SCOPE || "openid",
    state: handshake.state,
    nonce: handshake.nonce,
    code_challenge: await calculatePKCECodeChallenge(handshake.verifier),
    code_challenge_method: "S256",
    ...forTheApi(),
  });
  const response = NextResponse.redirect(address, 303);
  response.cookies.set(cookieOf(HANDSHAKE, JSON.stringify(handshake), HANDSHAKE_SECONDS));
  return response;
}

/** Signs in whoever comes back from the provider. */
export async function finishSignIn(request: NextRequest): Promise<Response> {
  const handshake = await takeHandshake();
  if (!handshake) return failed("late");
  const { pathname, search } = request.nextUrl;
  let tokens: Tokens;
  try {
    const answer = await authorizationCodeGrant(
      await provider(),
      new URL(`${ownAddress()}${pathname}${search}`),
      {
        expectedState: handshake.state,
        expectedNonce: handshake.nonce,
        pkceCodeVerifier: handshake.verifier,
        idTokenExpected: true,
      },
      forTheApi(),
    );
    tokens = tokensOf(answer);
  } catch (error) {
    console.error("The provider has signed nobody in:", error);
    return failed("refused");
  }
  // Otherwise a token that the API refuses leads back here, and round and round.
  if (!(await isAccepted(tokens, request.headers))) return failed("token");
  await keepTokens(tokens);
  return NextResponse.redirect(`${ownAddress()}${safeReturnTo(handshake.returnTo)}`, 303);
}

async function takeHandshake(): Promise<Handshake | null> {
  const jar = await cookies();
  const kept = jar.get(cookieName(HANDSHAKE))?.value;
  jar.set(cookieOf(HANDSHAKE, "", 0));
  try {
    return kept ? (JSON.parse(kept) as Handshake) : null;
  } catch {
    return null;
  }
}

async function isAccepted(tokens: Tokens, incoming: Headers): Promise<boolean> {
  const headers = { ...passedOn(incoming), authorization: `Bearer ${tokens.access}` };
  try {
    await connect(headers).GET("/api/v1/auth/me");
  } catch (error) {
    if (!(error instanceof ApiProblem)) throw error;
    if (error.status === 401) {
      console.error("The API refuses the provider's token. Compare OIDC_AUDIENCE here and there:");
      console.error(error.message);
      return false;
    }
  }
  return true;
}

function failed(why: "away" | "late" | "refused" | "token"): Response {
  return NextResponse.redirect(`${ownAddress()}/sign-in/failed?why=${why}`, 303);
}
