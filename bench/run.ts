/**
 * `npm run bench [-- --quick] [-- --json FILE]` measures the speed of the registry. It compares the registry with CNCF
 * Distribution and with a Worker that only moves the same bytes, which is the maximum speed of the platform. Rates depend on
 * the machine, so the result is the ratios.
 */
import { rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { exitOnSignals, startRegistry, type Verify } from '../test/world/registry.ts';
import { Bare } from './bare.ts';
import { type Client, rateOf, speedOf } from './client.ts';
import { type Host, startBare, startDistribution } from './hosts.ts';
import { type Amounts, layerMeasures, requestMeasures, type Sides } from './measures.ts';
import { memberOfManyTeams } from './people.ts';
import { Registry } from './registry.ts';
import { type Ceiling, machine, type Report, tableOf } from './report.ts';
import { type Bounds, compare, type Measure, type Result } from './rounds.ts';

interface Plan extends Amounts {
  layers: Bounds;
  requests: Bounds;
}

const MIB = 1024 * 1024;
const FULL: Plan = {
  layerBytes: 64 * MIB,
  milliseconds: 400,
  layers: { rounds: 9, milliseconds: 28_000 },
  requests: { rounds: 21, milliseconds: 28_000 },
};
const QUICK: Plan = {
  layerBytes: 64 * MIB,
  milliseconds: 200,
  layers: { rounds: 3, milliseconds: 3_500 },
  requests: { rounds: 7, milliseconds: 4_000 },
};
/** The number of rounds in which the maximum speed of the load generator is measured. The best round counts. */
const CEILING_ROUNDS = 3;

exitOnSignals();
const { values } = parseArgs({ options: { quick: { type: 'boolean' }, json: { type: 'string' } } });
const hosts: { stop(): Promise<void> }[] = [];
try {
  const report = await run(values.quick ? QUICK : FULL);
  console.log(`\n${tableOf(report)}`);
  const file = values.json ?? join(tmpdir(), 'berth-bench.json');
  await writeFile(file, `${JSON.stringify(report, null, 2)}\n`);
  console.log(file);
} finally {
  for (const host of hosts) await host.stop();
}
process.exit();

async function run(plan: Plan): Promise<Report> {
  const other = await startDistribution();
  const distribution = other && new Registry(keep(other).url, null);
  const [bare, storage, stream] = await Promise.all([startBareWorker(), startBerth('storage'), startBerth('stream')]);
  const member = new Registry(storage.url, await memberOfManyTeams(storage.url, storage.credentials ?? ''));
  const sides: Sides = { storage, stream, member, bare, distribution };
  const start = Date.now();
  const loadGenerator = await ceilingOf(bare.client, plan);
  const results = [
    ...(await measured(sides, layerMeasures(sides, plan), plan.layers)),
    ...(await measured(sides, requestMeasures(sides, plan), plan.requests)),
  ];
  const seconds = (Date.now() - start) / 1000;
  const at = new Date(start).toISOString();
  return { at, machine: machine(), distribution: other?.version ?? null, seconds, loadGenerator, results };
}

async function startBareWorker(): Promise<Bare> {
  return new Bare(keep(await startBare()).url);
}

async function startBerth(verify: Verify): Promise<Registry> {
  const registry = await startRegistry({ verify });
  hosts.push(registry);
  process.once('exit', () => rmSync(registry.dataDir, { recursive: true, force: true }));
  return new Registry(registry.url, `${registry.username}:${registry.password}`);
}

function keep<T extends Host>(host: T): T {
  hosts.push(host);
  return host;
}

async function measured(sides: Sides, measures: Measure[], bounds: Bounds): Promise<Result[]> {
  const results: Result[] = [];
  for (const measure of measures) {
    process.stderr.write(`${measure.name} `);
    await sides.storage.login();
    await sides.stream.login();
    results.push(await compare(measure, bounds));
  }
  process.stderr.write('\n');
  return results;
}

async function ceilingOf(client: Client, { layerBytes, milliseconds }: Plan): Promise<Ceiling> {
  const bytes = Buffer.alloc(layerBytes);
  const best = async (sample: () => Promise<number>) => {
    let most = 0;
    for (let n = 0; n < CEILING_ROUNDS; n++) most = Math.max(most, await sample());
    return most;
  };
  return {
    requests: await best(() => rateOf(() => client.send(200, 'GET', '/ok'), milliseconds)),
    send: await best(() => speedOf(layerBytes, () => client.send(200, 'PUT', '/sink', {}, { bytes, sized: true }))),
    sendUnsized: await best(() => speedOf(layerBytes, () => client.send(200, 'PUT', '/sink', {}, { bytes, sized: false }))),
  };
}
