/** The registry on the emulator: its settings, its schema, and the schedule, which the emulator does not run by itself. */
import type { D1Database } from '@cloudflare/workers-types';
import type { Miniflare } from 'miniflare';
import { settings } from '../env.ts';
import { emulate, type Queue } from './emulator.ts';
import type { Options } from './options.ts';
import { rememberRuntime } from './orphan.ts';
import { migrate, NewerSchemaError, readMigrations } from './schema.ts';
import { StartError } from './start-error.ts';

// Copies of what wrangler.toml says, held equal by a test: reading it takes all of wrangler, and longer than a start.
export const SCHEDULE_MINUTES = 10;
// The other limits there protect what is shared; here everybody is one, and it is their own machine.
export const LIMITS = { WRONG_PASSWORDS: 30, LOGINS: 300, TEST_DELIVERIES: 10, CALLS: 100 };
/** Of the Worker, its database and its bucket. */
const NAME = 'berth';
const DEAD_LETTERS = 'berth-dead-letters';
export const QUEUES: Record<string, Queue> = {
  EVENTS: { name: 'berth-events', maxBatchSize: 100, maxBatchTimeout: 1, maxRetries: 20, deadLetterQueue: DEAD_LETTERS },
  DELIVERIES: { name: 'berth-deliveries', maxBatchSize: 5, maxBatchTimeout: 1, maxRetries: 100, deadLetterQueue: DEAD_LETTERS },
  DEAD_LETTERS: { name: DEAD_LETTERS, maxBatchSize: 100, maxBatchTimeout: 5, maxRetries: 100 },
};

/** Settings that differ from their defaults: no day's budget, since the machine has none, and a log for people to read. */
export const DEFAULTS = {
  BACKGROUND_ROWS_READ: '0',
  BACKGROUND_ROWS_WRITTEN: '0',
  BACKGROUND_QUEUE_OPERATIONS: '0',
  LOG: 'text',
};

export interface Runtime {
  stop(): Promise<void>;
}

export async function startRuntime(options: Options): Promise<Runtime> {
  const { host, port, dataDir, variables, secrets } = options;
  const { insecureIssuers, insecureWebhooks } = settings(variables);
  const worker = await emulate({
    name: NAME,
    main: 'src/index.ts',
    dataDir,
    host,
    port,
    variables: { ...DEFAULTS, ...variables, ...secrets },
    limits: LIMITS,
    queues: QUEUES,
    reachesPrivate: insecureIssuers || insecureWebhooks,
    prepare: (database) => upgrade(database, dataDir),
    restarted: () => {
      console.error('The runtime ended unexpectedly and was started again.');
      rememberRuntime(dataDir);
    },
  });
  rememberRuntime(dataDir);
  const stopSchedule = runSchedule(worker, NAME);
  return {
    stop: async () => {
      stopSchedule();
      await worker.dispose();
    },
  };
}

/** @throws StartError if a newer version wrote the data; nothing is changed then */
async function upgrade(database: D1Database, dataDir: string): Promise<void> {
  try {
    await migrate(database, await readMigrations());
  } catch (error) {
    if (!(error instanceof NewerSchemaError)) throw error;
    throw new StartError(
      `The data in ${dataDir} was written by a newer version of Berth: ${error.message}. Nothing was changed. Install that version or a later one, or set DATA_DIR to another folder.`,
    );
  }
}

/**
 * The schedule of Cloudflare every ten minutes, and its first run now. Besides, the queues are in memory: what they held went with
 * the last process, so it is looked for at once, and then every minute what was lost otherwise.
 */
export function runSchedule(worker: Pick<Miniflare, 'getWorker'>, name: string): () => void {
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
  const timers = [setInterval(() => void run(''), SCHEDULE_MINUTES * 60_000), setInterval(() => void run('@minute'), 60_000)];
  return () => {
    stopped = true;
    for (const timer of timers) clearInterval(timer);
  };
}
