import type { Metadata } from "next";
import Link from "next/link";

export const metadata: Metadata = { title: "Signing in did not work" };

type Props = { searchParams: Promise<{ why?: string }> };

const REASONS = {
  away: "Whoever signs you in does not answer. Try again in a minute.",
  late: "It took too long, or was begun in another browser.",
  refused: "You were not signed in.",
  token: "The service does not accept this sign-in. Tell whoever runs it.",
};

export default async function SignInFailed({ searchParams }: Props) {
  const { why } = await searchParams;
  const known = why && Object.hasOwn(REASONS, why) ? (why as keyof typeof REASONS) : "refused";
  return (
    <section className="card">
      <h1>Signing in did not work</h1>
      <p>{REASONS[known]}</p>
      <p>
        <Link href="/sign-in" prefetch={false}>
          Sign in
        </Link>
      </p>
    </section>
  );
}
