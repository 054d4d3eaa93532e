"use client";

import { useRouter } from "next/navigation";
import { startTransition } from "react";

import { ProblemNote } from "@core/forms/problem-note";
import { shownError } from "@core/forms/shown-error";

type ErrorProps = { error: Error & { digest?: string }; reset: () => void };

/** Instead of a page that could not be made. */
export default function ErrorPage({ error, reset }: ErrorProps) {
  const router = useRouter();
  const again = () =>
    startTransition(() => {
      router.refresh();
      reset();
    });
  return (
    <>
      <h1>This did not work</h1>
      <ProblemNote {...shownError(error)} />
      <button type="button" className="button" onClick={again}>
        Try again
      </button>
    </>
  );
}
