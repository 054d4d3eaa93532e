import type { Metadata } from "next";

import { SignInForm } from "@core/accounts/sign-in-form";

export const metadata: Metadata = { title: "Sign in" };

type Props = { searchParams: Promise<{ returnTo?: string | string[] }> };

export default async function SignIn({ searchParams }: Props) {
  const { returnTo } = await searchParams;
  return (
    <section className="card">
      <h1>Sign in</h1>
      <SignInForm returnTo={returnTo} />
    </section>
  );
}
