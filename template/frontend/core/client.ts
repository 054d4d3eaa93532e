import "server-only";

import createClient, { type Client } from "openapi-fetch";

import type { paths } from "@/api/schema";
import { readProblem } from "@core/problem";
import { reach } from "@core/reach";
import { apiUrl } from "@core/settings";

/** The API as its OpenAPI document describes it. Every refusal is thrown as an `ApiProblem`. */
export function connect(headers: Record<string, string>): Client<paths> {
  const client = createClient<paths>({ baseUrl: apiUrl(), fetch: reach, headers });
  client.use({
    async onResponse({ response }) {
      if (!response.ok) throw await readProblem(response);
    },
  });
  return client;
}

/** The data of an answer that brings some, and the answer. */
export async function answer<Data>(
  call: Promise<{ data?: Data; response: Response }>,
): Promise<{ data: Data; response: Response }> {
  const { data, response } = await call;
  if (data === undefined) throw await readProblem(response);
  return { data, response };
}
