import "server-only";

import { ApiProblem } from "@core/problem";
import type { FormState } from "@core/forms/state";

const SECRET = /password|token/i;

/**
 * Does what a form asks for. A refusal of the API becomes what the form shows.
 *
 * @param work gives what to tell when it is done; a `redirect` in it is obeyed.
 */
export async function attempt(
  form: FormData,
  work: () => Promise<string | void>,
): Promise<FormState> {
  try {
    return { done: (await work()) || undefined };
  } catch (error) {
    if (!(error instanceof ApiProblem)) throw error;
    const problem = { ...error.shown, faults: error.faultsBeside(visible(form)) };
    return { problem, faults: error.fields, values: typed(form) };
  }
}

/** A field's text; one that is not there is an empty text. */
export function text(form: FormData, name: string): string {
  const value = form.get(name);
  return typeof value === "string" ? value : "";
}

/** The fields that people see, each of which shows its own fault. */
function visible(form: FormData): string[] {
  return [...form.keys()].filter((name) => name !== "token" && name !== "returnTo");
}

function typed(form: FormData): Record<string, string> {
  const names = [...form.keys()].filter((name) => !SECRET.test(name) && !name.startsWith("$"));
  return Object.fromEntries(names.map((name) => [name, text(form, name)]));
}
