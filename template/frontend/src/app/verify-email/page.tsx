import type { Metadata } from "next";

import { VerifyEmailForm } from "@core/accounts/mailed-forms";

export const metadata: Metadata = { title: "Verify your e-mail address" };

export default function VerifyEmail() {
  return (
    <section className="card">
      <h1>Verify your e-mail address</h1>
      <VerifyEmailForm />
    </section>
  );
}
