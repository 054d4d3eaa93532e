import "server-only";

import { sessionOfCookies } from "@core/session/cookies";
import type { SessionPort } from "@core/session/port";
import { type Refresh, refreshing } from "@core/session/refresh";

type Own = Pick<SessionPort, "endSession"> &
  Partial<Pick<SessionPort, "contentSources">> & { refresh: Refresh };

/** A session whose tokens are in cookies, as every provider's is that brings none of its own. */
export function byCookies({ refresh, ...own }: Own): SessionPort {
  return {
    needsSignIn: true,
    session: sessionOfCookies,
    withSession: refreshing(refresh),
    contentSources: () => ({}),
    SessionProvider: ({ children }) => children,
    ...own,
  };
}
