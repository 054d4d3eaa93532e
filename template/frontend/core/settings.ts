import "server-only";

/**
 * Reads a variable at run time: nothing of the environment is part of the build.
 *
 * @throws Error with the variable's name when it has no value.
 */
export function required(name: string, example: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set. Set it, for example ${name}=${example}`);
  return value;
}

/** The address of the API, as this server reaches it. */
export function apiUrl(): string {
  return required("API_URL", "http://localhost:8000").replace(/\/+$/, "");
}

/** The address that people see; undefined when nobody has said it. */
export function frontendUrl(): string | undefined {
  return process.env.FRONTEND_URL?.replace(/\/+$/, "") || undefined;
}

/** Whether this is `npm run dev`, which is served over plain HTTP. */
export function isDevelopment(): boolean {
  return process.env.NODE_ENV !== "production";
}
