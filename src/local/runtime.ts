/** Runs the registry in the emulator: passes the settings on, migrates the database, and runs the schedule. */
import type { D1Database } from '@cloudflare/workers-types';
import type { Miniflare } from 'miniflare';
import { settings } from '../env.ts';
import { readDeployment } from './deployment.ts';
import { emulate } from './emulator.ts';
import type { Options } from './options.ts';
import { rememberRuntime } from './orphan.ts';
import { copyDatabase, isNewOrCurrent, migrate, NewerSchemaError, readMigrations, restoreCommands } from './schema.ts';
import { StartError } from './start-error.ts';

/** The name of the Worker, its database and its bucket. */
const NAME = 'berth';

/** The defaults that differ under `npm start`: background jobs have no daily budget, and the log is readable text. */
export const DEFAULTS = {
  LAYER_FILES_BYTES: String(256 * 1024 * 1024),
  BACKGROUND_ROWS_READ: '0',
  BACKGROUND_ROWS_WRITTEN: '0',
  BACKGROUND_QUEUE_OPERATIONS: '0',
  LOG: 'text',
};

interface Runtime {
  stop(): Promise<void>;
}

export async function startRuntime(options: Options): Promise<Runtime> {
  const { host, port, dataDir, variables, secrets } = options;
  const { insecureIssuers, insecureWebhooks } = settings(variables);
  const { scheduleMinutes, ...deployment } = readDeployment();
  const worker = await emulate({
    ...deployment,
    name: NAME,
    dataDir,
    host,
    port,
    variables: { ...DEFAULTS, ...variables, ...secrets },
    reachesPrivate: insecureIssuers || insecureWebhooks,
    prepare: (database) => upgrade(database, dataDir),
    // An older database must be copied and a newer one refused before the Worker can write to it. So the socket is opened at
    // once only for a new or current database.
    openAtOnce: await isNewOrCurrent(dataDir),
    restarted: () => {
      console.error('The runtime ended unexpectedly and was started again.');
      rememberRuntime(dataDir);
    },
  });
  rememberRuntime(dataDir);
  const stopSchedule = runSchedule(worker, NAME, scheduleMinutes);
  return {
    stop: async () => {
      stopSchedule();
      await worker.dispose();
    },
  };
}

/**
 * Copies the database and then migrates it.
 * @throws StartError if a newer version of Berth wrote the data (nothing is changed then), or if a migration failed
 */
async function upgrade(database: D1Database, dataDir: string): Promise<void> {
  let copy = '';
  try {
    const applied = await migrate(database, await readMigrations(), (first) => {
      copy = copyDatabase(dataDir, first);
    });
    if (copy === '') return;
    const names = applied.length === 1 ? applied[0] : `${applied[0]} to ${applied.at(-1)}`;
    console.log(`The database was upgraded (${names}). ${wayBack(dataDir, copy)}`);
  } catch (error) {
    if (error instanceof NewerSchemaError) throw newerData(dataDir, error);
    const held = copy === '' ? 'Nothing was changed.' : wayBack(dataDir, copy);
    throw new StartError(`The database in ${dataDir} could not be upgraded: ${(error as Error).message}. ${held}`);
  }
}

/** Returns a text that says where the copy of the database is, and how to go back to it. */
function wayBack(dataDir: string, copy: string): string {
  return `A copy of it as it was before is in ${copy}

To go back, stop the registry, install the version before, and put the copy in place of the database. What was pushed or changed
since the upgrade is lost then.

${restoreCommands(dataDir, copy)}
`;
}

function newerData(dataDir: string, { message }: NewerSchemaError): StartError {
  return new StartError(
    `The data in ${dataDir} was written by a newer version of Berth: ${message}. Nothing was changed. Install that ` +
      `version or a later one, or set DATA_DIR to another folder.`,
  );
}

/**
 * Runs the scheduled jobs at once and then every `minutes` minutes, because the emulator does not run schedules by itself.
 * Queues are in memory and are lost when the process ends, so lost messages are sent again at once (`@restart`) and every
 * minute (`@minute`).
 * @returns a function that stops the schedule
 */
export function runSchedule(worker: Pick<Miniflare, 'getWorker'>, name: string, minutes: number): () => void {
  let stopped = false;
  const run = async (cron: string) => {
    try {
      const { scheduled } = await worker.getWorker(name);
      const { outcome } = await scheduled({ scheduledTime: new Date(), cron });
      if (outcome !== 'ok') console.error(`schedule: ${outcome}`);
    } catch (error) {
      if (!stopped) console.error('schedule:', error);
    }
  };
  void run('@restart').then(() => run(''));
  const timers = [setInterval(() => void run(''), minutes * 60_000), setInterval(() => void run('@minute'), 60_000)];
  return () => {
    stopped = true;
    for (const timer of timers) clearInterval(timer);
  };
}
