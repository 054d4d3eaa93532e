import "server-only";

import { ClerkProvider } from "@clerk/nextjs";
import { auth, clerkClient, clerkMiddleware } from "@clerk/nextjs/server";
import { cookies } from "next/headers";

import type { SessionPort } from "@core/session/port";
import { frontendUrl, required } from "@core/settings";

const SIGN_IN = "/sign-in";
const SIGN_UP = "/sign-up";

function publishableKey(): string {
  return required("CLERK_PUBLISHABLE_KEY", "pk_live_...");
}

/** The instance's own host, which its key names. */
function instance(): string {
  const encoded = publishableKey().split("_")[2] ?? "";
  return `https://${Buffer.from(encoded, "base64").toString().replace(/\$$/, "")}`;
}

/** Clerk signs in (https://clerk.com/docs/reference/nextjs/overview). */
const port: SessionPort = {
  needsSignIn: true,
  async session() {
    const { getToken } = await auth();
    const token = await getToken();
    return token ? { token } : null;
  },
  async endSession() {
    const { sessionId } = await auth();
    if (sessionId) {
      const clerk = await clerkClient();
      await clerk.sessions.revokeSession(sessionId);
    }
    const jar = await cookies();
    // Some have a suffix, by which instances on one host are told apart.
    const own = jar.getAll().filter(({ name }) => /^__(session|client_uat)(_|$)/.test(name));
    for (const { name } of own) jar.delete(name);
    return "/";
  },
  withSession: (handle) =>
    clerkMiddleware(
      (_, request) => handle(request),
      () => ({
        publishableKey: publishableKey(),
        authorizedParties: frontendUrl() ? [frontendUrl()!] : undefined,
        signInUrl: SIGN_IN,
        signUpUrl: SIGN_UP,
      }),
    ),
  // https://clerk.com/docs/guides/secure/best-practices/csp-headers
  contentSources: () => ({
    "connect-src": [instance(), "https://*.protect.clerk.com:*"],
    "frame-src": ["https://challenges.cloudflare.com", "https://*.protect.clerk.com"],
    "img-src": ["https://img.clerk.com"],
    "script-src": [instance(), "https://challenges.cloudflare.com"],
    "style-src": ["'unsafe-inline'"],
    "worker-src": ["blob:"],
  }),
  SessionProvider: ({ children, nonce }) => (
    <ClerkProvider
      publishableKey={publishableKey()}
      nonce={nonce}
      signInUrl={SIGN_IN}
      signUpUrl={SIGN_UP}
    >
      {children}
    </ClerkProvider>
  ),
};

export const { needsSignIn, session, endSession, withSession, contentSources, SessionProvider } =
  port;
