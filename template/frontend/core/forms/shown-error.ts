"use client";

import { unstable_isUnrecognizedActionError } from "next/navigation";

import { type ShownProblem, shownProblem } from "@core/problem";

/** What an error page may show of what was thrown, on the server or here. */
export function shownError(error: { digest?: string }): ShownProblem {
  if (!unstable_isUnrecognizedActionError(error)) return shownProblem(error);
  // Another release than that of this page has answered.
  return {
    title: "There is a newer version of this page",
    detail: "What was sent has not arrived: load the page again, and send it once more.",
  };
}
