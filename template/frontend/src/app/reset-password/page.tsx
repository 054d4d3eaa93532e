import type { Metadata } from "next";

import { ResetPasswordForm } from "@core/accounts/mailed-forms";

export const metadata: Metadata = { title: "Choose a new password" };

export default function ResetPassword() {
  return (
    <section className="card">
      <h1>Choose a new password</h1>
      <ResetPasswordForm />
    </section>
  );
}
