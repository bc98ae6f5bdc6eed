/**
 * The soak test: many clients work while the collector runs with the shortest possible times. All acknowledged content must
 * exist, and at the end no other content. It uses the embedded runtime, with real D1 and R2, and a data folder of its own.
 */
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Miniflare } from 'miniflare';
import { readDeployment } from '../../src/local/deployment.ts';
import { emulate } from '../../src/local/emulator.ts';
import { DEFAULTS } from '../../src/local/runtime.ts';
import { migrate, readMigrations } from '../../src/local/schema.ts';
import { Random } from '../history/random.ts';
import { freePort } from '../world/registry.ts';
import { audit, letUploadsExpire } from './audit.ts';
import { Collecting, runSchedule } from './collecting.ts';
import { Contents, TAGS } from './contents.ts';
import { Repository } from './expectations.ts';
import { Connection, Log } from './log.ts';
import { Person, type Soak } from './person.ts';
import { Puller } from './reading.ts';

export interface Plan {
  operations: number;
  clients: number;
  seed: number;
  /** The maximum number of seconds. The run ends after this time, even if operations are left. */
  seconds: number;
  /** The lease in seconds that clients rely on. `toldLease` is the lease of the registry. It differs only to put in a bug. */
  lease: number;
  toldLease?: number;
  /** The grace period of each round, in seconds. The program is started again before each round. */
  grace: number[];
  /** The entry file of the Worker. It is another one only to put in a bug. */
  main?: string;
  onProgress?: (line: string) => void;
}

export interface Outcome {
  summary: string;
  lost: string[];
  wrong: string[];
  leftOver: number;
  operations: number;
  collected: number;
  answers: Map<string, number>;
}

const REPOSITORIES = ['acme/api', 'acme/web', 'acme/tools/cli', 'other/api', 'base'];
const BLOBS = 500;
const IMAGES = 300;
const PASSWORD = 'the-password-of-the-soak';
const PROGRESS = 15_000;
const PASSES_MAX = 60;
/** The number of days after which every unfinished upload has expired. */
const DAYS = 3;

export async function soak(plan: Plan): Promise<Outcome> {
  const dataDir = await mkdtemp(join(tmpdir(), 'berth-soak-'));
  const remove = () => rmSync(dataDir, { recursive: true, force: true });
  process.once('exit', remove);
  const log = new Log();
  const collecting = new Collecting(log);
  const stage: Soak = {
    random: new Random(plan.seed),
    log,
    // One second is subtracted, because the database counts in whole seconds.
    terms: { lease: (plan.lease / 2 - 1) * 1000 },
    contents: new Contents(plan.seed, BLOBS, IMAGES),
    repositories: REPOSITORIES.map((name) => new Repository(name, TAGS)),
    known: new Map(),
  };
  const until = performance.now() + plan.seconds * 1000;
  const progress = setInterval(() => {
    const { objects } = collecting.collected;
    plan.onProgress?.(
      `${log.operations} operations, ${objects} objects collected, ${log.lost.length} lost, ${log.wrong.length} wrong`,
    );
  }, PROGRESS);
  try {
    for (const [round, grace] of plan.grace.entries()) {
      const enough = (plan.operations * (round + 1)) / plan.grace.length;
      const goesOn = () => log.operations < enough && performance.now() < until;
      await running(plan, dataDir, grace, log, (worker, connection) =>
        work(plan, stage, collecting, worker, connection, goesOn),
      );
    }
    return await running(plan, dataDir, 0, log, (worker, connection) => finish(plan, stage, collecting, worker, connection));
  } finally {
    clearInterval(progress);
    process.off('exit', remove);
    remove();
  }
}

/** Starts the program, runs `during`, and ends the program. */
async function running<T>(
  plan: Plan,
  dataDir: string,
  grace: number,
  log: Log,
  during: (worker: Miniflare, connection: Connection) => Promise<T>,
): Promise<T> {
  const port = await freePort();
  const { producers, consumers } = readDeployment();
  const worker = await emulate({
    name: 'berth',
    main: plan.main ?? 'src/index.ts',
    dataDir,
    host: '127.0.0.1',
    port,
    variables: {
      REGISTRY_SECRET: 'a-secret-of-the-soak-0123456789abcdef',
      ADMIN_PASSWORD: PASSWORD,
      GRACE_SECONDS: String(grace),
      LEASE_SECONDS: String(plan.toldLease ?? plan.lease),
      TRASH_DAYS: '0',
      ...DEFAULTS,
    },
    producers,
    consumers,
    prepare: async (database) => migrate(database, await readMigrations()),
  });
  try {
    return await during(worker, new Connection(log, `http://127.0.0.1:${port}`, PASSWORD));
  } finally {
    await worker.dispose();
  }
}

async function work(
  plan: Plan,
  stage: Soak,
  collecting: Collecting,
  worker: Miniflare,
  connection: Connection,
  goesOn: () => boolean,
): Promise<void> {
  let working = true;
  const collector = collecting.backToBack(connection, worker, () => !working);
  const people = Array.from({ length: plan.clients }, () => new Person(stage, connection));
  await Promise.all(
    people.map(async (person) => {
      while (goesOn()) await person.deed();
      await person.finish();
    }),
  );
  working = false;
  await collector;
}

/**
 * Lets all leases expire and runs passes to their end. Then compares the existing content with the expected content, deletes
 * all content, and compares again.
 */
async function finish(
  plan: Plan,
  stage: Soak,
  collecting: Collecting,
  worker: Miniflare,
  connection: Connection,
): Promise<Outcome> {
  const { log, repositories, contents, known } = stage;
  const settle = async () => {
    await sleep(((plan.toldLease ?? plan.lease) + 1) * 1000);
    await collecting.toTheEnd(connection, PASSES_MAX);
    // The audit comes before the scrub, which would delete objects that should not exist.
    const complaints = (await audit(worker, false)).complaints;
    // Each run of the schedule expires one slice of the uploads.
    while (await letUploadsExpire(worker)) await runSchedule(worker, true, DAYS);
    const found = await audit(worker, true);
    return { ...found, complaints: [...new Set([...complaints, ...found.complaints])] };
  };
  const { operations } = log;
  const kept = await settle();
  const pulled = await new Puller(connection, log, known).pullAll(repositories, contents);
  for (const { name } of repositories) {
    await connection.send('DELETE repository', [200, 404], 'DELETE', `/api/v1/repositories/${name}?force=true`);
  }
  const emptied = await settle();
  log.wrong.push(...kept.complaints, ...emptied.complaints.map((complaint) => `after all was deleted: ${complaint}`));
  const { objects, bytes } = collecting.collected;
  const leftOver = kept.leftOver + emptied.bytes;
  const summary =
    `soak: ${operations} operations, ${objects} objects and ${bytes} bytes of blobs collected, ${pulled} images kept of ${kept.bytes} bytes, ` +
    `${log.lost.length} lost, ${log.wrong.length} wrong, ${leftOver} bytes left over`;
  return { summary, lost: log.lost, wrong: log.wrong, leftOver, operations, collected: objects, answers: log.answers };
}
