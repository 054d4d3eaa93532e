import { NextRequest } from "next/server";
import { afterEach, expect, test, vi } from "vitest";

import { prepare } from "@core/proxy";
import { VARIABLES } from "@core/variables";

afterEach(() => vi.unstubAllEnvs());

/** What Next.js hands on to the page stands in these headers of the proxy's answer. */
const toPage = "x-middleware-request-";

function prepared(headers: Record<string, string> = {}, address = "") {
  for (const [name, value] of Object.entries(VARIABLES)) vi.stubEnv(name, value);
  vi.stubEnv("FRONTEND_URL", address);
  const request = new NextRequest("http://localhost:3000/projects?cursor=a", { headers });
  return prepare(request).headers;
}

test("a page and its browser are told one policy, with the nonce of the page", () => {
  const told = prepared();
  const policy = told.get("content-security-policy");
  expect(policy).toContain(`'nonce-${told.get(`${toPage}x-nonce`)}'`);
  expect(told.get(`${toPage}content-security-policy`)).toBe(policy);
});

test("what a browser makes up of itself does not reach the page", () => {
  const told = prepared({ "x-path": "/elsewhere", "x-nonce": "known", "x-request-id": "a b" });
  expect(told.get(`${toPage}x-path`)).toBe("/projects?cursor=a");
  expect(told.get(`${toPage}x-nonce`)).not.toBe("known");
  expect(told.get(`${toPage}x-request-id`)).toMatch(/^[0-9a-f-]{36}$/);
});

test("the browser learns the id under which its request is logged", () => {
  const told = prepared({ "x-request-id": "abc" });
  expect(told.get("x-request-id")).toBe("abc");
  expect(told.get(`${toPage}x-request-id`)).toBe("abc");
});

test("forms are taken from the public address, whatever a proxy calls this one", () => {
  const sent = { "x-forwarded-host": "evil.example" };
  const told = prepared(sent, "https://app.example.com");
  expect(told.get(`${toPage}x-forwarded-host`)).toBe("app.example.com");
});
