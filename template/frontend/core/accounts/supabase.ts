"use server";

import type { AuthError } from "@supabase/auth-js";
import { redirect } from "next/navigation";

import { attempt, text } from "@core/forms/attempt";
import type { FormState } from "@core/forms/state";
import { ApiProblem } from "@core/problem";
import { safeReturnTo } from "@core/return-to";
import { keepTokens } from "@core/session/cookies";
import { supabase, tokensOf } from "@core/session/supabase";

export async function signIn(_: FormState, form: FormData): Promise<FormState> {
  return attempt(form, async () => {
    const { data, error } = await supabase().signInWithPassword({
      email: text(form, "email"),
      password: text(form, "password"),
    });
    if (error) throw problemOf(error);
    await keepTokens(tokensOf(data.session));
    redirect(safeReturnTo(form.get("returnTo")));
  });
}

export async function signUp(_: FormState, form: FormData): Promise<FormState> {
  return attempt(form, async () => {
    const { data, error } = await supabase().signUp({
      email: text(form, "email"),
      password: text(form, "password"),
    });
    if (error) throw problemOf(error);
    if (!data.session) return "A mail is on its way to you: follow its link, then sign in.";
    await keepTokens(tokensOf(data.session));
    redirect("/");
  });
}

function problemOf(error: AuthError): ApiProblem {
  return new ApiProblem({
    status: error.status ?? 503,
    code: error.code ?? "supabase",
    title: "This did not work",
    detail: error.message,
  });
}
