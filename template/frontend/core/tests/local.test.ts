import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { afterEach, expect, test, vi } from "vitest";

import { refresh } from "@core/session/local";

afterEach(() => vi.unstubAllEnvs());

async function refreshedBy(status: number, body: object) {
  const server = createServer((_, response) => {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  vi.stubEnv("API_URL", `http://127.0.0.1:${port}`);
  return refresh("old", new Headers()).finally(() => server.close());
}

test("new tokens are what the API gives", async () => {
  const pair = { access_token: "a", refresh_token: "b", expires_in: 900 };
  expect(await refreshedBy(200, pair)).toEqual({ access: "a", refresh: "b", expiresIn: 900 });
});

test.each([
  [401, "refused"],
  [422, "refused"],
  [409, "elsewhere"],
])("an answer of %d means: %s", async (status, meaning) => {
  expect(await refreshedBy(status, {})).toBe(meaning);
});

test("a fault of the API signs nobody out", async () => {
  await expect(refreshedBy(500, {})).rejects.toMatchObject({ status: 500 });
});
