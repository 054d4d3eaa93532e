import type { Metadata } from "next";

import { ForgotPasswordForm } from "@core/accounts/forgot-password-form";

export const metadata: Metadata = { title: "Forgot your password?" };

export default function ForgotPassword() {
  return (
    <section className="card">
      <h1>Forgot your password?</h1>
      <ForgotPasswordForm />
    </section>
  );
}
