/**
 * Writes logins to the audit log: successful logins, new login passwords, and failed attempts. To write few rows, a login is
 * recorded once a day for each credential and address, and a login password once an hour. Of the failed attempts of an address,
 * only the first, the tenth, the hundredth and so on are recorded. A token request that does not start a login is not recorded
 * here: each key stores the day of its last use.
 */
import { type Database, newBatch } from '../events/batch.ts';
import { type Actor, FAILED_LOGINS, loginsOf } from '../events/event.ts';
import { recordEvent } from '../events/outbox.ts';
import { perDatabase } from '../telemetry.ts';
import type { Authority } from './authority.ts';

type Where = { address: string | null };

/** What this isolate has recorded for one database. */
interface Memory {
  /** The current day, in days since the epoch, and the logins recorded on it. A login is the text that `noteLogin` builds. */
  day: number;
  seen: Set<string>;
  /** The current hour, in hours since the epoch, and the number of failed attempts of each address in it. */
  hour: number;
  failures: Map<string, number>;
  /** The number of failed attempts that were recorded in this hour. */
  written: number;
}

const memoryIn = perDatabase((): Memory => ({ day: 0, seen: new Set(), hour: 0, failures: new Map(), written: 0 }));
const HOUR_MS = 60 * 60 * 1000;
const SEEN_MAX = 5000;
/** The maximum number of failed attempts that one isolate records in an hour, and that the whole registry records in a day. */
const FAILURES_PER_HOUR = 20;
const FAILURES_PER_DAY = 200;

function memoryOf(env: Pick<Database, 'DB'>, now: number): Memory {
  const memory = memoryIn(env);
  const [hour, day] = [Math.floor(now / HOUR_MS), Math.floor(now / HOUR_MS / 24)];
  if (memory.day !== day || memory.seen.size >= SEEN_MAX) Object.assign(memory, { day, seen: new Set() });
  if (memory.hour !== hour) Object.assign(memory, { hour, failures: new Map(), written: 0 });
  if (memory.failures.size >= SEEN_MAX) memory.failures.clear();
  return memory;
}

function actorOf(
  { subject, credentialOrigin: { key } }: Pick<Authority, 'subject' | 'credentialOrigin'>,
  { address }: Where,
): Actor {
  return { subject, ...(key ? { key } : {}), ...(address === null ? {} : { address }) };
}

/**
 * Records a login, unless the same credential already logged in from this address today.
 * @param now milliseconds since the epoch
 */
export async function noteLogin(env: Database, authority: Authority, where: Where, now: number): Promise<void> {
  const { subject, credentialKind, credentialOrigin } = authority;
  const { seen } = memoryOf(env, now);
  const mark = JSON.stringify([subject, credentialKind, credentialOrigin.key, where.address]);
  if (subject === '' || seen.has(mark)) return;
  await recordLogin(env, 'login.succeeded', actorOf(authority, where), { credential: credentialKind });
  seen.add(mark);
}

/** Records a new login password, at most once an hour. @param until the expiry of the password, in seconds since the epoch */
export async function noteIssued(env: Database, authority: Authority, where: Where, until: number): Promise<void> {
  const target = { until: new Date(until * 1000).toISOString() };
  await recordLogin(env, 'login.issued', actorOf(authority, where), target);
}

/**
 * Counts a failed attempt of an address. Records it if it is the first, tenth, hundredth and so on in this isolate in this
 * hour.
 * @param name the user name that was sent. It is recorded only if it has the form of a name, because people type passwords
 * there by mistake
 */
export async function noteFailure(env: Database, name: string | null, where: Where, now: number): Promise<void> {
  const memory = memoryOf(env, now);
  const address = where.address ?? '';
  const attempts = (memory.failures.get(address) ?? 0) + 1;
  memory.failures.set(address, attempts);
  if (!/^10*$/.test(String(attempts)) || memory.written >= FAILURES_PER_HOUR) return;
  memory.written++;
  const target = { attempts, ...(name !== null && NAME.test(name) ? { account: name.toLowerCase() } : {}) };
  try {
    await recordLogin(env, 'login.failed', { subject: '', ...(address === '' ? {} : { address }) }, target);
  } catch (error) {
    // The attempt was not recorded, so it is not counted and the next one is recorded instead.
    memory.written--;
    memory.failures.set(address, (memory.failures.get(address) ?? 1) - 1);
    throw error;
  }
}

/** The form of the name of a user, a robot (`acme+ci`) or an access key. */
const NAME = /^[a-z0-9][a-z0-9._+-]{0,128}$/i;

const HOUR = 60 * 60;

async function recordLogin(
  env: Database,
  type: 'login.succeeded' | 'login.issued' | 'login.failed',
  by: Actor,
  target: object,
): Promise<void> {
  const failed = type === 'login.failed';
  const batch = newBatch(env);
  recordEvent(batch, {
    about: failed ? FAILED_LOGINS : loginsOf(by.subject),
    by,
    select: `SELECT '${type}' AS type, :target AS target`,
    parameters: { target: JSON.stringify(target) },
    ...(failed ? { atMostADay: FAILURES_PER_DAY } : { onceIn: type === 'login.issued' ? HOUR : 24 * HOUR }),
  });
  await batch.commit();
}

/**
 * Reads the names of access keys, and which of the namespaces are organizations, for the display of the audit log. Takes one D1
 * call.
 */
export async function namesForLog(
  env: Database,
  { keys, namespaces }: { keys: string[]; namespaces: string[] },
): Promise<{ keys: Map<string, string>; organizations: Set<string> }> {
  if (keys.length === 0 && namespaces.length === 0) return { keys: new Map(), organizations: new Set() };
  const batch = newBatch(env);
  const named = batch.query<{ id: string; name: string }>(
    'SELECT id, name FROM access_keys WHERE id IN (SELECT value FROM json_each(:keys))',
    { keys: [...new Set(keys)] },
  );
  const found = batch.query<{ organization: string }>(
    `SELECT value AS organization FROM json_each(:namespaces) JOIN accounts ON subject = 'organization:' || value`,
    { namespaces: [...new Set(namespaces)] },
  );
  const results = await batch.commit();
  return {
    keys: new Map(results.of(named).map(({ id, name }) => [id, name])),
    organizations: new Set(results.of(found).map(({ organization }) => organization)),
  };
}
