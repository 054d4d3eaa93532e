import type { ShownProblem } from "@core/problem";

/** Says what went wrong, and what to quote in a report. */
export function ProblemNote({ title, detail, requestId, number, faults }: ShownProblem) {
  return (
    <div role="alert" className="problem">
      <p className="font-semibold">{title}</p>
      {detail && <p>{detail}</p>}
      {faults?.map((fault) => (
        <p key={fault}>{fault}</p>
      ))}
      {requestId && <p className="hint">Request id: {requestId}</p>}
      {number && <p className="hint">Error number: {number}</p>}
    </div>
  );
}
