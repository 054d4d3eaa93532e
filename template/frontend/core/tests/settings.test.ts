import { afterEach, expect, test, vi } from "vitest";

import { apiUrl, frontendUrl } from "@core/settings";

afterEach(() => vi.unstubAllEnvs());

test("without API_URL the error names it", () => {
  vi.stubEnv("API_URL", "");
  expect(apiUrl).toThrow("API_URL is not set. Set it, for example API_URL=http");
});

test("variables are read when they are used, not before", () => {
  vi.stubEnv("API_URL", "http://api:8000/");
  vi.stubEnv("FRONTEND_URL", "https://app.example.com/");
  expect(apiUrl()).toBe("http://api:8000");
  expect(frontendUrl()).toBe("https://app.example.com");
});
