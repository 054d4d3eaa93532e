import { AcceptInvitationForm } from "@core/accounts/mailed-forms";

export default function AcceptInvitation() {
  return (
    <section className="card">
      <h1>Join an organisation</h1>
      <AcceptInvitationForm />
    </section>
  );
}
