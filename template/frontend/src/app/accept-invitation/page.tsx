import type { Metadata } from "next";

import { AcceptInvitationForm } from "@core/accounts/mailed-forms";

export const metadata: Metadata = { title: "Join an organisation" };

export default function AcceptInvitation() {
  return (
    <section className="card">
      <h1>Join an organisation</h1>
      <AcceptInvitationForm />
    </section>
  );
}
