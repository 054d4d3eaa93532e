"use client";

import { createContext, type ReactNode, useActionState, useContext, useId } from "react";

import { ProblemNote } from "@core/forms/problem-note";
import type { FormAction, FormState } from "@core/forms/state";

const Sent = createContext<FormState>({});

type FormProps = { action: FormAction; submit: string; children?: ReactNode };

/** A form that shows what the API says of it. It also works before its script is there. */
export function Form({ action, submit, children }: FormProps) {
  const [state, send, pending] = useActionState(action, {});
  return (
    <form action={send} className="form">
      {state.done && (
        <p role="status" className="note">
          {state.done}
        </p>
      )}
      {state.problem && <ProblemNote {...state.problem} />}
      <Sent value={state}>{children}</Sent>
      <button type="submit" className="button" disabled={pending}>
        {submit}
      </button>
    </form>
  );
}

type FieldProps = {
  name: string;
  label: string;
  hint?: string;
  type?: "text" | "email" | "password";
  autoComplete?: string;
  defaultValue?: string;
  required?: boolean;
  multiline?: boolean;
};

/** A field with its label, and with its fault once the API has found one. */
export function Field({ name, label, hint, multiline, defaultValue, ...rest }: FieldProps) {
  const { faults, values } = useContext(Sent);
  const id = useId();
  const fault = faults?.[name];
  const input = {
    ...rest,
    id,
    name,
    className: "input",
    defaultValue: values?.[name] ?? defaultValue,
    "aria-invalid": fault ? true : undefined,
    "aria-describedby": fault || hint ? `${id}-told` : undefined,
  };
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {multiline ? <textarea rows={4} {...input} /> : <input {...input} />}
      {(fault || hint) && (
        <p id={`${id}-told`} className={fault ? "fault" : "hint"}>
          {fault ?? hint}
        </p>
      )}
    </div>
  );
}
