/**
 * Compares several sides by one measure. The machine's own mood changes from second to second, so the sides take turns,
 * the first one last in every other round, and a ratio is one of neighbours: of two rates of one round.
 */
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

export type Side = 'berth' | 'bare' | 'distribution';

/** One sample: a rate, more is better. */
export type Sample = () => Promise<number>;

export interface Measure {
  name: string;
  unit: 'MB/s' | 'req/s' | 'img/s';
  /** The least that Berth shall reach of the bare Worker's rate. */
  aim: number | null;
  /** Warms up, and makes sure that what is measured is right. */
  prepare(): Promise<void>;
  sides: Partial<Record<Side, Sample>>;
}

export interface Spread {
  median: number;
  min: number;
  max: number;
}

export interface Result {
  name: string;
  unit: string;
  aim: number | null;
  rounds: number;
  rates: Partial<Record<Side, Spread>>;
  /** Berth's rate by the other one's. */
  ratios: Partial<Record<Side, Spread>>;
  /** The part of a core that the load generator took for Berth and the bare Worker. */
  load: number;
}

export interface Bounds {
  rounds: number;
  /** No round is begun later than this after the first. */
  milliseconds: number;
}

/** What a request leaves to be done after its answer shall not fall to the one measured next. */
const REST_MS = 100;

export async function compare(measure: Measure, bounds: Bounds): Promise<Result> {
  await measure.prepare();
  const sides = Object.entries(measure.sides) as [Side, Sample][];
  const samples = new Map<Side, number[]>(sides.map(([side]) => [side, []]));
  const end = Date.now() + bounds.milliseconds;
  const loads: number[] = [];
  let rounds = 0;
  while (rounds < bounds.rounds && (rounds === 0 || Date.now() < end)) {
    for (const [side, sample] of rounds % 2 === 0 ? sides : sides.toReversed()) {
      await sleep(REST_MS);
      const { rate, load } = await loaded(sample);
      samples.get(side)?.push(rate);
      if (side !== 'distribution') loads.push(load);
    }
    rounds++;
  }
  const ours = samples.get('berth') ?? [];
  const rates = Object.fromEntries([...samples].map(([side, rate]) => [side, spreadOf(rate)]));
  const others = [...samples].filter(([side]) => side !== 'berth');
  const ratios = Object.fromEntries(
    others.map(([side, theirs]) => [side, spreadOf(ours.map((rate, round) => rate / (theirs[round] ?? Number.NaN)))]),
  );
  const load = spreadOf(loads).median;
  return { name: measure.name, unit: measure.unit, aim: measure.aim, rounds, rates, ratios, load };
}

/** The sample, and the part of a core that this process took meanwhile. */
async function loaded(sample: Sample): Promise<{ rate: number; load: number }> {
  const [start, before] = [performance.now(), process.cpuUsage()];
  const rate = await sample();
  const { user, system } = process.cpuUsage(before);
  return { rate, load: (user + system) / 1000 / (performance.now() - start) };
}

function spreadOf(values: number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2;
  return { median, min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN };
}
