import type { ReactNode } from "react";

import type { NextProxy, NextRequest, NextResponse } from "next/server";

/** What every module here exports, under the same names. */
export type SessionPort = {
  /** Whether there is a sign-in at all. */
  needsSignIn: boolean;
  /** Whoever is signed in, as the API knows them. Server only: the token never leaves it. */
  session: () => Promise<Session | null>;
  /** Ends the session, and says where to go. Only a server action may call it. */
  endSession: () => Promise<string>;
  /** Wraps the proxy: keeps the session alive. */
  withSession: (handle: Handle) => NextProxy;
  /** What pages may load from elsewhere, by directive of the content security policy. */
  contentSources: () => Record<string, string[]>;
  /** Wraps all pages. */
  SessionProvider: (props: { children: ReactNode; nonce?: string }) => ReactNode;
};

export type Session = { token: string };
export type Me = { subject: string; tenant: string | null; roles: string[] };
export type Handle = (request: NextRequest) => NextResponse;
