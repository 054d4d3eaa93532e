import { expect, test } from "vitest";

import { safeReturnTo, signInAddress } from "@core/return-to";

test.each(["/", "/projects", "/projects?cursor=a%2Fb", "/confirm-email#token"])(
  "a path of this site is kept: %s",
  (path) => expect(safeReturnTo(path)).toBe(path),
);

test.each([
  undefined,
  null,
  ["/projects"],
  "",
  "projects",
  "//evil.example",
  "/\\evil.example",
  "/\t/evil.example",
  "/\n\\evil.example",
  "\\\\evil.example",
  "https:evil.example",
  "https://evil.example",
  " https://evil.example",
  "javascript:alert(1)",
  "/.//evil.example",
  "/..//evil.example",
  "/x/..//evil.example",
  "/./\\evil.example",
  "//[",
  `/${"x".repeat(5000)}`,
])("what leads elsewhere leads to the start: %j", (address) => {
  expect(safeReturnTo(address)).toBe("/");
});

test("no line feed gets into a header", () => {
  expect(safeReturnTo("/a\r\nSet-Cookie: b=c")).not.toMatch(/[\r\n]/);
});

test("the sign-in page is told where to lead back to", () => {
  expect(signInAddress("/projects?cursor=x&y")).toBe(
    "/sign-in?returnTo=%2Fprojects%3Fcursor%3Dx%26y",
  );
  expect(signInAddress("//evil.example")).toBe("/sign-in?returnTo=%2F");
});
