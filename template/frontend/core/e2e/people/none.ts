import type { Page } from "@playwright/test";

/** Whether pages are only for people who have signed in. */
export const needsSignIn = false;

/** Nobody signs in or out. */
export const signIn: (page: Page) => Promise<void> = async () => {};
export const signOut = signIn;
