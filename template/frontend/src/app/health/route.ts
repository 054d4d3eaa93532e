/** Answers as long as the process lives; touches nothing else. */
export function GET() {
  return Response.json({ status: "ok" });
}
