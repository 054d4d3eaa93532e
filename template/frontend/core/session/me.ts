import "server-only";

import { answer, api } from "@core/api";
import { session } from "@core/session";
import type { Me } from "@core/session/port";

/** What the API knows of whoever is signed in. */
export async function me(): Promise<Me | null> {
  if (!(await session())) return null;
  const client = await api();
  const { data } = await answer(client.GET("/api/v1/auth/me"));
  return data;
}
