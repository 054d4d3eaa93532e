import "server-only";

import { headers } from "next/headers";
import { redirect } from "next/navigation";

import { connect } from "@core/client";
import { currentPath, passedOn } from "@core/request";
import { signInAddress } from "@core/return-to";
import { needsSignIn, session } from "@core/session";

export { answer } from "@core/client";

/**
 * The API as whoever is signed in sees it, for server components and server actions.
 *
 * Every refusal is thrown as an `ApiProblem`; whoever is not signed in, or not any more, is led to the sign-in page.
 */
export async function api() {
  const signedIn = await session();
  const bearer = signedIn && { authorization: `Bearer ${signedIn.token}` };
  const client = connect({ ...passedOn(await headers()), ...bearer });
  if (!needsSignIn) return client;
  client.use({
    async onResponse({ response }) {
      if (response.status === 401) redirect(signInAddress(await currentPath()));
    },
  });
  return client;
}

/** The API as everybody sees it. */
export async function publicApi() {
  return connect(passedOn(await headers()));
}
