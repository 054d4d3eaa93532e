import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { afterEach, expect, test, vi } from "vitest";

import { passedOn } from "@core/request";
import { reach } from "@core/reach";

afterEach(() => vi.restoreAllMocks());

test("an API that is not there is a problem of its own", async () => {
  const logged = vi.spyOn(console, "error").mockImplementation(() => {});
  await expect(reach("http://127.0.0.1:1/")).rejects.toMatchObject({
    status: 503,
    code: "api_unreachable",
  });
  expect(logged).toHaveBeenCalled();
});

test("a token is not carried on to where the API redirects", async () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  const server = createServer((request, response) => {
    response.writeHead(request.url === "/" ? 307 : 200, { location: "/there" }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await expect(reach(`http://127.0.0.1:${port}/`)).rejects.toMatchObject({ status: 503 });
  server.close();
});

test("nothing is kept for somebody else, and no answer is waited for without an end", async () => {
  const sent = vi.spyOn(globalThis, "fetch").mockResolvedValue(new Response("{}"));
  await reach("http://127.0.0.1:1/");
  const options = sent.mock.calls[0]?.[1];
  expect(options?.cache).toBe("no-store");
  expect(options?.signal).toBeInstanceOf(AbortSignal);
});

test("the API is told for whom a request is, and by which id", () => {
  const incoming = new Headers({
    "x-forwarded-for": "192.0.2.7",
    "x-request-id": "abc",
    cookie: "access_token=secret",
    authorization: "Bearer forged",
  });
  expect(passedOn(incoming)).toEqual({ "x-forwarded-for": "192.0.2.7", "x-request-id": "abc" });
});

test.each([null, "", "a b", "a".repeat(129)])("an odd request id is replaced: %j", (id) => {
  const passed = passedOn(new Headers(id ? { "x-request-id": id } : {}));
  expect(passed["x-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
});
