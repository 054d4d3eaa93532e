import type { Metadata } from "next";
import { SignIn } from "@clerk/nextjs";

import { safeReturnTo } from "@core/return-to";
import { session } from "@core/session";

export const metadata: Metadata = { title: "Sign in" };

type Props = { searchParams: Promise<{ returnTo?: string | string[] }> };

export default async function SignInPage({ searchParams }: Props) {
  const { returnTo } = await searchParams;
  // Clerk would lead back at once whoever it knows, and the API here again whom it refuses.
  if (returnTo && (await session())) {
    return (
      <p className="problem">
        You are signed in. If the service does not accept it, sign out first; if it does, go on to{" "}
        <a href={safeReturnTo(returnTo)}>where you wanted to go</a>.
      </p>
    );
  }
  return <SignIn fallbackRedirectUrl={safeReturnTo(returnTo)} />;
}
