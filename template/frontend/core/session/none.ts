import "server-only";

import type { Me, SessionPort } from "@core/session/port";

/** Nobody signs in: everything is open. */
const port: SessionPort = {
  needsSignIn: false,
  session: async () => null,
  endSession: async () => "/",
  withSession: (handle) => handle,
  contentSources: () => ({}),
  SessionProvider: ({ children }) => children,
};

export const { needsSignIn, session, endSession, withSession, contentSources, SessionProvider } =
  port;

export async function me(): Promise<Me | null> {
  return null;
}
