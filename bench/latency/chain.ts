/**
 * Computes how many calls were made one after the other. The time of calls does not matter: each call is an interval between
 * two numbers of a counter, which grows at each start and end of a call.
 */
export type Kind = 'd1' | 'r2';

/** A call to D1 or R2. `end` is `null` if the call had not ended when the request was answered. */
export interface Call {
  kind: Kind;
  start: number;
  end: number | null;
}

/** The calls of one request that started before its answer. */
export interface Visit {
  /** The number that the load generator gave to the request, and the name of the pull or push to which it belongs. */
  number: number;
  name: string;
  calls: Call[];
  answered: number;
}

export type Counts = Record<Kind, number>;

/** Returns the calls for which the answer waited. */
function waitedFor({ calls, answered }: Visit, kind: Kind): { start: number; end: number }[] {
  return calls.flatMap((call) =>
    call.kind === kind && call.end !== null && call.end < answered ? [{ ...call, end: call.end }] : [],
  );
}

/**
 * Returns the length of the longest chain of calls in which each call starts after the end of the previous one. Calls that
 * ended after the answer do not count.
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

/** A request, or a point where several sequences of requests join (`number` is `null`). */
export interface Step {
  number: number | null;
  /** The steps that ended before this step started, because it needs their results or had to wait for a free connection. */
  after: Step[];
  /** The steps whose results this step needs. These are the steps before it if the client had no limit on parallel requests. */
  needs: Step[];
}

export const BEGINNING: Step = { number: null, after: [], needs: [] };

/**
 * Returns the length of the longest path from the beginning to a step. The length of a path is the sum of the weights of its
 * requests.
 */
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
