/**
 * Compares several sides by one measure. The speed of the machine changes from second to second. So the sides take turns in
 * every round, in every second round in reverse order, and a ratio compares two rates of the same round.
 */
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

export type Side = 'berth' | 'bare' | 'distribution';

/** Takes one sample. @returns a rate; higher is better */
export type Sample = () => Promise<number>;

export interface Measure {
  name: string;
  unit: 'MB/s' | 'req/s' | 'img/s';
  /** The smallest acceptable ratio of Berth's rate to the bare Worker's rate, or `null` if there is none. */
  aim: number | null;
  /** Warms up all sides, and checks that they answer correctly. */
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
  /** The ratio of Berth's rate to the rate of each other side. */
  ratios: Partial<Record<Side, Spread>>;
  /** The share of one CPU core that the load generator used during the samples of Berth and of the bare Worker. */
  load: number;
}

export interface Bounds {
  rounds: number;
  /** The number of milliseconds after which no further round starts. */
  milliseconds: number;
}

/**
 * The pause before each sample, in milliseconds. It keeps work that one side does after its answers from slowing the next side.
 */
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

/** Takes a sample, and measures the share of one CPU core that this process used meanwhile. */
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
