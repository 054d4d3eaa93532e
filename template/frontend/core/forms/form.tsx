"use client";

import {
  type ComponentProps,
  createContext,
  type ReactNode,
  useActionState,
  useContext,
  useId,
} from "react";

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

type Told = { name: string; label: string; hint?: string; defaultValue?: string };
type FieldProps = Told & Omit<ComponentProps<"input">, keyof Told | "className" | "id">;
type TextAreaProps = Told & Omit<ComponentProps<"textarea">, keyof Told | "className" | "id">;

/** A field with its label, and with its fault once the API has found one. */
export function Field({ name, label, hint, defaultValue, ...rest }: FieldProps) {
  return (
    <Labelled {...{ name, label, hint, defaultValue }}>
      {(control) => <input {...rest} {...control} />}
    </Labelled>
  );
}

/** The same, for a text of several lines. */
export function TextArea({ name, label, hint, defaultValue, ...rest }: TextAreaProps) {
  return (
    <Labelled {...{ name, label, hint, defaultValue }}>
      {(control) => <textarea rows={4} {...rest} {...control} />}
    </Labelled>
  );
}

type Control = {
  id: string;
  name: string;
  className: string;
  defaultValue?: string;
  "aria-invalid"?: true;
  "aria-describedby"?: string;
};
type LabelledProps = Told & { children: (control: Control) => ReactNode };

/** What every field has around it; for those of your own kind, such as a `<select>`. */
export function Labelled({ name, label, hint, defaultValue, children }: LabelledProps) {
  const { faults, values } = useContext(Sent);
  const id = useId();
  const fault = faults?.[name];
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children({
        id,
        name,
        className: "input",
        defaultValue: values?.[name] ?? defaultValue,
        "aria-invalid": fault ? true : undefined,
        "aria-describedby": fault || hint ? `${id}-told` : undefined,
      })}
      {(fault || hint) && (
        <p id={`${id}-told`} className={fault ? "fault" : "hint"}>
          {fault ?? hint}
        </p>
      )}
    </div>
  );
}
