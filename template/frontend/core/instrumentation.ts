/** Called by Next.js once, before it answers anything. */
export async function register() {
  if (process.env.NEXT_RUNTIME !== "nodejs") return;
  const { appendPeers } = await import("@core/peers");
  const { refuseToStart } = await import("@core/start");
  refuseToStart();
  appendPeers();
}
