import { type Page, expect, test } from "@playwright/test";

import { expectAccessible } from "./accessible";
import { fillIn, follow, mailedPage, member, newcomer, signIn } from "./people/local";

const FORMS = ["sign-in", "sign-up", "forgot-password", "verify-email", "reset-password"];

for (const form of FORMS) {
  test(`the page ${form} is accessible`, async ({ page }) => {
    await page.goto(`/${form}`);
    await expectAccessible(page);
  });
}

async function tokensSeen(page: Page): Promise<string[]> {
  const jar = await page.context().cookies();
  return jar.map(({ name }) => name).filter((name) => name.endsWith("_token"));
}

test("whoever signs in is known, has tokens that no script reads, and signs out", async ({
  page,
}) => {
  await signIn(page);
  await page.goto("/");
  await expect(page.getByText("Subject")).toBeVisible();
  const jar = await page.context().cookies();
  const tokens = jar.filter(({ name }) => name.endsWith("_token"));
  expect(tokens).toHaveLength(2);
  for (const { httpOnly, sameSite } of tokens) {
    expect({ httpOnly, sameSite }).toEqual({ httpOnly: true, sameSite: "Lax" });
  }
  const html = await page.content();
  for (const { value } of tokens) expect(html).not.toContain(value);

  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page.getByText("You are not signed in.")).toBeVisible();
  expect(await tokensSeen(page)).toEqual([]);
});

test("after sign-out the session is over for the API, too", async ({ page }) => {
  await signIn(page);
  const kept = await page.context().cookies();
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page.getByRole("link", { name: "Sign in" })).toBeVisible();
  await page.context().addCookies(kept.filter(({ name }) => name.endsWith("refresh_token")));
  await page.goto("/");
  await expect(page.getByText("You are not signed in.")).toBeVisible();
  expect(await tokensSeen(page)).toEqual([]);
});

test("an access token that has run out is renewed once for all requests", async ({ page }) => {
  await signIn(page);
  const name = (await tokensSeen(page)).find((each) => each.endsWith("access_token")) ?? "";
  await page.context().clearCookies({ name });
  const tabs = await Promise.all([1, 2, 3, 4].map(() => page.context().newPage()));
  await Promise.all(tabs.map((tab) => tab.goto("/")));
  for (const tab of tabs) await expect(tab.getByText("Subject")).toBeVisible();
  await page.context().clearCookies({ name });
  await page.goto("/");
  await expect(page.getByText("Subject")).toBeVisible();
});

test("a wrong password is told, with the id of the request", async ({ page }) => {
  await page.goto("/sign-in");
  await fillIn(page, newcomer());
  const alert = page.getByRole("alert").filter({ hasText: "Request id" });
  await expect(alert).toBeVisible();
  await expectAccessible(page);
});

for (const forged of ["//evil.example", "/\\evil.example", "https:evil.example"]) {
  test(`a forged address to return to leads nowhere else: ${forged}`, async ({ page }) => {
    const person = await member(page);
    await page.goto(`/sign-in?returnTo=${encodeURIComponent(forged)}`);
    // Also past the page, which already has made "/" of it.
    await page.locator("input[name=returnTo]").evaluate((input, value) => {
      (input as HTMLInputElement).value = value;
    }, forged);
    await fillIn(page, person);
    await expect(page.getByRole("button", { name: "Sign out" })).toBeVisible();
    expect(new URL(page.url()).pathname).toBe("/");
  });
}

test("a forgotten password is replaced by the mail's link", async ({ page }) => {
  const person = await member(page);
  await page.goto("/forgot-password");
  const tenant = page.getByLabel("Organisation");
  if (await tenant.count()) await tenant.fill(person.tenant);
  await page.getByLabel("E-mail address").fill(person.email);
  await page.getByRole("button", { name: "Send the mail" }).click();
  await expect(page.getByRole("status")).toBeVisible();
  await follow(page, await mailedPage(person, "reset-password"));
  person.password += " and looms";
  await page.getByLabel("New password").fill(person.password);
  await page.getByRole("button", { name: "Change the password" }).click();
  await expect(page).toHaveURL(/\/sign-in$/);
  await fillIn(page, person);
  await expect(page.getByRole("button", { name: "Sign out" })).toBeVisible();
});

test("a link without its token says what to do", async ({ page }) => {
  await page.goto("/verify-email");
  await expect(page.getByText("Follow the link in your mail")).toBeVisible();
});
