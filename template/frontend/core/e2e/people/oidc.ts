import { type Page, expect } from "@playwright/test";

import { variable } from "./variable";

export const needsSignIn = true;

/** Signs somebody in at the provider, on whose own pages there are forms of any kind. */
export async function signIn(page: Page): Promise<void> {
  await page.goto("/sign-in");
  const signOut = page.getByRole("button", { name: "Sign out" });
  const name = page.locator("input[name=login], input[name=username], input[type=email]");
  const submit = page.locator("button[type=submit]");
  await expect(signOut.or(submit)).toBeVisible();
  if (await name.count()) {
    await name.fill(variable("E2E_USER"));
    await page.locator("input[type=password]").fill(variable("E2E_PASSWORD"));
    await submit.click();
  }
  const consent = page.getByRole("button", { name: /continue|allow|accept|yes/i });
  await expect(signOut.or(consent)).toBeVisible();
  if (await consent.count()) await consent.click();
  await expect(signOut).toBeVisible();
}

/** Signs out. */
export async function signOut(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Sign out" }).click();
  const confirm = page.getByRole("button", { name: /yes|log ?out/i });
  await expect(confirm.or(page.getByRole("link", { name: "Sign in" }))).toBeVisible();
  if (await confirm.count()) await confirm.click();
  await expect(page.getByRole("link", { name: "Sign in" })).toBeVisible();
}
