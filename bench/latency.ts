/**
 * `npm run bench:latency [-- --quick] [-- --write] [-- --peer REPOSITORY]` measures how much the distance to D1 and R2 slows
 * pulls and pushes. It delays each call to D1 and R2, and counts how many calls are made one after the other. `--write` writes
 * the tables into docs/performance.md. `--peer` clones serverless-registry from another URL than GitHub.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { exitOnSignals } from '../test/world/registry.ts';
import { CASES } from './latency/cases.ts';
import { CLIENTS, type ClientName } from './latency/clients.ts';
import { type Delays, measure, nameOf, type Sample } from './latency/measure.ts';
import { type Row, tablesOf, writeTables } from './latency/report.ts';
import { lookAt, type Side, startSides } from './latency/sides.ts';

interface Plan {
  rounds: number;
  clients: ClientName[];
  d1: number[];
}

const R2_MS = 20;
const FULL: Plan = { rounds: 3, clients: CLIENTS, d1: [5, 30, 100] };
const QUICK: Plan = { rounds: 1, clients: ['docker 28', 'docker 29'], d1: [30] };
/**
 * The number of milliseconds after which an isolate has written its pull counts (`PULL_COUNT_SECONDS`, by default 5 seconds).
 */
const BACKGROUND_MS = 7000;

exitOnSignals();
const { values } = parseArgs({ options: { quick: { type: 'boolean' }, write: { type: 'boolean' }, peer: { type: 'string' } } });
const plan = values.quick ? QUICK : FULL;
const sides = await startSides(values.peer);
try {
  const rows = await run();
  const tables = tablesOf(rows, { d1: plan.d1, r2: R2_MS, rounds: plan.rounds, hasPeer: sides.length === 3 });
  console.log(`\n${tables}`);
  if (values.write) await writeTables(tables);
} finally {
  for (const side of sides) await side.stop();
}
process.exit();

async function run(): Promise<Row[]> {
  const rows: Row[] = [];
  // The first requests to a Worker are not measured, because they compile its code and check its database.
  for (const client of plan.clients) for (const side of sides) await measure(side, client, 'push, new', { d1: 0, r2: 0 });
  for (const name of CASES) {
    for (const client of plan.clients) {
      process.stderr.write(`${name}, ${client}\n`);
      const times = [];
      for (const d1 of plan.d1)
        times.push({ d1, samples: await roundsOf({ d1, r2: R2_MS }, (side, delays) => measure(side, client, name, delays)) });
      rows.push({ name, client, times, background: { d1: 0, r2: 0 } });
    }
  }
  await countBackground(rows);
  return rows;
}

async function countBackground(rows: Row[]): Promise<void> {
  const [berth] = sides;
  if (!berth) return;
  await sleep(BACKGROUND_MS);
  const { background } = await lookAt(berth);
  const pulls = plan.rounds * plan.d1.length;
  for (const row of rows) {
    const { d1, r2 } = background[nameOf(row.client, row.name)] ?? { d1: 0, r2: 0 };
    row.background = { d1: d1 / pulls, r2: r2 / pulls };
  }
}

type Samples = Record<string, Sample | null>[];

/** The sides take turns in each round, every second round in reverse order. */
async function roundsOf(delays: Delays, one: (side: Side, delays: Delays) => Promise<Sample | null>): Promise<Samples> {
  const rounds: Samples = [];
  for (let round = 0; round < plan.rounds; round++) {
    const samples: Record<string, Sample | null> = {};
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) samples[side.name] = await one(side, delays);
    rounds.push(samples);
  }
  return rounds;
}
