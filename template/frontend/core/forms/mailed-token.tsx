"use client";

import { useSyncExternalStore } from "react";

const never = () => () => {};

/**
 * A hidden field with the token of a mailed link. It stands behind the #, which no browser sends to
 * a server, so it gets into no log.
 */
export function MailedToken() {
  const token = useSyncExternalStore(
    never,
    () => window.location.hash.slice(1),
    () => null,
  );
  if (token === "") return <p className="problem">Follow the link in your mail to get here.</p>;
  return <input type="hidden" name="token" value={token ?? ""} readOnly />;
}
