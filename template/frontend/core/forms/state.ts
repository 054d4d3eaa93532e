import type { ShownProblem } from "@core/problem";

/** What a form shows after it was sent. */
export type FormState = {
  /** It was done: what to do next. */
  done?: string;
  problem?: ShownProblem;
  /** Faults by the name of the field. */
  faults?: Record<string, string>;
  /** What was typed, so that nobody has to type it again. Never a password. */
  values?: Record<string, string>;
};

export type FormAction = (before: FormState, form: FormData) => Promise<FormState>;
