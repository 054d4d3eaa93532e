import { resolve } from "node:path";

import type { NextConfig } from "next";

// npm runs every script in frontend/. Without a root, Next.js looks for one by lock files, and may
// find the wrong one.
const ROOT = resolve(".");

const HEADERS = [
  { key: "X-Content-Type-Options", value: "nosniff" },
  { key: "Referrer-Policy", value: "strict-origin-when-cross-origin" },
  { key: "Permissions-Policy", value: "camera=(), geolocation=(), microphone=(), payment=()" },
];

const ONLY_HTTPS = { key: "Strict-Transport-Security", value: "max-age=31536000" };

const served = process.env.NODE_ENV === "production";

/** What the foundation wants of Next.js. */
export const foundation: NextConfig = {
  output: "standalone",
  outputFileTracingRoot: ROOT,
  turbopack: { root: ROOT },
  poweredByHeader: false,
  allowedDevOrigins: ["127.0.0.1"],
  // A body is held in memory until all of it is there. Server actions take no more, either.
  experimental: { proxyClientMaxBodySize: "1mb" },
  // `npm run typecheck` judges them. A build neither does it again, nor needs the API's types.
  typescript: { ignoreBuildErrors: true },
  headers: async () => [
    { source: "/:path*", headers: served ? [...HEADERS, ONLY_HTTPS] : HEADERS },
  ],
};
