import { ResetPasswordForm } from "@core/accounts/mailed-forms";

export default function ResetPassword() {
  return (
    <section className="card">
      <h1>Choose a new password</h1>
      <ResetPasswordForm />
    </section>
  );
}
