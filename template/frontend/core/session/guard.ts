import "server-only";

import { redirect } from "next/navigation";

import { currentPath } from "@core/request";
import { signInAddress } from "@core/return-to";
import { needsSignIn, session } from "@core/session";

/** Leads whoever is not signed in to the sign-in page, and from there back. */
export async function requireSession(): Promise<void> {
  if (needsSignIn && !(await session())) redirect(signInAddress(await currentPath()));
}
