import { SignUpForm } from "@core/accounts/sign-up-form";

export default function SignUp() {
  return (
    <section className="card">
      <h1>Sign up</h1>
      <SignUpForm />
    </section>
  );
}
