import Link from "next/link";

type Props = { searchParams: Promise<{ why?: string }> };

const REASONS: Record<string, string> = {
  late: "It took too long, or was begun in another browser.",
  refused: "You were not signed in.",
  token: "The service does not accept this sign-in. Tell whoever runs it.",
};

export default async function SignInFailed({ searchParams }: Props) {
  const { why = "refused" } = await searchParams;
  return (
    <section className="card">
      <h1>Signing in did not work</h1>
      <p>{REASONS[why]}</p>
      <p>
        <Link href="/sign-in" prefetch={false}>
          Sign in
        </Link>
      </p>
    </section>
  );
}
