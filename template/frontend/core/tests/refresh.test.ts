import { NextRequest, NextResponse } from "next/server";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { type Refresh, type Refreshed, refreshing } from "@core/session/refresh";

const PAIR = { access: "new", refresh: "newer", expiresIn: 600 };

/** Shows what a page would see: the cookies of the request at hand. */
const page = (request: NextRequest) =>
  NextResponse.next({ headers: { seen: request.headers.get("cookie") ?? "" } });

function request(cookie: string): NextRequest {
  return new NextRequest("http://localhost:3000/projects?cursor=x", { headers: { cookie } });
}

const answering = (outcome: Refreshed) => vi.fn<Refresh>().mockResolvedValue(outcome);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("a living access token is left alone", async () => {
  const refresh = answering(PAIR);
  await refreshing(refresh)(page)(request("access_token=a; refresh_token=alive"));
  await refreshing(refresh)(page)(request(""));
  expect(refresh).not.toHaveBeenCalled();
});

test("new tokens are for the request at hand and for the browser", async () => {
  const response = await refreshing(answering(PAIR))(page)(request("refresh_token=one"));
  expect(response.headers.get("seen")).toContain("access_token=new");
  expect(response.headers.get("seen")).toContain("refresh_token=newer");
  const kept = response.headers.getSetCookie().join("\n");
  expect(kept).toContain("access_token=new");
  expect(kept).toContain("refresh_token=newer");
});

test("a provider that gives no new refresh token leaves the old one", async () => {
  const tokens = { access: "new", expiresIn: 600 };
  const response = await refreshing(answering(tokens))(page)(request("refresh_token=kept"));
  expect(response.headers.get("seen")).toContain("refresh_token=kept");
});

test("requests at the same time share one swap", async () => {
  const refresh = answering(PAIR);
  const proxy = refreshing(refresh)(page);
  const responses = await Promise.all([1, 2, 3].map(() => proxy(request("refresh_token=shared"))));
  expect(refresh).toHaveBeenCalledTimes(1);
  for (const response of responses) {
    expect(response.headers.get("seen")).toContain("access_token=new");
  }
});

test("a request that was underway meanwhile gets the same tokens, a later one does not", async () => {
  const refresh = answering(PAIR);
  const proxy = refreshing(refresh)(page);
  await proxy(request("refresh_token=underway"));
  await proxy(request("refresh_token=underway"));
  expect(refresh).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(6_000);
  await proxy(request("refresh_token=underway"));
  expect(refresh).toHaveBeenCalledTimes(2);
});

test.each(["GET", "POST"])(
  "what is refused may have been swapped elsewhere: %s",
  async (method) => {
    const raced = new NextRequest(request("refresh_token=raced"), { method });
    const pending = refreshing(answering("refused"))(page)(raced);
    await vi.advanceTimersByTimeAsync(1_000);
    const response = await pending;
    expect(response.status).toBe(307);
    expect(response.headers.getSetCookie()).toEqual([expect.stringContaining("refused=1")]);
  },
);

test("a token that is refused twice signs out", async () => {
  const cookies = "refresh_token=old; refused=1";
  const response = await refreshing(answering("refused"))(page)(request(cookies));
  expect(response.headers.get("seen")).not.toContain("refresh_token");
  const taken = response.headers.getSetCookie();
  expect(taken).toHaveLength(3);
  for (const cookie of taken) expect(cookie).toContain("Max-Age=0");
});

test("when another server was faster, the browser comes back with its tokens", async () => {
  const pending = refreshing(answering("elsewhere"))(page)(request("refresh_token=lost"));
  await vi.advanceTimersByTimeAsync(1_000);
  const response = await pending;
  expect(response.status).toBe(307);
  expect(response.headers.get("location")).toBe("http://localhost:3000/projects?cursor=x");
  expect(response.headers.getSetCookie()).toEqual([]);
});

test("an API that is down signs nobody out, and the next request tries again", async () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  const refresh = vi.fn<Refresh>().mockRejectedValueOnce(new Error("down")).mockResolvedValue(PAIR);
  const proxy = refreshing(refresh)(page);
  const down = await proxy(request("refresh_token=patient"));
  expect(down.headers.get("seen")).toBe("refresh_token=patient");
  expect(down.headers.getSetCookie()).toEqual([]);
  const up = await proxy(request("refresh_token=patient"));
  expect(up.headers.get("seen")).toContain("access_token=new");
});
