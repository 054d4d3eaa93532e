import type { Metadata } from "next";
import Link from "next/link";

import { ConfirmEmailForm } from "@core/accounts/mailed-forms";
import { session } from "@core/session";

export const metadata: Metadata = { title: "Confirm your new e-mail address" };

export default async function ConfirmEmail() {
  const signedIn = await session();
  return (
    <section className="card">
      <h1>Confirm your new e-mail address</h1>
      {signedIn ? (
        <ConfirmEmailForm />
      ) : (
        // Signing in would lose the token: browsers keep what stands behind the # to themselves.
        <p>
          <Link href="/sign-in">Sign in</Link> first, then follow the link in the mail once more.
        </p>
      )}
    </section>
  );
}
