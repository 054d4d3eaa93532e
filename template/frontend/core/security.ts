import "server-only";

import { contentSources } from "@core/session";
import { isDevelopment } from "@core/settings";

/** What a page may load and where it may lead (https://www.w3.org/TR/CSP3/). */
export function contentSecurityPolicy(nonce: string): string {
  const development = isDevelopment();
  const directives: Record<string, string[]> = {
    "default-src": ["'self'"],
    "base-uri": ["'self'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
    "img-src": ["'self'", "data:"],
    "object-src": ["'none'"],
    // React's messages in development need eval.
    "script-src": ["'self'", `'nonce-${nonce}'`, "'strict-dynamic'"].concat(
      development ? ["'unsafe-eval'"] : [],
    ),
    // The overlay of errors in development brings styles without a nonce.
    "style-src": ["'self'"].concat(development ? ["'unsafe-inline'"] : []),
  };
  for (const [name, sources] of Object.entries(contentSources())) {
    directives[name] = [...(directives[name] ?? ["'self'"]), ...sources];
  }
  return Object.entries(directives)
    .map(([name, sources]) => [name, ...sources].join(" "))
    .join("; ");
}
