import { subscribe } from "node:diagnostics_channel";
import type { IncomingMessage } from "node:http";

const LOOPBACK = /^(127\.|::1$)/;

/**
 * Appends the address of whoever has connected to X-Forwarded-For, as every proxy does.
 *
 * Next.js leaves a header that a browser has made up as it is. Like this, the last address that the
 * API does not trust (FORWARDED_ALLOW_IPS) is a true one.
 */
export function appendPeers() {
  subscribe("http.server.request.start", (message) => {
    const { request } = message as { request: IncomingMessage };
    const before = request.headers["x-forwarded-for"];
    const peer = request.socket.remoteAddress?.replace(/^::ffff:/, "");
    // After a server action, Next.js asks itself for the next page, for whom it served.
    if (before && peer && LOOPBACK.test(peer)) return;
    request.headers["x-forwarded-for"] = [before, peer].filter(Boolean).join(", ");
  });
}
