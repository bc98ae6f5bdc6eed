/**
 * The bindings and settings of the registry: their names, types and defaults. The tables below are the only list of settings.
 * The parser, `npm start` and the documentation are built from them.
 */
import type { D1Database, Fetcher, Queue, R2Bucket, RateLimit } from '@cloudflare/workers-types';
import {
  budget,
  choice,
  DAY,
  days,
  flag,
  integer,
  issuer,
  oneOf,
  optional,
  origin,
  type Setting,
  seconds,
  secret,
  text,
} from './setting.ts';

export interface Env extends Vars, Partial<Record<keyof typeof SECRETS, string>> {
  /** D1 holds all data except the bytes of content; see `schema.sql`. */
  DB: D1Database;
  /** R2 holds the bytes of blobs, of large manifests and of the pieces of unfinished uploads; see `src/storage/keys.ts`. */
  BLOBS: R2Bucket;
  /** The queue that announces committed events (`src/events/`). Its consumer matches the events with subscriptions. */
  EVENTS: Queue;
  /** The queue of webhook deliveries to send, now or after a delay (`src/webhooks/`). */
  DELIVERIES: Queue;
  /** The queue of deliveries whose last attempt failed. Its consumer marks them as failed. */
  DEAD_LETTERS: Queue;
  /**
   * Limits the number of wrong passwords from one network. Each Cloudflare location counts separately. If this binding or one
   * of the other rate limits below is missing, that limit does not apply.
   */
  WRONG_PASSWORDS?: RateLimit;
  /**
   * `socket` means that requests reach the registry without Cloudflare. The client's address is then taken from the connection
   * and not from Cloudflare's headers. Only `npm start` sets this.
   */
  ADDRESS_FROM?: string;
  /** Limits the token requests of one account from one address. */
  TOKEN_REQUESTS?: RateLimit;
  /** Limits the uploads that one account starts. */
  UPLOAD_STARTS?: RateLimit;
  /** Limits the test deliveries of one webhook, and the replays that one account requests. */
  TEST_DELIVERIES?: RateLimit;
  /** Limits the requests of one account that write. */
  WRITES?: RateLimit;
  /** Limits the lists, searches and reports that one account requests. */
  EXPENSIVE_READS?: RateLimit;
  /** Limits the test deliveries that one account requests, for all its webhooks together. */
  CALLS?: RateLimit;
  /** Limits the new logins of one account. */
  LOGINS?: RateLimit;
  /** The static files of the web console (`src/http/ui/public/`). */
  ASSETS?: Fetcher;
}

/** The settings as unparsed text. An empty string means that a setting is not set. */
export type Vars = Partial<Record<keyof typeof SETTINGS, string>>;

const MIB = 1024 * 1024;
/**
 * The size of a part of a multipart upload. R2 requires at least 5 MiB, and parts of equal size. A buffer of 8 MiB fits into an
 * isolate's 128 MB.
 */
const PART_BYTES = 8 * MIB;
/** R2's limit for a single put is 5 GiB minus 5 MiB (platform limits, "Maximum upload size", footnote). */
const MAX_PUT_BYTES = 5 * 1024 * MIB - 5 * MIB;

/**
 * The settings of the Worker. In a deployment they are variables of `wrangler.toml`. With `npm start` they are environment
 * variables.
 */
export const SETTINGS = {
  PUBLIC_URL: origin(
    'the origin that clients use, if a proxy in front of the registry changes it: `https://registry.example.com`',
  ),
  VERIFY: choice('storage', ['storage', 'stream'], 'how a chunked upload is verified, see below'),
  COMMENTS: flag('on', '`off`: nobody can write comments on repositories, and none are shown'),
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
  BLOB_CACHE_SECONDS: integer(
    60,
    0,
    300,
    'everywhere',
    'how long a running instance remembers the manifest of an image that is being pulled, and where its layers are; 0: not ' +
      'at all. A deletion takes effect at once in the instance that deletes, and after this time in others. This is also ' +
      'how old the state of a read replica may be',
  ),
  D1_REPLICAS: flag(
    'off',
    '`on`: manifests and layers are looked up by digest in the nearest read replica of D1. See ' +
      '[Read replicas](performance.md#read-replicas)',
  ),
  PULL_COUNT_SECONDS: integer(
    5,
    0,
    20,
    'everywhere',
    'how long pulls are counted in memory before they are written; 0: not at all. If the program ends, the pulls that it ' +
      'has not written are not counted',
  ),
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
  LAYER_FILES_BYTES: {
    ...integer(
      1024 * 1024,
      0,
      1024 * MIB,
      'everywhere',
      'the largest layer whose files the console lists; unpacking takes CPU time',
    ),
    fallback: '`1048576`, which fits the free plan; `268435456` under `npm start`',
  },
  OIDC_ISSUER: issuer('the OpenID Connect provider that people may sign in to the console with: `https://login.example.com`'),
  OIDC_CLIENT_ID: optional(
    'the client id of the registry at that provider; the callback is `<registry>/sign-in/provider/callback`',
  ),
  OIDC_NAME: { ...optional('the name of the provider on the button'), fallback: '`single sign-on`' },
  ACCESS_ISSUER: issuer('the team domain, if Cloudflare Access protects the console: `https://acme.cloudflareaccess.com`'),
  ACCESS_AUDIENCE: optional(
    'the tag (AUD) of the application of Access that protects `/sign-in/access` and `/account/identities`',
  ),
  INSECURE_ISSUERS: flag(
    'off',
    '`on`: issuers of CI tokens and the sign-in provider may use plain http on this machine; for development',
  ),
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

/** The settings that only `npm start` has. */
export const START_SETTINGS = {
  PORT: integer(8787, 1, 65535, 'npm start', 'the port it listens on'),
  HOST: text('127.0.0.1', 'the address it listens on; docker requires TLS for any host but its own'),
  DATA_DIR: text('data', 'the folder of all state: blobs, database, secret'),
};

/** The secrets. In a deployment they are set with `wrangler secret put`, and never in `wrangler.toml`. */
export const SECRETS = {
  REGISTRY_SECRET: secret(32, 'made at the first start', 'the one secret, from which every key is derived'),
  REGISTRY_SECRET_PREVIOUS: secret(32, 'none', 'still verifies while `REGISTRY_SECRET` is being replaced'),
  OIDC_CLIENT_SECRET: secret(1, 'none: a public client', 'the client secret of the registry at `OIDC_ISSUER`'),
  ADMIN_PASSWORD: secret(16, 'derived from the secret', "the administrator's password; `npm run password` prints it"),
};

type CamelCase<S extends string> = S extends `${infer Head}_${infer Rest}`
  ? `${Lowercase<Head>}${Capitalize<CamelCase<Rest>>}`
  : Lowercase<S>;

/** The parsed settings. Their names are in camel case: `TRASH_DAYS` becomes `trashDays`. */
type Settings = {
  [Name in keyof typeof SETTINGS as CamelCase<Name>]: ReturnType<(typeof SETTINGS)[Name]['read']>;
};

const read = new WeakMap<object, Settings>();

/**
 * Returns the parsed settings of `env`, which are parsed once for each object.
 * @throws Error that names the invalid setting and the values that it accepts
 */
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

/** Returns a copy of `env` with some bindings replaced by wrappers. The settings are not parsed again. */
export function withBindings<E extends Vars>(env: E, wrapped: Partial<E>): E {
  const copy = { ...env, ...wrapped };
  read.set(copy, settings(env));
  return copy;
}

/** Returns the values of the settings in `START_SETTINGS`. @throws Error as `settings` does */
export function startSettings(env: Record<string, string | undefined>): { port: number; host: string; dataDir: string } {
  return readAll(START_SETTINGS, env) as { port: number; host: string; dataDir: string };
}

/** Checks the lengths of the secrets. @throws Error that names the secret that is too short, but does not contain its value */
export function checkSecrets(env: Partial<Record<keyof typeof SECRETS, string>>): void {
  if (checkedSecrets.has(env)) return;
  readAll(SECRETS, env);
  checkedSecrets.add(env);
}

/** The environments whose secrets were checked. An isolate has one environment object, so its secrets are checked once. */
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
