/**
 * The bindings and settings of Berth: their names, types and defaults. One table of settings is the source of what reads them,
 * of what `npm start` passes on, and of the documentation.
 */
import type { D1Database, Queue, R2Bucket, RateLimit } from '@cloudflare/workers-types';
import { budget, choice, DAY, days, flag, integer, oneOf, origin, type Setting, seconds, secret, text } from './setting.ts';

export interface Env extends Vars, Partial<Record<keyof typeof SECRETS, string>> {
  /** D1 holds everything except bytes; see `schema.sql`. */
  DB: D1Database;
  /** R2 holds blobs, large manifests and pieces of unfinished uploads; see `src/storage/keys.ts`. */
  BLOBS: R2Bucket;
  /** Announces committed events (`src/events/`). The consumer matches them with subscriptions. */
  EVENTS: Queue;
  /** Deliveries to send, now or after a delay (`src/webhooks/`). */
  DELIVERIES: Queue;
  /** Deliveries whose last attempt failed. The consumer marks them as failed. */
  DEAD_LETTERS: Queue;
  /** Wrong passwords from one network. Each Cloudflare location counts by itself; without the binding there is no limit. */
  WRONG_PASSWORDS?: RateLimit;
  /** `socket`: Cloudflare is not in front, so its headers are ignored. Only `npm start` sets it. */
  ADDRESS_FROM?: string;
  /** Token requests of one account from one address. */
  TOKEN_REQUESTS?: RateLimit;
  /** Uploads that one account begins. */
  UPLOAD_STARTS?: RateLimit;
  /** Test deliveries of one webhook, and replays requested by one account. */
  TEST_DELIVERIES?: RateLimit;
  /** Writing requests of one account. */
  WRITES?: RateLimit;
  /** Lists, searches and reports requested by one account. */
  EXPENSIVE_READS?: RateLimit;
  /** Test deliveries of one account. */
  CALLS?: RateLimit;
  /** Logins that one account begins. */
  LOGINS?: RateLimit;
}

/** The values of the settings as they were given. An empty string counts as not given. */
export type Vars = Partial<Record<keyof typeof SETTINGS, string>>;

const MIB = 1024 * 1024;
/** R2 requires parts of at least 5 MiB and of equal size. A buffer of 8 MiB fits easily into an isolate's 128 MB. */
const PART_BYTES = 8 * MIB;
/** R2's limit for a single put: 5 GiB minus 5 MiB (platform limits, "Maximum upload size", footnote). */
const MAX_PUT_BYTES = 5 * 1024 * MIB - 5 * MIB;

/** Settings of the Worker: environment variables under `npm start`, variables of `wrangler.toml` in a deployment. */
export const SETTINGS = {
  PUBLIC_URL: origin(
    'the origin that clients use, if a proxy in front of the registry changes it: `https://registry.example.com`',
  ),
  VERIFY: choice('storage', ['storage', 'stream'], 'how a chunked upload is verified, see below'),
  CREATE_ON_PUSH: flag('on', '`off`: only the API creates repositories, not a first push'),
  KEY_DEFAULT_DAYS: days(90, 1, 'default lifetime of an access key; `KEY_MAX_DAYS` if that is shorter'),
  KEY_MAX_DAYS: days(366, 1, 'longest lifetime of an access key'),
  EVENT_DAYS: days(90, 1, 'how long events are kept'),
  ACCOUNT_ROWS_WRITTEN: integer(
    40_000,
    0,
    1_000_000_000,
    'everywhere',
    'about how many rows of D1 the requests of one account may write in a day; 0: no limit. The free plan has 100,000 ' +
      'a day for all accounts. It does not apply under `npm start` or to administrators',
  ),
  ACCOUNT_ROWS_READ: integer(
    2_000_000,
    0,
    1_000_000_000_000,
    'everywhere',
    'about how many rows the lists and reports of one account may read in a day, as above. The free plan has 5 million',
  ),
  OWNER_DELIVERIES: integer(
    2000,
    0,
    1_000_000_000,
    'everywhere',
    'how many deliveries a day the webhooks of one organization or user and its repositories may send; 0: no limit. ' +
      'The queues of the free plan carry 3,300 a day for all',
  ),
  AUDIT_ADDRESSES: choice(
    'plain',
    ['plain', 'hashed', 'off'],
    'how the audit log keeps addresses: in plain text, as a keyed hash that is equal for equal addresses, or not at all',
  ),
  AUDIT_ADDRESS_DAYS: days(7, 1, 'how long the audit log keeps addresses'),
  DELIVERY_DAYS: days(14, 1, 'how long finished deliveries are kept'),
  TRASH_DAYS: days(7, 0, 'how long deleted content can be restored; 0: not at all'),
  HISTORY_DAYS: days(365, 1, "how far back a tag's history goes"),
  DELETION: flag('on', '`off`: nobody and no policy can delete anything'),
  GRACE_SECONDS: seconds(
    DAY,
    0,
    'everywhere',
    'how long an unreferenced blob is kept after its upload, and its bytes after its row. The database can be restored ' +
      'from a backup of that age without missing bytes',
  ),
  SCRUB: {
    ...choice(
      'checksums',
      ['checksums', 'hash'],
      '`hash`: the scrub reads and hashes stored content, which needs the CPU time of a paid plan',
    ),
    fallback: '`checksums`; `hash` with `VERIFY=stream`',
    read: (value, { VERIFY }) => oneOf(value, ['checksums', 'hash']) ?? (VERIFY === 'stream' ? 'hash' : 'checksums'),
  } satisfies Setting<'checksums' | 'hash'>,
  BACKGROUND_ROWS_WRITTEN: budget(20_000, 'rows that all background jobs together may write in a day (UTC)'),
  BACKGROUND_ROWS_READ: budget(1_000_000, 'rows that they may read'),
  BACKGROUND_QUEUE_OPERATIONS: budget(2000, 'queue operations that they may cause; a message takes three'),
  INSECURE_ISSUERS: flag('off', '`on`: issuers of CI tokens may use plain http on this machine; for development'),
  INSECURE_WEBHOOKS: flag(
    'off',
    '`on`: webhooks may go to plain http and private addresses; for development. Under `npm start` this setting or ' +
      '`INSECURE_ISSUERS` lets the program reach private addresses',
  ),
  ADOPT_REGISTRY: {
    where: 'everywhere',
    values: 'an id',
    fallback: 'none',
    about:
      'the id of a registry whose database and bucket this one takes over. The refusal shows the id after ' +
      '`REGISTRY_SECRET` was replaced without `REGISTRY_SECRET_PREVIOUS`',
    read: (value) => {
      if (value !== undefined && !/^[0-9a-f-]{36}$/.test(value)) throw new Error('the id of a registry, 36 characters');
      return value ?? null;
    },
  } satisfies Setting<string | null>,
  LOG: {
    ...choice(
      'json',
      ['json', 'text', 'off'],
      '`json`: logs a line of JSON for each request and each background event; `text`: logs only problems, as text; ' +
        '`off`: logs nothing',
    ),
    fallback: '`json`; `text` under `npm start`',
  } satisfies Setting<'json' | 'text' | 'off'>,
  LEASE_SECONDS: seconds(DAY, 1, 'tests', 'how long content is kept for a client that was told it exists (invariant 8)'),
  PART_BYTES: integer(PART_BYTES, 1, 1024 * MIB, 'tests', 'bytes of a part of a multipart upload'),
  MAX_PUT_BYTES: integer(MAX_PUT_BYTES, 1, MAX_PUT_BYTES, 'tests', 'bytes of the largest object of one R2 put'),
};

/** Settings that only `npm start` has. */
export const START_SETTINGS = {
  PORT: integer(8787, 1, 65535, 'npm start', 'the port it listens on'),
  HOST: text('127.0.0.1', 'the address it listens on; docker requires TLS for any host but its own'),
  DATA_DIR: text('data', 'the folder of all state: blobs, database, secret'),
};

/** Secrets. In a deployment `wrangler secret put` sets them, never `wrangler.toml`. */
export const SECRETS = {
  REGISTRY_SECRET: secret(32, 'made at the first start', 'the one secret, from which every key is derived'),
  REGISTRY_SECRET_PREVIOUS: secret(32, 'none', 'still verifies while `REGISTRY_SECRET` is being replaced'),
  ADMIN_PASSWORD: secret(16, 'derived from the secret', "the administrator's password; `npm run password` prints it"),
};

type CamelCase<S extends string> = S extends `${infer Head}_${infer Rest}`
  ? `${Lowercase<Head>}${Capitalize<CamelCase<Rest>>}`
  : Lowercase<S>;

/** The parsed settings, under their names in camel case: `TRASH_DAYS` is `trashDays`. */
type Settings = {
  [Name in keyof typeof SETTINGS as CamelCase<Name>]: ReturnType<(typeof SETTINGS)[Name]['read']>;
};

const read = new WeakMap<object, Settings>();

/** @throws Error with the name of the wrong setting and the values it accepts */
export function settings(env: Vars): Settings {
  const known = read.get(env);
  if (known) return known;
  const result = readAll(SETTINGS, env) as Settings;
  if (env.KEY_DEFAULT_DAYS && result.keyDefaultDays > result.keyMaxDays) {
    throw new Error(
      `KEY_DEFAULT_DAYS is "${env.KEY_DEFAULT_DAYS}": it must be at most KEY_MAX_DAYS, which is ${result.keyMaxDays}`,
    );
  }
  result.keyDefaultDays = Math.min(result.keyDefaultDays, result.keyMaxDays);
  read.set(env, result);
  return result;
}

/** The same deployment with some bindings wrapped. Its settings are not read again. */
export function withBindings<E extends Vars>(env: E, wrapped: Partial<E>): E {
  const copy = { ...env, ...wrapped };
  read.set(copy, settings(env));
  return copy;
}

/** The values of `npm start`'s own settings. @throws Error as `settings` does */
export function startSettings(env: Record<string, string | undefined>): { port: number; host: string; dataDir: string } {
  return readAll(START_SETTINGS, env) as { port: number; host: string; dataDir: string };
}

/** @throws Error with the name of the secret that is too short, but not its value */
export function checkSecrets(env: Partial<Record<keyof typeof SECRETS, string>>): void {
  if (checkedSecrets.has(env)) return;
  readAll(SECRETS, env);
  checkedSecrets.add(env);
}

/** Bindings that passed. They are one object for the life of an isolate, so its requests check them once. */
const checkedSecrets = new WeakSet<object>();

function readAll(table: Record<string, Setting>, env: Record<string, string | undefined>): Record<string, unknown> {
  const entries = Object.entries(table).map(([name, setting]) => {
    const value = env[name] || undefined;
    try {
      return [name.toLowerCase().replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase()), setting.read(value, env)];
    } catch (error) {
      const shown = table === SECRETS ? 'too short' : `"${value}"`;
      throw new Error(`${name} is ${shown}: it must be ${(error as Error).message}`);
    }
  });
  return Object.fromEntries(entries);
}
