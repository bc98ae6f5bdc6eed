/** The bindings and settings of the Worker: their names, types and defaults, in one place. Imports nothing of ours. */
import type { D1Database, Queue, R2Bucket, RateLimit } from '@cloudflare/workers-types';

export interface Env {
  /** D1: everything but bytes; `schema.sql`. */
  DB: D1Database;
  /** R2: blobs, large manifests and the pieces of unfinished uploads; `src/storage/keys.ts`. */
  BLOBS: R2Bucket;
  /** Announcements of events that were committed; `src/events/`. Their consumer matches them with subscriptions. */
  EVENTS: Queue;
  /** Deliveries to be tried, now or after a delay; `src/webhooks/`. */
  DELIVERIES: Queue;
  /** What was tried for the last time; its consumer writes down that it failed. */
  DEAD_LETTERS: Queue;
  /** The one secret, 32 characters or more; every key is derived from it (`src/auth/secrets.ts`). */
  REGISTRY_SECRET?: string;
  /** Accepted for verification while REGISTRY_SECRET is being replaced. */
  REGISTRY_SECRET_PREVIOUS?: string;
  /** The administrator's password; derived from REGISTRY_SECRET where it is not set. */
  ADMIN_PASSWORD?: string;
  /** Wrong passwords from one address; without the binding nothing is limited. Counted by each Cloudflare location. */
  WRONG_PASSWORDS?: RateLimit;
  /** Requests for tokens of one account from one address. */
  TOKEN_REQUESTS?: RateLimit;
  /** Uploads begun by one account. */
  UPLOAD_STARTS?: RateLimit;
  /** Test deliveries of one webhook. */
  TEST_DELIVERIES?: RateLimit;
  /** `on` (default): a push makes the repository, if whoever pushes may create it. `off`: it is made by the API only. */
  CREATE_ON_PUSH?: string;
  /** Days an access key lives, where nothing is said and at most. */
  KEY_DEFAULT_DAYS?: string;
  KEY_MAX_DAYS?: string;
  /** `on`: outside issuers may be plain http and on this machine. For development. */
  INSECURE_ISSUERS?: string;
  /** `on`: webhooks may go to plain http and to private addresses. For development. */
  INSECURE_WEBHOOKS?: string;
  /** Days that events, and deliveries that came to an end, are kept. */
  EVENT_DAYS?: string;
  DELIVERY_DAYS?: string;
  /** Days that what was deleted can be restored; 0: not at all. */
  TRASH_DAYS?: string;
  /** Days that a tag's history goes back. */
  HISTORY_DAYS?: string;
  /** `on` (default). `off`: no tag, manifest, blob or repository is deleted, neither by people nor by rules. */
  DELETION?: string;
  /** Seconds that an unneeded blob is kept after it came, and its bytes after its row: D1 can be restored so far back. */
  GRACE_SECONDS?: string;
  /** Seconds for which content is kept for somebody who was told that it is here (invariant 8). Only tests change it. */
  LEASE_SECONDS?: string;
  /** `checksums`: the scrub compares sizes and the checksums that R2 keeps. `hash`: it reads and hashes, needs a paid plan's CPU. */
  SCRUB?: string;
  /** `storage` (default): R2 verifies digests. `stream`: the Worker hashes while it reads, needs a paid plan's CPU. */
  VERIFY?: string;
  /** Origin that clients use, where it differs from the one the Worker sees, as behind a proxy. */
  PUBLIC_URL?: string;
  /** Bytes of a part of a long upload. Only tests change it. */
  PART_BYTES?: string;
  /** Bytes of the largest object of one R2 put: 5 GiB. Only tests change it. */
  MAX_PUT_BYTES?: string;
}

/** The part of Env that settings are made of. */
export type Vars = Pick<
  Env,
  | 'VERIFY'
  | 'PUBLIC_URL'
  | 'PART_BYTES'
  | 'MAX_PUT_BYTES'
  | 'CREATE_ON_PUSH'
  | 'KEY_DEFAULT_DAYS'
  | 'KEY_MAX_DAYS'
  | 'INSECURE_ISSUERS'
  | 'INSECURE_WEBHOOKS'
  | 'EVENT_DAYS'
  | 'DELIVERY_DAYS'
  | 'TRASH_DAYS'
  | 'HISTORY_DAYS'
  | 'DELETION'
  | 'GRACE_SECONDS'
  | 'LEASE_SECONDS'
  | 'SCRUB'
>;

export interface Settings {
  verify: 'storage' | 'stream';
  publicUrl: string | null;
  partBytes: number;
  maxPutBytes: number;
  createOnPush: boolean;
  keyDefaultDays: number;
  keyMaxDays: number;
  insecureIssuers: boolean;
  insecureWebhooks: boolean;
  eventDays: number;
  deliveryDays: number;
  trashDays: number;
  historyDays: number;
  deletion: boolean;
  graceSeconds: number;
  leaseSeconds: number;
  scrub: 'checksums' | 'hash';
}

const MIB = 1024 * 1024;
/** Seconds. */
const DAY = 24 * 60 * 60;

/** R2 wants parts of at least 5 MiB, all of one size; one buffer of 8 MiB fits an isolate's 128 MB many times over. */
const PART_BYTES = 8 * MIB;
/** R2 limit of a single put (platform limits, "Maximum upload size"). */
const MAX_PUT_BYTES = 5 * 1024 * MIB;

const checked = new WeakMap<object, Settings>();

/** @throws Error naming the setting that is wrong */
export function settings(env: Vars): Settings {
  const known = checked.get(env);
  if (known) return known;
  const result: Settings = {
    verify: oneOf('VERIFY', env.VERIFY || 'storage', ['storage', 'stream']),
    publicUrl: env.PUBLIC_URL ? new URL(env.PUBLIC_URL).origin : null,
    partBytes: positive('PART_BYTES', env.PART_BYTES, PART_BYTES),
    maxPutBytes: positive('MAX_PUT_BYTES', env.MAX_PUT_BYTES, MAX_PUT_BYTES),
    createOnPush: oneOf('CREATE_ON_PUSH', env.CREATE_ON_PUSH || 'on', ['on', 'off']) === 'on',
    keyDefaultDays: positive('KEY_DEFAULT_DAYS', env.KEY_DEFAULT_DAYS, 90),
    keyMaxDays: positive('KEY_MAX_DAYS', env.KEY_MAX_DAYS, 366),
    insecureIssuers: oneOf('INSECURE_ISSUERS', env.INSECURE_ISSUERS || 'off', ['on', 'off']) === 'on',
    insecureWebhooks: oneOf('INSECURE_WEBHOOKS', env.INSECURE_WEBHOOKS || 'off', ['on', 'off']) === 'on',
    eventDays: positive('EVENT_DAYS', env.EVENT_DAYS, 90),
    deliveryDays: positive('DELIVERY_DAYS', env.DELIVERY_DAYS, 14),
    trashDays: natural('TRASH_DAYS', env.TRASH_DAYS, 7),
    historyDays: positive('HISTORY_DAYS', env.HISTORY_DAYS, 365),
    deletion: oneOf('DELETION', env.DELETION || 'on', ['on', 'off']) === 'on',
    graceSeconds: natural('GRACE_SECONDS', env.GRACE_SECONDS, DAY),
    leaseSeconds: positive('LEASE_SECONDS', env.LEASE_SECONDS, DAY),
    scrub: oneOf('SCRUB', env.SCRUB || (env.VERIFY === 'stream' ? 'hash' : 'checksums'), ['checksums', 'hash']),
  };
  checked.set(env, result);
  return result;
}

function oneOf<T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value);
  if (!found) throw new Error(`${name} is "${value}": it must be one of ${allowed.join(', ')}`);
  return found;
}

function positive(name: string, value: string | undefined, fallback: number): number {
  const number = natural(name, value, fallback);
  if (number === 0) throw new Error(`${name} is "${value}": it must be a positive number`);
  return number;
}

function natural(name: string, value: string | undefined, fallback: number): number {
  const number = value ? Number(value) : fallback;
  if (!Number.isSafeInteger(number) || number < 0) throw new Error(`${name} is "${value}": it must be a whole number`);
  return number;
}
