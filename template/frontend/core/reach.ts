import "server-only";

import { ApiProblem } from "@core/problem";

const LONGEST_MS = 10_000;

/**
 * Sends one request to the API.
 *
 * @throws ApiProblem when it does not answer in time.
 */
export async function reach(input: Request | URL | string, init?: RequestInit): Promise<Response> {
  try {
    return await fetch(input, {
      ...init,
      cache: "no-store",
      redirect: "error", // a token is for the API and for nobody else
      signal: AbortSignal.timeout(LONGEST_MS),
    });
  } catch (error) {
    console.error("The API does not answer:", error);
    throw new ApiProblem({
      status: 503,
      code: "api_unreachable",
      title: "The service does not answer",
      detail: "Try again in a minute.",
    });
  }
}
