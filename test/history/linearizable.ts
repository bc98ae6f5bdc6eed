/**
 * Decides if the calls about one register are linearizable: if they can be put into one order in which each takes effect
 * between its request and its answer (Herlihy and Wing, "Linearizability"). The search is that of Wing and Gong, with Lowe's
 * memory of tried states. If there is no such order, `contradiction` returns the few steps that exclude each other.
 */

export interface Step {
  /** A text for messages. Steps with equal texts have the same effect. */
  what: string;
  /**
   * The times of request and answer, on a common clock. `end` is `Infinity` if the outcome is unknown: the step may take effect
   * at any later time, or never.
   */
  start: number;
  end: number;
  /** True if the step never changes the state. */
  observes: boolean;
  /** The state after the step. `undefined` if the step could not have had its answer in this state. */
  apply(state: string): string | undefined;
}

const UNKNOWN = Number.POSITIVE_INFINITY;

interface Search {
  /** The steps in the order of their starts. */
  steps: Step[];
  bits: bigint[];
  seen: Set<string>;
}

/** @param initial the state at the beginning, or several possible states */
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

/** Puts all possible reads of the current state next in the order. That excludes no order, because reads change nothing. */
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

/** The steps that may come next: no remaining step was answered before they started. `null` if no step has to come. */
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
 * The steps that are worth trying next. A step with an unknown outcome is tried only if it affects which steps can follow, and
 * only one of several such steps with the same effect is tried.
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

/** The fewest steps found that cannot be put into an order, sorted by their starts. `null` if all steps can. */
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

/** The steps up to the first answer that fits no order. Steps without an answer by then may have been applied or not. */
function shortestPrefix(initial: string, steps: Step[]): Step[] {
  const upTo = (until: number) =>
    steps.filter(({ start }) => start < until).map((step) => (step.end > until ? optional(step) : step));
  const ends = steps.map(({ end }) => end).filter(Number.isFinite);
  ends.sort((one, other) => one - other);
  return upTo(ends[firstOf(ends.length, (n) => !isLinearizable(initial, upTo(ends[n] as number)))] as number);
}

/** The latest steps that still contradict each other, if the history begins in any state that the omitted steps could leave. */
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

/** The smallest number for which `holds` is true. It must be true for all greater numbers, and for the last one. */
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
