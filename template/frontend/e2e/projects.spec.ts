import { type Page, expect, test } from "@playwright/test";

import { expectAccessible } from "@core/e2e/accessible";
import { needsSignIn, signIn, signOut } from "@core/e2e/people";

test.beforeEach(({ page }) => signIn(page));

async function create(page: Page, name: string): Promise<void> {
  await page.goto("/projects");
  await page.getByLabel("Name").fill(name);
  await page.getByRole("button", { name: "Create" }).click();
  await expect(page.getByRole("heading", { level: 1, name })).toBeVisible();
}

const someName = () => `Engine ${crypto.randomUUID().slice(0, 8)}`;

test("a project is created, renamed, gets a document, and is deleted", async ({ page }) => {
  const name = someName();
  await create(page, name);
  await page.getByLabel("Title").fill("First notes");
  await page.getByRole("button", { name: "Add" }).click();
  await expect(page.getByRole("listitem").filter({ hasText: "First notes" })).toBeVisible();
  await page.getByLabel("Name").fill(`${name} II`);
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByRole("heading", { name: `${name} II` })).toBeVisible();
  await expectAccessible(page);

  await page.goto("/projects");
  await expectAccessible(page);
  await page.getByRole("button", { name: `Delete ${name} II` }).click();
  await expect(page.getByRole("link", { name: `${name} II` })).toBeHidden();
});

test("what somebody else has changed meanwhile is not overwritten", async ({ page, context }) => {
  const name = someName();
  await create(page, name);
  const other = await context.newPage();
  await other.goto(page.url());
  await other.getByLabel("Name").fill(`${name} by another`);
  await other.getByRole("button", { name: "Save" }).click();
  await expect(other.getByRole("heading", { name: `${name} by another` })).toBeVisible();
  await page.getByLabel("Name").fill(`${name} by me`);
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByText("It was changed meanwhile")).toBeVisible();
});

test("a name that is refused is told at its field", async ({ page }) => {
  await page.goto("/projects");
  await page.getByLabel("Name").fill("x".repeat(201));
  await page.getByRole("button", { name: "Create" }).click();
  await expect(page.getByLabel("Name")).toHaveAttribute("aria-invalid", "true");
  await expect(page.getByLabel("Name")).toHaveValue("x".repeat(201));
  await expectAccessible(page);
});

test("what an older version of the page sends is told to be sent again", async ({ page }) => {
  await page.goto("/projects");
  await page.route("**/projects", (route) => {
    const headers = route.request().headers();
    return route.continue({
      headers: "next-action" in headers ? { ...headers, "next-action": "0".repeat(42) } : headers,
    });
  });
  await page.getByLabel("Name").fill(someName());
  await page.getByRole("button", { name: "Create" }).click();
  await expect(page.getByText("There is a newer version of this page")).toBeVisible();
});

test("a name is shown as text, whatever it is", async ({ page }) => {
  const name = `<img src=x onerror="document.title='broken'"></script><script>alert(1)</script>`;
  let alerted = false;
  page.on("dialog", (dialog) => {
    alerted = true;
    return dialog.dismiss();
  });
  await create(page, name);
  await page.reload();
  await expect(page.getByRole("heading", { level: 1, name })).toBeVisible();
  expect(alerted).toBe(false);
  expect(await page.title()).not.toBe("broken");
});

test("a long list comes in pages", async ({ page }) => {
  test.slow(); // more than a page of them
  for (let made = 0; made < 11; made++) await create(page, someName());
  await page.goto("/projects");
  await page.getByRole("link", { name: "Older ones" }).click();
  await expect(page).toHaveURL(/cursor=/);
  await expect(page.getByRole("listitem").first()).toBeVisible();
});

test("an unknown project says so", async ({ page }) => {
  for (const id of ["no-id", "0193a8f0-0000-7000-8000-000000000000"]) {
    await page.goto(`/projects/${id}`);
    await expect(page.getByRole("heading", { name: "There is no such page" })).toBeVisible();
  }
});

test("a page that the API refuses shows why, and no stack", async ({ page }) => {
  await page.goto("/projects?cursor=forged");
  await expect(page.getByText("The cursor does not belong to this list")).toBeVisible();
  await expect(page.getByText("Request id")).toBeVisible();
});

if (needsSignIn) {
  test("after signing out nobody sees them", async ({ page }) => {
    await signOut(page);
    await page.goto("/projects");
    await expect(page.locator("form")).toBeVisible(); // of the sign-in page, here or elsewhere
    await expect(page.getByRole("heading", { name: "Projects" })).toBeHidden();
    expect(new URL(page.url()).pathname).not.toBe("/projects");
  });
}
