/**
 * Whether the calls about one register can be put into one order of single steps, each between its request and its answer
 * (Herlihy and Wing, "Linearizability"; the search is Wing and Gong's, with Lowe's memory of tried states). If not,
 * `contradiction` names the few steps that exclude each other.
 */

export interface Step {
  /** A text for people. Steps with equal texts have the same effect. */
  what: string;
  /**
   * On one clock for all clients. `end` is `Infinity` if the outcome is unknown: it may be applied at any later time, or
   * never.
   */
  start: number;
  end: number;
  /** It never changes anything. */
  observes: boolean;
  /** The state after it; `undefined` if it cannot have been answered so in this state. */
  apply(state: string): string | undefined;
}

const UNKNOWN = Number.POSITIVE_INFINITY;

interface Search {
  /** In order of their starts. */
  steps: Step[];
  bits: bigint[];
  seen: Set<string>;
}

/** @param initial the state it began in, or several possible ones */
export function isLinearizable(initial: string | Iterable<string>, steps: Step[]): boolean {
  const ordered = [...steps].sort((one, other) => one.start - other.start);
  const search = { steps: ordered, bits: ordered.map((_, n) => 1n << BigInt(n)), seen: new Set<string>() };
  return [...(typeof initial === 'string' ? [initial] : initial)].some((state) => reaches(search, 0n, state));
}

/** True if all answered steps can be put into an order from here on. */
function reaches(search: Search, before: bigint, state: string): boolean {
  const done = observed(search, before, state);
  const key = `${done.toString(36)} ${state}`;
  if (search.seen.has(key)) return false;
  search.seen.add(key);
  const open = openIn(search, done);
  if (open === null) return true;
  const known = open.filter((n) => (search.steps[n] as Step).end !== UNKNOWN);
  return [...known, ...worthwhile(search, open, state)].some((n) => {
    const after = (search.steps[n] as Step).apply(state);
    return after !== undefined && reaches(search, done | (search.bits[n] as bigint), after);
  });
}

/** Takes reads of the current state at once. That excludes no order, because they change nothing. */
function observed(search: Search, before: bigint, state: string): bigint {
  for (let done = before; ; ) {
    const seen = (openIn(search, done) ?? []).filter((n) => {
      const step = search.steps[n] as Step;
      return step.observes && step.apply(state) !== undefined;
    });
    if (seen.length === 0) return done;
    for (const n of seen) done |= search.bits[n] as bigint;
  }
}

/** Steps that may come next, because no remaining step was answered before they started. `null`: none has to. */
function openIn({ steps, bits }: Search, done: bigint): number[] | null {
  const open: number[] = [];
  let end = UNKNOWN;
  for (let n = 0; n < steps.length && (steps[n] as Step).start < end; n++) {
    if (done & (bits[n] as bigint)) continue;
    open.push(n);
    end = Math.min(end, (steps[n] as Step).end);
  }
  return end === UNKNOWN ? null : open.filter((n) => (steps[n] as Step).start < end);
}

/**
 * The steps with an unknown outcome to try: those that affect what may come next (otherwise an order without them is as
 * good), and only one of those with the same effect.
 */
function worthwhile({ steps }: Search, open: number[], state: string): number[] {
  const tried = new Set<string>();
  return open.filter((n) => {
    const { what, end, apply } = steps[n] as Step;
    const after = end === UNKNOWN ? apply(state) : undefined;
    if (after === undefined || after === state || tried.has(what)) return false;
    tried.add(what);
    return open.some((next) => {
      const then = next === n ? undefined : steps[next]?.apply(after);
      return then !== undefined && then !== steps[next]?.apply(state);
    });
  });
}

/** Steps that cannot be put into an order, in order of their starts, as few as can be found; `null` if all can. */
export function contradiction(initial: string, steps: Step[]): Step[] | null {
  if (isLinearizable(initial, steps)) return null;
  const { states, window } = latestWindow(initial, shortestPrefix(initial, steps));
  const needed = new Set(window.filter(({ end }) => end !== UNKNOWN));
  let kept = window;
  for (const step of [...needed].sort((one, other) => one.start - other.start)) {
    const without = kept.flatMap((one) => (one === step ? (step.observes ? [] : [optional(step)]) : [one]));
    if (isLinearizable(states, without)) continue;
    kept = without;
    needed.delete(step);
  }
  return [...needed].sort((one, other) => one.start - other.start);
}

/** Up to the first answer that fits no order. Steps under way by then may have been applied or not. */
function shortestPrefix(initial: string, steps: Step[]): Step[] {
  const upTo = (until: number) =>
    steps.filter(({ start }) => start < until).map((step) => (step.end > until ? optional(step) : step));
  const ends = steps.map(({ end }) => end).filter(Number.isFinite);
  ends.sort((one, other) => one - other);
  return upTo(ends[firstOf(ends.length, (n) => !isLinearizable(initial, upTo(ends[n] as number)))] as number);
}

/** Starts as late as possible: omits earlier answers, and starts in any state that they could have left. */
function latestWindow(initial: string, steps: Step[]): { states: Set<string>; window: Step[] } {
  const starts = steps.map(({ start }) => start).sort((one, other) => other - one);
  const since = (from: number) => ({
    states: reachable(
      initial,
      steps.filter(({ start }) => start < from),
    ),
    window: steps.filter(({ end }) => end >= from).map((step) => (step.start < from ? optional(step) : step)),
  });
  const fails = (from: number) => {
    const { states, window } = since(from);
    return !isLinearizable(states, window);
  };
  return since(starts[firstOf(starts.length, (n) => fails(starts[n] as number))] as number);
}

function reachable(initial: string, steps: Step[]): Set<string> {
  const states = new Set([initial]);
  for (const state of states) {
    for (const step of steps) {
      const after = step.apply(state);
      if (after !== undefined) states.add(after);
    }
  }
  return states;
}

/** The least number for which it holds, if it then holds for all larger ones. It holds for the last. */
function firstOf(count: number, holds: (n: number) => boolean): number {
  let [low, high] = [0, count - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function optional(step: Step): Step {
  return { ...step, end: UNKNOWN };
}
