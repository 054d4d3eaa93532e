import { expect, test } from "@playwright/test";

import { expectAccessible } from "./accessible";

test("the start page runs under its own policy and is accessible", async ({ page }) => {
  const complaints: string[] = [];
  page.on("console", (line) => line.type() === "error" && complaints.push(line.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  const response = await page.goto("/");
  await expect(page.getByText("It is ready.")).toBeVisible();
  await expectAccessible(page);
  await page.emulateMedia({ colorScheme: "dark" });
  await expectAccessible(page);
  expect(complaints).toEqual([]);
  const headers = response?.headers() ?? {};
  expect(headers["content-security-policy"]).toContain("frame-ancestors 'none'");
  expect(headers["x-content-type-options"]).toBe("nosniff");
  expect(headers["x-powered-by"]).toBeUndefined();
});

test("each page has a nonce of its own", async ({ request }) => {
  const policies = await Promise.all(
    [1, 2].map(async () => (await request.get("/")).headers()["content-security-policy"]),
  );
  expect(policies[0]).not.toBe(policies[1]);
});

test("a request id is passed on when it is sane", async ({ request }) => {
  const sane = await request.get("/", { headers: { "x-request-id": "abc-1" } });
  expect(sane.headers()["x-request-id"]).toBe("abc-1");
  const odd = await request.get("/", { headers: { "x-request-id": "<script>" } });
  expect(odd.headers()["x-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
});

test("the process says that it lives", async ({ request }) => {
  const response = await request.get("/health");
  expect(await response.json()).toEqual({ status: "ok" });
});

test("an unknown page says so", async ({ page }) => {
  const response = await page.goto("/no-such-page");
  expect(response?.status()).toBe(404);
  await expect(page.getByRole("heading", { name: "There is no such page" })).toBeVisible();
  await expectAccessible(page);
});
