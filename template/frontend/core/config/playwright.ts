import type { PlaywrightTestConfig } from "@playwright/test";

/** What the foundation wants of Playwright: a frontend and its API run already. */
export const foundation: PlaywrightTestConfig = {
  testDir: ".",
  testMatch: ["core/e2e/**/*.spec.ts", "e2e/**/*.spec.ts"],
  outputDir: "test-results",
  reporter: "list",
  workers: 1,
  // A password is made slow to check, and a pipeline's machine is slow besides.
  timeout: 180_000,
  expect: { timeout: 30_000 },
  use: {
    baseURL: process.env.E2E_BASE_URL ?? "http://localhost:3000",
    launchOptions: {
      executablePath: process.env.CHROMIUM || undefined,
      // Chromium's sandbox does not start as root, as whom containers run.
      args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
    },
    trace: "retain-on-failure",
  },
};
