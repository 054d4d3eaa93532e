import { type Page, expect } from "@playwright/test";

import { variable } from "./variable";

export const needsSignIn = true;

/** Signs a user of the instance in, who has a password and no second factor. */
export async function signIn(page: Page): Promise<void> {
  await page.goto("/sign-in");
  await page.locator("input[name=identifier]").fill(variable("E2E_USER"));
  await page.getByRole("button", { name: "Continue", exact: true }).click();
  await page.locator("input[name=password]").fill(variable("E2E_PASSWORD"));
  await page.getByRole("button", { name: "Continue", exact: true }).click();
  await expect(page.getByRole("button", { name: "Sign out" })).toBeVisible();
}

/** Signs out. */
export async function signOut(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page.getByRole("link", { name: "Sign in" })).toBeVisible();
}
