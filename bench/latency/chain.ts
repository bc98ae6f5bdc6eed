/**
 * Counts the calls that were made one after the other. Time does not matter for this: calls are intervals between numbers that
 * grow with each beginning and each end of a call.
 */
export type Kind = 'd1' | 'r2';

/** A call of D1 or R2. `end` is `null` if it had not ended when the request was answered. */
export interface Call {
  kind: Kind;
  start: number;
  end: number | null;
}

/** The calls of one request, as far as they began before its answer. */
export interface Visit {
  /** The number that the load generator gave the request, and the name of the pull or push that it belongs to. */
  number: number;
  name: string;
  calls: Call[];
  answered: number;
}

export type Counts = Record<Kind, number>;

/** The calls that the answer waited for. */
function waitedFor({ calls, answered }: Visit, kind: Kind): { start: number; end: number }[] {
  return calls.flatMap((call) =>
    call.kind === kind && call.end !== null && call.end < answered ? [{ ...call, end: call.end }] : [],
  );
}

/**
 * The length of the longest chain of calls in which each one starts after the end of the previous one. Calls that ended after
 * the answer do not count.
 */
export function chainOf(visit: Visit, kind: Kind): number {
  const calls = waitedFor(visit, kind).sort((a, b) => a.end - b.end);
  let length = 0;
  let end = -1;
  for (const call of calls) {
    if (call.start <= end) continue;
    length++;
    end = call.end;
  }
  return length;
}

export function totalOf(visit: Visit, kind: Kind): number {
  return waitedFor(visit, kind).length;
}

/**
 * A request, or a point at which several sequences of requests meet (`number` is `null`).
 */
export interface Step {
  number: number | null;
  /** The steps that ended before this one began, because it needs their results or took the place of one of them. */
  after: Step[];
  /** The same without those whose place it took: the steps before it if the client had no limit on parallel requests. */
  needs: Step[];
}

export const BEGINNING: Step = { number: null, after: [], needs: [] };

/** The longest way from the beginning to a step. The length of a way is the sum of the weights of its requests. */
export function longestWay(step: Step, weight: (number: number) => number, edges: 'after' | 'needs'): number {
  const known = new Map<Step, number>();
  const lengthOf = (one: Step): number => {
    const found = known.get(one);
    if (found !== undefined) return found;
    const before = one[edges].reduce((most, previous) => Math.max(most, lengthOf(previous)), 0);
    const length = before + (one.number === null ? 0 : weight(one.number));
    known.set(one, length);
    return length;
  };
  return lengthOf(step);
}
