import { afterEach, expect, test, vi } from "vitest";

import { cookieOf, forgottenCookies, sessionOfCookies, tokenCookies } from "@core/session/cookies";

const jar = vi.hoisted(() => ({ value: "" }));
vi.mock("next/headers", () => ({ cookies: async () => ({ get: () => jar }) }));

afterEach(() => vi.unstubAllEnvs());

const TOKENS = { access: "a", refresh: "r", expiresIn: 600 };

test("no script and no other host ever has a token", () => {
  vi.stubEnv("NODE_ENV", "production");
  const attributes = { httpOnly: true, sameSite: "lax", secure: true, path: "/" };
  const [access, refresh] = tokenCookies(TOKENS);
  expect(access).toMatchObject({ name: "__Host-access_token", value: "a", ...attributes });
  expect(refresh).toMatchObject({ name: "__Host-refresh_token", value: "r", ...attributes });
});

test("development has no HTTPS", () => {
  vi.stubEnv("NODE_ENV", "development");
  expect(tokenCookies(TOKENS)[0]).toMatchObject({ name: "access_token", secure: false });
});

test.each([
  [600, 570],
  [40, 20],
])("an access token of %d seconds is kept for %d", (expiresIn, maxAge) => {
  expect(tokenCookies({ ...TOKENS, expiresIn })[0]?.maxAge).toBe(maxAge);
});

test("both cookies are taken back with the attributes that they had", () => {
  vi.stubEnv("NODE_ENV", "production");
  expect(forgottenCookies().map(({ name, maxAge, secure }) => [name, maxAge, secure])).toEqual([
    ["__Host-access_token", 0, true],
    ["__Host-refresh_token", 0, true],
  ]);
});

test("a token that browsers would drop is an error that says so", () => {
  expect(() => cookieOf("access_token", "x".repeat(4000), 1)).toThrow("does not fit into a cookie");
});

test("what cannot be a token is none", async () => {
  jar.value = "eyJh.eyJz.s_-~+/==";
  expect(await sessionOfCookies()).toEqual({ token: jar.value });
  for (const odd of ["", "a b", "a\r\nX-Evil: b", "\u00e4"]) {
    jar.value = odd;
    expect(await sessionOfCookies()).toBeNull();
  }
});
