"use server";

import { redirect } from "next/navigation";

import { endSession } from "@core/session";

/** Signs out. */
export async function signOut(): Promise<void> {
  redirect(await endSession());
}
