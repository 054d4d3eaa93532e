import type { Metadata } from "next";

import { SignUpForm } from "@core/accounts/sign-up-form";

export const metadata: Metadata = { title: "Sign up" };

export default function SignUp() {
  return (
    <section className="card">
      <h1>Sign up</h1>
      <SignUpForm />
    </section>
  );
}
