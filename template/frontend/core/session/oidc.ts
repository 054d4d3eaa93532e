import "server-only";

import {
  ClientSecretBasic,
  type Configuration,
  None,
  ResponseBodyError,
  type TokenEndpointResponse,
  type TokenEndpointResponseHelpers,
  allowInsecureRequests,
  buildEndSessionUrl,
  discovery,
  refreshTokenGrant,
} from "openid-client";

import { byCookies } from "@core/session/by-cookies";
import { type Tokens, forgetTokens } from "@core/session/cookies";
import type { Refreshed } from "@core/session/refresh";
import { frontendUrl, required } from "@core/settings";

const LONGEST_SECONDS = 10;
/** For a provider that does not say how long its access tokens are valid. */
const USUAL_SECONDS = 300;

let found: Promise<Configuration> | undefined;

/** The provider, as it describes itself. */
export function provider(): Promise<Configuration> {
  found ??= discover().catch((error) => {
    found = undefined; // the next one asks again
    throw error;
  });
  return found;
}

function discover(): Promise<Configuration> {
  const issuer = new URL(required("OIDC_ISSUER", "https://login.example.com"));
  const secret = process.env.OIDC_CLIENT_SECRET;
  return discovery(
    issuer,
    required("OIDC_CLIENT_ID", "frontend"),
    undefined,
    secret ? ClientSecretBasic(secret) : None(),
    {
      timeout: LONGEST_SECONDS,
      // Whoever writes http:// means it; the API refuses that in production.
      execute: issuer.protocol === "http:" ? [allowInsecureRequests] : [],
    },
  );
}

/** The address that people see, which the provider leads back to. */
export function ownAddress(): string {
  return frontendUrl() ?? required("FRONTEND_URL", "http://localhost:3000");
}

/** Names the API, for which the tokens are to be: as RFC 8707 says, and as Auth0 does. */
export function forTheApi(): Record<string, string> {
  const audience = process.env.OIDC_AUDIENCE;
  return audience ? { resource: audience, audience } : {};
}

export function tokensOf(answer: TokenEndpointResponse & TokenEndpointResponseHelpers): Tokens {
  return {
    access: answer.access_token,
    refresh: answer.refresh_token,
    expiresIn: answer.expiresIn() ?? USUAL_SECONDS,
  };
}

async function refresh(refreshToken: string): Promise<Refreshed> {
  try {
    return tokensOf(await refreshTokenGrant(await provider(), refreshToken, forTheApi()));
  } catch (error) {
    if (error instanceof ResponseBodyError && error.error === "invalid_grant") return "refused";
    throw error;
  }
}

async function forget(): Promise<string> {
  await forgetTokens();
  const config = await provider().catch((error) => {
    console.error("The provider has not ended the session:", error);
    return undefined;
  });
  if (!config?.serverMetadata().end_session_endpoint) return "/";
  return buildEndSessionUrl(config, { post_logout_redirect_uri: `${ownAddress()}/` }).href;
}

/** An OpenID provider signs in (https://openid.net/specs/openid-connect-core-1_0.html). */
export const { needsSignIn, session, endSession, withSession, contentSources, SessionProvider } =
  byCookies({
    refresh,
    endSession: forget,
    // Signing out is a form, from which the provider's own page is reached.
    contentSources: () => ({
      "form-action": [new URL(required("OIDC_ISSUER", "https://login.example.com")).origin],
    }),
  });
