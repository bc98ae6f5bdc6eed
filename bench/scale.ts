/**
 * `npm run bench:scale [-- --quick]` measures the cost of each route on two databases. One has 50,000 repositories (one of
 * which has 100,000 tags), a million blobs and five million events. The other has a hundredth of that. A route whose cost
 * depends on the size of the database is marked. `--quick` uses a hundredth and a thousandth instead.
 */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { exitOnSignals } from '../test/world/registry.ts';
import { type Filled, fill } from './scale/fill.ts';
import { type Job, measureJobs, measureRoutes, type Routes } from './scale/measure.ts';
import { Scaled } from './scale/registry.ts';
import { reportOf } from './scale/report.ts';
import { shapeOf } from './scale/shape.ts';

interface Plan {
  large: number;
  small: number;
  calls: number;
  /** The number of runs of the schedule. There are six runs in an hour. */
  runs: number;
}

export interface Result {
  scale: number;
  filled: Filled;
  routes: Routes;
  jobs: Job[];
}

const FULL: Plan = { large: 1, small: 0.01, calls: 30, runs: 36 };
const QUICK: Plan = { large: 0.01, small: 0.001, calls: 3, runs: 6 };

exitOnSignals();
const { values } = parseArgs({ options: { quick: { type: 'boolean' }, calls: { type: 'string' } } });
const plan = { ...(values.quick ? QUICK : FULL), ...(values.calls && { calls: Number(values.calls) }) };
const small = await measured(plan.small);
const large = await measured(plan.large);
console.log(reportOf(large, small, plan.calls));
process.exit();

async function measured(scale: number): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'berth-scale-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const secrets = { secret: randomBytes(32).toString('base64url'), password: randomBytes(18).toString('base64url') };
  // The first start creates the tables.
  await (await Scaled.start(folder, secrets)).stop();
  process.stderr.write(`filling a database (${scale * 100} %)\n`);
  const filled = fill(folder, shapeOf(scale));
  process.stderr.write(`calling the routes, after ${Math.round(filled.seconds)} s\n`);
  const registry = await Scaled.start(folder, secrets);
  try {
    const routes = await measureRoutes(registry, plan.calls);
    return { scale, filled, routes, jobs: await measureJobs(registry, plan.runs) };
  } finally {
    await registry.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
