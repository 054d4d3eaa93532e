import { expect, test } from "vitest";

import { ApiProblem, readProblem, shownProblem } from "@core/problem";

const REFUSAL = {
  type: "urn:problem-type:validation-failed",
  title: "Validation failed",
  status: 422,
  detail: "The request does not fit the schema: see errors",
  code: "validation_failed",
  request_id: "abc",
  errors: [
    { loc: ["body", "name"], msg: "too long" },
    { loc: ["query", "cursor"], msg: "odd" },
  ],
};

test("a refusal of the API is read", async () => {
  const problem = await readProblem(Response.json(REFUSAL, { status: 422 }));
  expect(problem).toBeInstanceOf(ApiProblem);
  expect(problem).toMatchObject({ status: 422, code: "validation_failed", requestId: "abc" });
  expect(problem.fields).toEqual({ name: "too long" });
});

test("an error page shows title, detail and request id, and nothing else", async () => {
  const problem = await readProblem(Response.json(REFUSAL, { status: 422 }));
  expect(shownProblem({ digest: problem.digest })).toEqual({
    title: "Validation failed",
    detail: "The request does not fit the schema: see errors",
    requestId: "abc",
  });
});

test("a fault for which a form has no field is told beside it", async () => {
  const problem = await readProblem(Response.json(REFUSAL, { status: 422 }));
  expect(problem.faultsBeside(["name"])).toEqual(["cursor: odd"]);
  expect(problem.faultsBeside([])).toEqual(["name: too long", "cursor: odd"]);
});

test("what is no problem document is not shown", async () => {
  const page = new Response("<h1>nginx at 10.0.0.7</h1>", {
    status: 502,
    headers: { "x-request-id": "def" },
  });
  const problem = await readProblem(page);
  expect(problem.shown).toEqual({
    title: "The service refused this",
    detail: undefined,
    requestId: "def",
  });
});

test.each([undefined, "123456", "null", "{}", "[1]"])(
  "any other error shows no text: %s",
  (digest) => {
    expect(shownProblem({ digest })).toEqual({ title: "Something went wrong", number: digest });
  },
);
