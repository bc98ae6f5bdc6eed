/**
 * The bindings and settings of Berth: their names, types and defaults. One table of settings is the source of what reads them, of
 * what `npm start` passes on, and of the documentation. This file imports no other of ours.
 */
import type { D1Database, Queue, R2Bucket, RateLimit } from '@cloudflare/workers-types';

export interface Env extends Vars, Partial<Record<keyof typeof SECRETS, string>> {
  /** D1: everything but bytes; `schema.sql`. */
  DB: D1Database;
  /** R2: blobs, large manifests and the pieces of unfinished uploads; `src/storage/keys.ts`. */
  BLOBS: R2Bucket;
  /** Announcements of events that were committed; `src/events/`. Their consumer matches them with subscriptions. */
  EVENTS: Queue;
  /** Deliveries to be tried, now or after a delay; `src/webhooks/`. */
  DELIVERIES: Queue;
  /** Deliveries that were tried for the last time. The consumer marks them as failed. */
  DEAD_LETTERS: Queue;
  /** Wrong passwords from one network; without the binding nothing is limited. Counted by each Cloudflare location. */
  WRONG_PASSWORDS?: RateLimit;
  /** `socket`: no Cloudflare is in front, so its headers are not to be believed. Only `npm start` sets it. */
  ADDRESS_FROM?: string;
  /** Requests for tokens of one account from one address. */
  TOKEN_REQUESTS?: RateLimit;
  /** Uploads begun by one account. */
  UPLOAD_STARTS?: RateLimit;
  /** Test deliveries of one webhook, and replays that one account asks for. */
  TEST_DELIVERIES?: RateLimit;
  /** Requests of one account that write. */
  WRITES?: RateLimit;
  /** Lists, searches and reports that one account asks for. */
  EXPENSIVE_READS?: RateLimit;
  /** Test deliveries of one account. */
  CALLS?: RateLimit;
  /** Logins begun by one account. */
  LOGINS?: RateLimit;
}

/** The values of the settings as they were given. An empty text counts as not given. */
export type Vars = Partial<Record<keyof typeof SETTINGS, string>>;

/** One setting: how its text is read, and what the README says about it. */
export interface Setting<T = unknown> {
  /** `tests`: only tests change it, so it is in no documentation and `npm start` ignores it. */
  where: 'everywhere' | 'npm start' | 'tests';
  /** The values it takes, in words. */
  values: string;
  /** The default, in words. */
  fallback: string;
  about: string;
  /** @throws Error that says what is wrong with the value. `given`: the other settings, for a default that depends on one. */
  read: (value: string | undefined, given: Record<string, string | undefined>) => T;
}

const MIB = 1024 * 1024;
/** Seconds. */
const DAY = 24 * 60 * 60;
/** R2 wants parts of at least 5 MiB, all of one size; one buffer of 8 MiB fits an isolate's 128 MB many times over. */
const PART_BYTES = 8 * MIB;
/** R2 limit of a single put: 5 GiB less 5 MiB (platform limits, "Maximum upload size", footnote). */
const MAX_PUT_BYTES = 5 * 1024 * MIB - 5 * MIB;
/** Longer than any that makes sense, short enough for arithmetic on dates. */
const MAX_DAYS = 3650;
const MAX_BUDGET = 1_000_000_000;

/** Settings of the Worker. Under `npm start` they are environment variables, in a deployment variables of `wrangler.toml`. */
export const SETTINGS = {
  PUBLIC_URL: origin(
    'the origin that clients use, where a proxy in front of the registry changes it: `https://registry.example.com`',
  ),
  VERIFY: choice('storage', ['storage', 'stream'], 'how a chunked upload is verified, see below'),
  CREATE_ON_PUSH: flag('on', '`off`: repositories are made by the API only, not by a first push'),
  KEY_DEFAULT_DAYS: days(90, 1, 'how long an access key lives, if its maker says nothing; `KEY_MAX_DAYS` where that is less'),
  KEY_MAX_DAYS: days(366, 1, 'how long an access key lives at most'),
  EVENT_DAYS: days(90, 1, 'how long events are kept'),
  ACCOUNT_ROWS_WRITTEN: integer(
    40_000,
    0,
    1_000_000_000,
    'everywhere',
    "about how many rows of D1 one account's requests may write in a day, 0: no limit. The free plan has 100,000 a day for all. Not under `npm start`, and not for administrators",
  ),
  ACCOUNT_ROWS_READ: integer(
    2_000_000,
    0,
    1_000_000_000_000,
    'everywhere',
    "about how many rows one account's lists and reports may read in a day, as above. The free plan has 5 million",
  ),
  OWNER_DELIVERIES: integer(
    2000,
    0,
    1_000_000_000,
    'everywhere',
    "how many deliveries a day the webhooks of one organization or user and its repositories make, 0: no limit. The free plan's queues carry 3,300 a day for all",
  ),
  AUDIT_ADDRESSES: choice(
    'plain',
    ['plain', 'hashed', 'off'],
    'how the log of events keeps addresses: as they are, as a keyed hash that is the same for the same address, or not',
  ),
  AUDIT_ADDRESS_DAYS: days(7, 1, 'how long the log of events keeps addresses'),
  DELIVERY_DAYS: days(14, 1, 'how long deliveries that came to an end are kept'),
  TRASH_DAYS: days(7, 0, 'how long what was deleted can be restored; 0: not at all'),
  HISTORY_DAYS: days(365, 1, "how far back a tag's history goes"),
  DELETION: flag('on', '`off`: nothing is deleted, by nobody and no rule'),
  GRACE_SECONDS: seconds(
    DAY,
    0,
    'everywhere',
    'how long a blob that nothing needs is kept after it came, and its bytes after its row: so far back can the database be restored without missing any',
  ),
  SCRUB: {
    ...choice(
      'checksums',
      ['checksums', 'hash'],
      "`hash`: the scrub reads and hashes what is stored, which needs a paid plan's CPU",
    ),
    fallback: '`checksums`; `hash` with `VERIFY=stream`',
    read: (value, { VERIFY }) => oneOf(value, ['checksums', 'hash']) ?? (VERIFY === 'stream' ? 'hash' : 'checksums'),
  } satisfies Setting<'checksums' | 'hash'>,
  BACKGROUND_ROWS_WRITTEN: budget(20_000, 'rows that the jobs of the schedule may write on a day (UTC), all of them together'),
  BACKGROUND_ROWS_READ: budget(1_000_000, 'rows that they may read'),
  BACKGROUND_QUEUE_OPERATIONS: budget(2000, 'operations of queues that they may cause; a message is three'),
  INSECURE_ISSUERS: flag('off', '`on`: issuers of CI tokens may be plain http on this machine; for development'),
  INSECURE_WEBHOOKS: flag(
    'off',
    '`on`: webhooks may go to plain http and private addresses; for development. Under `npm start` either of the two lets the program reach private addresses, by whatever name',
  ),
  ADOPT_REGISTRY: {
    where: 'everywhere',
    values: 'an id',
    fallback: 'none',
    about:
      'the id of a registry whose database and bucket this one takes over, as the refusal names it: after `REGISTRY_SECRET` was replaced without `REGISTRY_SECRET_PREVIOUS`',
    read: (value) => {
      if (value !== undefined && !/^[0-9a-f-]{36}$/.test(value)) throw new Error('the id of a registry, 36 characters');
      return value ?? null;
    },
  } satisfies Setting<string | null>,
  LOG: {
    ...choice(
      'json',
      ['json', 'text', 'off'],
      'what is logged: `json`: a line of JSON for each request and each event of the background; `text`: problems alone, in words; `off`: nothing',
    ),
    fallback: '`json`; `text` under `npm start`',
  } satisfies Setting<'json' | 'text' | 'off'>,
  LEASE_SECONDS: seconds(DAY, 1, 'tests', 'how long content is kept for somebody who was told that it is here (invariant 8)'),
  PART_BYTES: integer(PART_BYTES, 1, 1024 * MIB, 'tests', 'bytes of a part of a long upload'),
  MAX_PUT_BYTES: integer(MAX_PUT_BYTES, 1, MAX_PUT_BYTES, 'tests', 'bytes of the largest object of one R2 put'),
};

/** Settings of `npm start` alone. */
export const START_SETTINGS = {
  PORT: integer(8787, 1, 65535, 'npm start', 'where it listens'),
  HOST: text('127.0.0.1', 'on which address it listens; docker wants TLS from every other host than its own'),
  DATA_DIR: text('data', 'where all state goes: blobs, database, secret'),
};

/** Secrets: of a deployment they are set by `wrangler secret put`, never in `wrangler.toml`. */
export const SECRETS = {
  REGISTRY_SECRET: secret(32, 'made at the first start', 'the one secret; every key is derived from it'),
  REGISTRY_SECRET_PREVIOUS: secret(32, 'none', 'accepted for verification while `REGISTRY_SECRET` is being replaced'),
  ADMIN_PASSWORD: secret(16, 'derived from the secret', "the administrator's password; `npm run password` prints it"),
};

type CamelCase<S extends string> = S extends `${infer Head}_${infer Rest}`
  ? `${Lowercase<Head>}${Capitalize<CamelCase<Rest>>}`
  : Lowercase<S>;

/** The settings as values, under their names in camel case: `TRASH_DAYS` is `trashDays`. */
export type Settings = {
  [Name in keyof typeof SETTINGS as CamelCase<Name>]: ReturnType<(typeof SETTINGS)[Name]['read']>;
};

const read = new WeakMap<object, Settings>();

/** @throws Error naming the setting that is wrong, and the values it takes */
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

/** @throws Error naming the secret that is too short. The value is not in the message. */
export function checkSecrets(env: Partial<Record<keyof typeof SECRETS, string>>): void {
  if (checkedSecrets.has(env)) return;
  readAll(SECRETS, env);
  checkedSecrets.add(env);
}

/** Bindings are one object for the life of an isolate: its requests check them once. */
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

function choice<T extends string>(fallback: T, allowed: readonly T[], about: string): Setting<T> {
  const read = (value: string | undefined) => oneOf(value, allowed) ?? fallback;
  return { where: 'everywhere', values: allowed.map(quoted).join(', '), fallback: quoted(fallback), about, read };
}

function flag(fallback: 'on' | 'off', about: string): Setting<boolean> {
  const { read, ...rest } = choice(fallback, ['on', 'off'], about);
  return { ...rest, read: (value, given) => read(value, given) === 'on' };
}

function days(fallback: number, least: number, about: string): Setting<number> {
  return { ...integer(fallback, least, MAX_DAYS, 'everywhere', about), values: `days, ${least} to ${MAX_DAYS}` };
}

function seconds(fallback: number, least: number, where: Setting['where'], about: string): Setting<number> {
  const most = MAX_DAYS * DAY;
  return { ...integer(fallback, least, most, where, about), values: `seconds, ${least} to ${most}` };
}

function integer(fallback: number, least: number, most: number, where: Setting['where'], about: string): Setting<number> {
  const read = (value: string | undefined) => {
    if (value === undefined) return fallback;
    const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= least && number <= most)) throw new Error(`a whole number from ${least} to ${most}`);
    return number;
  };
  return { where, values: `${least} to ${most}`, fallback: quoted(String(fallback)), about, read };
}

/** Of a day of the background jobs (`src/background/budget.ts`): a fifth of what the free plan allows. 0: no limit. */
function budget(fallback: number, about: string): Setting<number> {
  const setting = integer(fallback, 0, MAX_BUDGET, 'everywhere', about);
  return {
    ...setting,
    values: `${setting.values}; 0: no limit`,
    fallback: `${setting.fallback}; no limit under \`npm start\``,
  };
}

function origin(about: string): Setting<string | null> {
  const read = (value: string | undefined) => {
    if (value === undefined) return null;
    const url = URL.canParse(value) ? new URL(value) : null;
    const plain = url && /^https?:$/.test(url.protocol) && [url.origin, `${url.origin}/`].includes(url.href);
    if (!plain) throw new Error('an origin, as https://registry.example.com, without a path');
    return url.origin;
  };
  return { where: 'everywhere', values: 'an origin', fallback: 'the address of the request', about, read };
}

function text(fallback: string, about: string): Setting<string> {
  return { where: 'npm start', values: 'text', fallback: quoted(fallback), about, read: (value) => value ?? fallback };
}

function secret(minLength: number, fallback: string, about: string): Setting<string | null> {
  const read = (value: string | undefined) => {
    if (value !== undefined && [...value].length < minLength) throw new Error(`${minLength} characters or more`);
    return value ?? null;
  };
  return { where: 'everywhere', values: `${minLength} characters or more`, fallback, about, read };
}

/** The value, if it is one of these; nothing, if there is none. @throws Error with the values there are */
function oneOf<T extends string>(value: string | undefined, allowed: readonly T[]): T | undefined {
  const found = allowed.find((candidate) => candidate === value);
  if (value !== undefined && !found) throw new Error(`one of ${allowed.join(', ')}`);
  return found;
}

function quoted(value: string): string {
  return `\`${value}\``;
}
