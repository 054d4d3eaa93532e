import { channel } from "node:diagnostics_channel";

import { beforeAll, expect, test, vi } from "vitest";

import { register } from "@/instrumentation";
import { VARIABLES } from "@core/variables";

beforeAll(async () => {
  for (const [name, value] of Object.entries(VARIABLES)) vi.stubEnv(name, value);
  vi.stubEnv("NEXT_RUNTIME", "nodejs");
  await register();
  vi.unstubAllEnvs();
});

/** Tells what Node.js tells of each request before anybody reads it. */
function forwarded(remoteAddress: string, before?: string): string | undefined {
  const request = { headers: { "x-forwarded-for": before }, socket: { remoteAddress } };
  channel("http.server.request.start").publish({ request });
  return request.headers["x-forwarded-for"];
}

test("an address that a browser makes up comes before the true one", () => {
  expect(forwarded("198.51.100.3", "192.0.2.7")).toBe("192.0.2.7, 198.51.100.3");
});

test("who connects directly is named", () => {
  expect(forwarded("::ffff:198.51.100.3")).toBe("198.51.100.3");
  expect(forwarded("127.0.0.1")).toBe("127.0.0.1");
});

test("this server, when it asks itself for the next page, is not who is served", () => {
  expect(forwarded("::ffff:127.0.0.1", "192.0.2.7")).toBe("192.0.2.7");
  expect(forwarded("::1", "192.0.2.7")).toBe("192.0.2.7");
});
