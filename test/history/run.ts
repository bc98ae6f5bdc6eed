/** One seeded run: an empty registry, concurrent clients and the collector, then the complaints of every checker. */
import type { Env } from '../../src/env.ts';
import { violations } from '../world/checker.ts';
import { FAULTS, faulty } from '../world/faults.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';
import type { Call } from './calls.ts';
import { type Complaint, checkHistory } from './checker.ts';
import { Client, type Stage } from './client.ts';
import { collectAll, collectOne, leftOver } from './collecting.ts';
import { contentsOf } from './contents.ts';
import { Random } from './random.ts';
import { Turns } from './turns.ts';
import { MUTABLE_TAGS, REPOSITORIES, runWorkload, TAGS } from './workload.ts';

export interface Report {
  complaints: Complaint[];
  calls: number;
  /** Number of answers by deed and status. */
  answered: Map<string, number>;
  /** Number of calls whose outcome is unknown. */
  unknown: number;
}

/** The maximum number of turns of clients between two slices of the collector, and the share of slices with a fault. */
const PAUSE = 150;
const FAULTY_SLICES = 0.3;
const FAULTY_CALLS = 12;

/** @param seedBug wraps the bindings so that they behave with a known bug */
export async function runSeed(seed: number, seedBug: (env: Env) => Env = (env) => env): Promise<Report> {
  const world = await newWorld({ GRACE_SECONDS: '0', TRASH_DAYS: '0' });
  await makeRepositories(world);
  const random = new Random(seed);
  const stage: Stage = {
    world: worldOf(seedBug(world.env)),
    turns: new Turns(random),
    random,
    contents: await contentsOf(seed),
    history: [],
    clock: { now: 0 },
    abandoned: [],
  };
  await runWorkload(stage, () => collectOnce(stage));
  await Promise.all(stage.abandoned);
  const unknown = stage.history.filter(({ end }) => end === Number.POSITIVE_INFINITY).length;
  const present = await readEverything(stage);
  const complaints = [
    ...checkHistory(stage.history, TAGS, REPOSITORIES, stage.contents),
    ...(await violations(world.env)).map((why) => ({ about: 'the stores', why })),
    ...(await afterCollection(stage, world.env, present)),
  ];
  return { complaints, calls: stage.history.length, answered: countsOf(stage.history), unknown };
}

function countsOf(history: Call[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { deed, status } of history) counts.set(`${deed.kind} ${status}`, (counts.get(`${deed.kind} ${status}`) ?? 0) + 1);
  return counts;
}

async function makeRepositories(world: World): Promise<void> {
  const filters = MUTABLE_TAGS.map((filter) => ({ filterType: 'WILDCARD', filter }));
  const rule = { imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION', imageTagMutabilityExclusionFilters: filters };
  const headers = { 'content-type': 'application/json' };
  for (const repository of REPOSITORIES) {
    const path = `/api/v1/repositories/${repository}`;
    const made = await world.fetch('PUT', path, { headers, body: '{}' });
    const ruled = await world.fetch('PUT', `${path}/-/tag-mutability`, { headers, body: JSON.stringify(rule) });
    if (!made.ok || !ruled.ok) throw new Error(`${made.status} ${ruled.status} ${await ruled.text()}`);
  }
}

async function collectOnce({ world, turns, random }: Stage): Promise<void> {
  const owner = {};
  const fault = random.chance(FAULTY_SLICES) ? random.pick(FAULTS) : undefined;
  const faults = faulty(turns.through(world.env, owner), fault, fault && random.below(FAULTY_CALLS));
  turns.begin(owner);
  await Promise.race([collectOne(faults.env).catch(() => {}), faults.stopped]);
  turns.end(owner);
  await turns.pass(random.below(PAUSE));
}

/** Reads everything as one last client. Returns the manifests that exist, as `repository@digest`. */
async function readEverything(stage: Stage): Promise<string[]> {
  const client = new Client('a reader afterwards', stage, false);
  const present: string[] = [];
  for (const { repository, name } of TAGS) await client.read(repository, name);
  for (const repository of REPOSITORIES) {
    await client.list(repository);
    for (const { digest, subject } of stage.contents.manifests) {
      if ((await client.read(repository, digest)).status === 200) present.push(`${repository}@${digest}`);
      if (subject) await client.referrers(repository, subject);
    }
    for (const { digest } of stage.contents.blobs) await client.readBlob(repository, digest);
  }
  return present;
}

/** With every lease expired, the collector must delete all that is unreferenced and nothing else. */
async function afterCollection({ world, contents }: Stage, env: Env, present: string[]): Promise<Complaint[]> {
  await env.DB.prepare('UPDATE repository_blobs SET leased_until = unixepoch() - 1').run();
  await collectAll(env);
  const complaints: Complaint[] = [];
  for (const one of present) {
    const [repository = '', digest = ''] = one.split('@');
    const { parts = [], mediaType = '' } = contents.manifests.find((manifest) => manifest.digest === digest) ?? {};
    const kind = mediaType.includes('index') ? 'manifests' : 'blobs';
    const paths = [`manifests/${digest}`, ...parts.map((part) => `${kind}/${part}`)];
    for (const path of paths) {
      const response = await world.fetch('GET', `/v2/${repository}/${path}`);
      await response.arrayBuffer();
      const about = `${contents.names.of(digest)} of ${repository}`;
      if (response.status !== 200)
        complaints.push({ about, why: `the collector took what it needs: ${path} ${response.status}` });
    }
  }
  return [...complaints, ...(await leftOver(env)).map((why) => ({ about: 'the collector', why }))];
}
