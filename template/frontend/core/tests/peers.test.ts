import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { expect, test, vi } from "vitest";

import { register } from "@/instrumentation";

test("an address that a browser makes up comes before the true one", async () => {
  vi.stubEnv("NEXT_RUNTIME", "nodejs");
  await register();
  vi.unstubAllEnvs();
  const server = createServer((request, response) => {
    response.end(String(request.headers["x-forwarded-for"]));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const headers = { "x-forwarded-for": "192.0.2.7" };
  const told = await fetch(`http://127.0.0.1:${port}/`, { headers }).then((got) => got.text());
  server.close();
  expect(told).toBe("192.0.2.7, 127.0.0.1");
});
