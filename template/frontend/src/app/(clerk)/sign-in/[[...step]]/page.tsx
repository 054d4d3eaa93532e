import { SignIn } from "@clerk/nextjs";

import { safeReturnTo } from "@core/return-to";
import { session } from "@core/session";

type Props = { searchParams: Promise<{ returnTo?: string | string[] }> };

export default async function SignInPage({ searchParams }: Props) {
  const { returnTo } = await searchParams;
  // Clerk would lead back at once whoever it knows, and the API here again whom it refuses.
  if (returnTo && (await session())) {
    return <p className="problem">The service does not accept this sign-in: sign out first.</p>;
  }
  return <SignIn fallbackRedirectUrl={safeReturnTo(returnTo)} />;
}
