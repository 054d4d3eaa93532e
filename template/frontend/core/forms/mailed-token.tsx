"use client";

import { useSyncExternalStore } from "react";

/** A second link that is followed in the same tab changes nothing but the address. */
const watch = (changed: () => void) => {
  window.addEventListener("hashchange", changed);
  return () => window.removeEventListener("hashchange", changed);
};

/**
 * A hidden field with the token of a mailed link. It stands behind the #, which no browser sends to
 * a server, so it gets into no log.
 */
export function MailedToken() {
  const token = useSyncExternalStore(
    watch,
    () => window.location.hash.slice(1),
    () => null,
  );
  if (token === "") return <p className="problem">Follow the link in your mail to get here.</p>;
  return (
    <>
      <noscript>
        <p className="problem">Allow scripts: the link in your mail is read by one.</p>
      </noscript>
      <input type="hidden" name="token" value={token ?? ""} readOnly />
    </>
  );
}
