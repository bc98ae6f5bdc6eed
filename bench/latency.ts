/**
 * `npm run bench:latency [-- --quick] [-- --write] [-- --peer REPOSITORY]` measures how pulls and pushes suffer from the distance
 * to D1 and R2. It delays each of their calls, and counts how many are made one after the other. `--write` writes the tables
 * into docs/performance.md. `--peer` clones serverless-registry from another place than GitHub.
 */
import { parseArgs } from 'node:util';
import { exitOnSignals } from '../test/world/registry.ts';
import { CASES } from './latency/cases.ts';
import { CLIENTS, type ClientName } from './latency/clients.ts';
import { type Delays, measure, type Sample } from './latency/measure.ts';
import { type Row, tablesOf, writeTables } from './latency/report.ts';
import { type Side, startSides } from './latency/sides.ts';

interface Plan {
  rounds: number;
  clients: ClientName[];
  d1: number[];
}

const R2_MS = 20;
const FULL: Plan = { rounds: 3, clients: CLIENTS, d1: [5, 30, 100] };
const QUICK: Plan = { rounds: 1, clients: ['docker 28', 'docker 29'], d1: [30] };

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
  // The first requests of a Worker compile its code and check its database.
  for (const client of plan.clients) for (const side of sides) await measure(side, client, 'push, new', { d1: 0, r2: 0 });
  for (const name of CASES) {
    for (const client of plan.clients) {
      process.stderr.write(`${name}, ${client}\n`);
      const times = [];
      for (const d1 of plan.d1)
        times.push({ d1, samples: await roundsOf({ d1, r2: R2_MS }, (side, delays) => measure(side, client, name, delays)) });
      rows.push({ name, client, times });
    }
  }
  return rows;
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
