import { afterEach, expect, test, vi } from "vitest";

import { contentSecurityPolicy } from "@core/security";

afterEach(() => vi.unstubAllEnvs());

test("in production only scripts with the nonce run", () => {
  vi.stubEnv("NODE_ENV", "production");
  // Where these sign in, the policy names them.
  vi.stubEnv("OIDC_ISSUER", "https://login.example.com");
  vi.stubEnv("CLERK_PUBLISHABLE_KEY", "pk_test_Y2xlcmsuZXhhbXBsZS5jb20k");
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
