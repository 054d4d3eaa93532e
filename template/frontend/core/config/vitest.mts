import { resolve } from "node:path";

import type { ViteUserConfig } from "vitest/config";

/** What the foundation's tests want of Vitest; those in src/ are yours. */
export const foundation: ViteUserConfig = {
  resolve: {
    alias: {
      "@core": resolve("core"),
      "@": resolve("src"),
      // It only exists to fail in a browser's bundle.
      "server-only": resolve("core/tests/nothing.ts"),
    },
  },
  test: {
    include: ["core/tests/**/*.test.ts", "src/**/*.test.{ts,tsx}"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
};
