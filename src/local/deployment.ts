/**
 * Reads wrangler.toml, so that `npm start` runs the registry with the queues, limits, schedule and runtime of a deployment.
 *
 * `npm start` does not use these parts of the file:
 * - The names of the Worker, the database and the bucket. They would become names of data folders, and a change of a name would
 *   lose the data.
 * - `[vars]`. Under `npm start`, settings are environment variables, and some have other defaults (`runtime.ts`).
 * - The limits in `NOT_LIMITED`. They protect users from each other, and a laptop has one user.
 * - The minutes of the schedule. The schedule runs as often as in a deployment, beginning at the start of the program.
 * - `workers_dev`, `minify`, `keep_names`, `[limits]` and `[observability]`, which have no meaning under `npm start`.
 */
import { readFileSync } from 'node:fs';
import { parse } from 'smol-toml';
import { StartError } from './start-error.ts';

const NOT_LIMITED = ['TOKEN_REQUESTS', 'UPLOAD_STARTS', 'WRITES', 'EXPENSIVE_READS'];

/** A rate limit: at most `limit` requests within `period` seconds. */
export interface RateLimit {
  limit: number;
  period: 10 | 60;
}

/** A queue that the Worker consumes. Times are in seconds. */
export interface Consumer {
  name: string;
  maxBatchSize: number;
  maxBatchTimeout: number;
  maxRetries: number;
  deadLetterQueue?: string;
}

export interface Deployment {
  /** The path of the Worker's entry file, relative to the root of the project. */
  main: string;
  compatibility: { compatibilityDate: string; compatibilityFlags: string[] };
  /** The names of queues, by the names of the bindings that send messages to them. */
  producers: Record<string, string>;
  consumers: Consumer[];
  limits: Record<string, RateLimit>;
  scheduleMinutes: number;
}

/** The part of wrangler.toml that is read. If an optional value is missing, Cloudflare's default applies. */
interface Configuration {
  main: string;
  compatibility_date: string;
  compatibility_flags?: string[];
  triggers: { crons: string[] };
  queues?: {
    producers?: { binding: string; queue: string }[];
    consumers?: {
      queue: string;
      max_batch_size?: number;
      max_batch_timeout?: number;
      max_retries?: number;
      dead_letter_queue?: string;
    }[];
  };
  ratelimits?: { name: string; simple: RateLimit }[];
}

/** @throws StartError if the file cannot be read or lacks a value */
export function readDeployment(): Deployment {
  try {
    return deploymentOf(readFileSync(new URL('../../wrangler.toml', import.meta.url), 'utf8'));
  } catch (error) {
    throw new StartError(`wrangler.toml cannot be used: ${(error as Error).message}`);
  }
}

/** Returns the deployment that wrangler.toml describes. @param toml the text of the file */
export function deploymentOf(toml: string): Deployment {
  const { main, compatibility_date, compatibility_flags = [], triggers, queues = {}, ratelimits = [] } = configurationIn(toml);
  const limited = ratelimits.filter(({ name }) => !NOT_LIMITED.includes(name));
  return {
    main,
    compatibility: { compatibilityDate: compatibility_date, compatibilityFlags: compatibility_flags },
    producers: Object.fromEntries((queues.producers ?? []).map(({ binding, queue }) => [binding, queue])),
    consumers: (queues.consumers ?? []).map((consumer) => ({
      name: consumer.queue,
      maxBatchSize: consumer.max_batch_size ?? 10,
      maxBatchTimeout: consumer.max_batch_timeout ?? 5,
      maxRetries: consumer.max_retries ?? 3,
      ...(consumer.dead_letter_queue === undefined ? {} : { deadLetterQueue: consumer.dead_letter_queue }),
    })),
    limits: Object.fromEntries(limited.map(({ name, simple }) => [name, simple])),
    scheduleMinutes: minutesBetween(triggers.crons),
  };
}

/** @throws Error if a required value is missing */
function configurationIn(toml: string): Configuration {
  const configuration = parse(toml) as unknown as Partial<Configuration>;
  const { main, compatibility_date, triggers } = configuration;
  if (main === undefined || compatibility_date === undefined || triggers === undefined) {
    throw new Error('it has no main, no compatibility_date or no [triggers]');
  }
  return { ...configuration, main, compatibility_date, triggers };
}

/**
 * Returns the number of minutes between two runs of the schedule.
 * @param crons cron expressions that list minutes of every hour, such as `7,17,27 * * * *`
 * @throws Error if none has this form
 */
function minutesBetween(crons: string[]): number {
  const minutes = crons.flatMap((cron) => /^([\d,]+) \* \* \* \*$/.exec(cron)?.[1]?.split(',') ?? []).map(Number);
  const [first] = minutes.sort((a, b) => a - b);
  if (first === undefined) throw new Error(`its schedule is no list of minutes: ${crons.join(' and ') || 'there is none'}`);
  return Math.min(...minutes.map((minute, n) => (minutes[n + 1] ?? first + 60) - minute));
}
