/** A field's fault, as the API tells it. */
export type FieldError = { loc: (string | number)[]; msg: string };

/** What people are shown of a problem. */
export type ShownProblem = {
  title: string;
  detail?: string;
  requestId?: string;
  /** Under which the error stands in this server's log, when it is none of the API's. */
  number?: string;
  /** Faults of what the form has no field for. */
  faults?: string[];
};

type Told = {
  status: number;
  code: string;
  title: string;
  detail?: string;
  requestId?: string;
  errors?: FieldError[];
};

/** An answer of the API that is not a success (RFC 9457), or no answer at all. */
export class ApiProblem extends Error {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly detail?: string;
  readonly requestId?: string;
  readonly errors: FieldError[];
  /** All that Next.js lets an error page know of an error. */
  readonly digest: string;

  constructor(told: Told) {
    super(`${told.status} ${told.code}: ${told.detail ?? told.title}`);
    this.name = "ApiProblem";
    this.status = told.status;
    this.code = told.code;
    this.title = told.title;
    this.detail = told.detail;
    this.requestId = told.requestId;
    this.errors = told.errors ?? [];
    this.digest = JSON.stringify(this.shown);
  }

  get shown(): ShownProblem {
    return { title: this.title, detail: this.detail, requestId: this.requestId };
  }

  /** The faults of what is not among these fields of the body, each as a line. */
  faultsBeside(fields: Iterable<string>): string[] {
    const shown = new Set(fields);
    return this.errors
      .filter(({ loc }) => loc[0] !== "body" || !shown.has(String(loc[1])))
      .map(({ loc, msg }) => `${loc.slice(1).join(".") || loc[0]}: ${msg}`);
  }

  /** The faults by field of the body. */
  get fields(): Record<string, string> {
    const ofBody = this.errors.filter(({ loc }) => loc[0] === "body" && loc.length > 1);
    return Object.fromEntries(ofBody.map(({ loc, msg }) => [String(loc[1]), msg]));
  }
}

/** Reads a refusal; what is no problem document, such as a proxy's page, is not shown. */
export async function readProblem(response: Response): Promise<ApiProblem> {
  const body: unknown = await response.json().catch(() => null);
  const told = (body && typeof body === "object" ? body : {}) as Record<string, unknown>;
  const text = (name: string) => {
    const value = told[name];
    return typeof value === "string" ? value : undefined;
  };
  return new ApiProblem({
    status: response.status,
    code: text("code") ?? `http_${response.status}`,
    title: text("title") ?? "The service refused this",
    detail: text("detail"),
    requestId: text("request_id") ?? response.headers.get("x-request-id") ?? undefined,
    errors: Array.isArray(told.errors) ? (told.errors as FieldError[]) : [],
  });
}

/** What an error page may show of an error that it got. */
export function shownProblem(error: { digest?: string }): ShownProblem {
  try {
    const told: unknown = JSON.parse(error.digest ?? "");
    if (told && typeof told === "object" && "title" in told) return told as ShownProblem;
  } catch {
    // The digest of any other error is a number, to be looked up in the log.
  }
  return { title: "Something went wrong", number: error.digest };
}
