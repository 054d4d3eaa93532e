import type { Metadata } from "next";
import { headers } from "next/headers";
import Link from "next/link";
import type { ReactNode } from "react";

import { SITE } from "@/site";
import { NONCE_HEADER } from "@core/request";
import { needsSignIn, session, SessionProvider } from "@core/session";
import { signOut } from "@core/session/actions";

import "./globals.css";

export const metadata: Metadata = {
  title: { default: SITE.name, template: `%s · ${SITE.name}` },
  icons: "/icon.svg",
};

export default async function Layout({ children }: { children: ReactNode }) {
  const nonce = (await headers()).get(NONCE_HEADER) ?? undefined;
  return (
    <html lang="en">
      <body>
        <SessionProvider nonce={nonce}>
          <a href="#main" className="sr-only focus:not-sr-only">
            Skip to the content
          </a>
          <header className="border-b border-line bg-surface">
            <nav
              aria-label="Main"
              className="mx-auto flex max-w-3xl flex-wrap items-center gap-4 p-4"
            >
              <Link href="/" className="mr-auto font-semibold">
                {SITE.name}
              </Link>
              <SignInOrOut />
            </nav>
          </header>
          <main id="main" className="mx-auto max-w-3xl space-y-6 p-4 py-8">
            {children}
          </main>
        </SessionProvider>
      </body>
    </html>
  );
}

async function SignInOrOut() {
  if (!needsSignIn) return null;
  if (!(await session())) {
    return (
      <Link href="/sign-in" prefetch={false}>
        Sign in
      </Link>
    );
  }
  return (
    <form action={signOut}>
      <button type="submit" className="link-button">
        Sign out
      </button>
    </form>
  );
}
