"use client";

import { ProblemNote } from "@core/forms/problem-note";
import { shownProblem } from "@core/problem";

type ErrorProps = { error: Error & { digest?: string }; reset: () => void };

/** Instead of a page that could not be made. */
export default function ErrorPage({ error, reset }: ErrorProps) {
  return (
    <>
      <h1>This did not work</h1>
      <ProblemNote {...shownProblem(error)} />
      <button type="button" className="button" onClick={reset}>
        Try again
      </button>
    </>
  );
}
