import type { Metadata } from "next";
import Link from "next/link";

export const metadata: Metadata = { title: "There is no such page" };

export default function NotFound() {
  return (
    <>
      <h1>There is no such page</h1>
      <p>
        <Link href="/">Go to the start</Link>
      </p>
    </>
  );
}
