import { SignIn } from "@clerk/nextjs";

import { safeReturnTo } from "@core/return-to";

type Props = { searchParams: Promise<{ returnTo?: string | string[] }> };

export default async function SignInPage({ searchParams }: Props) {
  const { returnTo } = await searchParams;
  return <SignIn fallbackRedirectUrl={safeReturnTo(returnTo)} />;
}
