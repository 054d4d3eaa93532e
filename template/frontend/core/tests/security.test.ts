import { afterEach, expect, test, vi } from "vitest";

import { contentSecurityPolicy } from "@core/security";
import { VARIABLES } from "@core/variables";

afterEach(() => vi.unstubAllEnvs());

test("in production only scripts with the nonce run", () => {
  vi.stubEnv("NODE_ENV", "production");
  for (const [name, value] of Object.entries(VARIABLES)) vi.stubEnv(name, value);
  const policy = contentSecurityPolicy("one");
  expect(policy).toContain("script-src 'self' 'nonce-one' 'strict-dynamic'");
  expect(policy).not.toMatch(/script-src[^;]*unsafe/);
  for (const wanted of [
    "default-src 'self'",
    "base-uri 'self'",
    "frame-ancestors 'none'",
    "object-src 'none'",
  ]) {
    expect(policy).toContain(wanted);
  }
});
