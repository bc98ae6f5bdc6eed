/**
 * Logins with refresh tokens. docker keeps the token of `docker login`, uses it again and again, and accepts no other. So a
 * token is rotated only when a client asks for another one (`access_type=offline`). The old token is then used up: if it is
 * used once more, one of the two holders has stolen it, and the login ends for both.
 *
 * The audit log has successful logins, new login passwords, and failed attempts. To keep rows few, a login is recorded once a
 * day for each credential and address, a login password once an hour, and failed attempts in steps of ten. A request for a
 * token alone records nothing, because each key stores the day of its last use.
 */
import { type Database, newBatch } from '../events/batch.ts';
import { type Actor, FAILED_LOGINS, loginsOf } from '../events/event.ts';
import { recordEvent } from '../events/outbox.ts';
import { prepare } from '../events/sql.ts';
import type { Secrets } from '../secrets.ts';
import { bindingOf } from '../telemetry.ts';
import { expireAllowances } from './allowance.ts';
import type { Authority } from './authority.ts';
import type { TokenContext } from './runtime.ts';
import { mintRefreshToken, REFRESH_TOKEN_LIFETIME } from './tokens.ts';

/** Makes a refresh token for the caller: the first one of a new login, or the next one of the login that it continues. */
export async function beginLogin(env: Database & Secrets, authority: Authority, context: TokenContext): Promise<string> {
  const { login } = authority;
  const next = login ? { id: login.id, generation: login.generation + 1 } : { id: crypto.randomUUID(), generation: 0 };
  if (!login) await insertLogin(env, next.id, authority.subject);
  return (await mintRefreshToken(env, authority, next, context)).token;
}

/**
 * Open logins of one account. Beyond that the oldest end. A machine that logs in once a day has 30; with 100 jobs of a pipeline
 * a day, a login of their robot lasts ten days.
 */
const LIVING_MAX = 1000;
/** One in so many new logins ends the oldest ones, which reads a row for each open login. */
const LOOKED_FOR_EVERY = 16;
const begun = new WeakMap<D1Database, number>();

async function insertLogin(env: Database, id: string, subject: string): Promise<void> {
  const database = bindingOf(env.DB);
  const count = begun.get(database) ?? 0;
  begun.set(database, count + 1);
  const batch = newBatch(env);
  batch.run('INSERT INTO logins (id, subject, expires_at) VALUES (:id, :subject, unixepoch() + :lifetime)', {
    ...{ id, subject, lifetime: REFRESH_TOKEN_LIFETIME },
  });
  if (count % LOOKED_FOR_EVERY === 0) {
    batch.run(
      `DELETE FROM logins WHERE id IN (SELECT id FROM logins INDEXED BY logins_by_subject
         WHERE subject = :subject ORDER BY expires_at DESC LIMIT -1 OFFSET ${LIVING_MAX})`,
      { subject },
    );
  }
  await batch.commit();
}

/**
 * Checks a refresh token before it yields an access token.
 * @param rotate the client asks for another refresh token, which uses this one up
 * @returns `false` if it was used up before: the login has then ended
 */
export async function continueLogin(env: Database, { login }: Authority, rotate: boolean): Promise<boolean> {
  if (!login) return true;
  if (login.current && !rotate) return true;
  const rotated = login.current && (await rotateLogin(env, login));
  if (!rotated) await prepare(env, 'UPDATE logins SET ended = 1 WHERE id = :id', { id: login.id }).run();
  return rotated;
}

/** Compare-and-swap: if two requests use the same token at once, one of them is not its owner. */
async function rotateLogin(env: Database, { id, generation }: { id: string; generation: number }): Promise<boolean> {
  const rotated = await prepare(
    env,
    `UPDATE logins SET generation = generation + 1, expires_at = unixepoch() + :lifetime
     WHERE id = :id AND generation = :generation AND ended = 0 RETURNING id`,
    { id, generation, lifetime: REFRESH_TOKEN_LIFETIME },
  ).first();
  return rotated !== null;
}

/** Deletes logins that have ended, and old counts. @returns the number of logins deleted */
export async function expireLogins(env: Database, limit: number): Promise<number> {
  const batch = newBatch(env);
  const expired = batch.run(
    'DELETE FROM logins WHERE id IN (SELECT id FROM logins WHERE expires_at <= unixepoch() LIMIT :limit)',
    { limit },
  );
  expireAllowances(batch, limit);
  return (await batch.commit()).changes(expired);
}

type Where = { address: string | null };

/** The records of this isolate, by database: today's logins, and the failures of each address in this hour. */
interface Memory {
  day: number;
  seen: Set<string>;
  hour: number;
  failures: Map<string, number>;
  /** Failures recorded in this hour. */
  written: number;
}

const memories = new WeakMap<D1Database, Memory>();
const HOUR_MS = 60 * 60 * 1000;
const SEEN_MAX = 5000;
/** Recorded failures of an isolate in an hour, and of the registry in a day. */
const FAILURES_PER_HOUR = 20;
const FAILURES_PER_DAY = 200;

function memoryOf({ DB }: Pick<Database, 'DB'>, now: number): Memory {
  const database = bindingOf(DB);
  const memory = memories.get(database) ?? { day: 0, seen: new Set(), hour: 0, failures: new Map(), written: 0 };
  const [hour, day] = [Math.floor(now / HOUR_MS), Math.floor(now / HOUR_MS / 24)];
  if (memory.day !== day || memory.seen.size >= SEEN_MAX) Object.assign(memory, { day, seen: new Set() });
  if (memory.hour !== hour) Object.assign(memory, { hour, failures: new Map(), written: 0 });
  if (memory.failures.size >= SEEN_MAX) memory.failures.clear();
  memories.set(database, memory);
  return memory;
}

function actorOf(
  { subject, credentialOrigin: { key } }: Pick<Authority, 'subject' | 'credentialOrigin'>,
  { address }: Where,
): Actor {
  return { subject, ...(key ? { key } : {}), ...(address === null ? {} : { address }) };
}

/** Records the first login of a credential from an address today. @param now milliseconds */
export async function noteLogin(env: Database, authority: Authority, where: Where, now: number): Promise<void> {
  const { subject, credentialKind, credentialOrigin } = authority;
  const { seen } = memoryOf(env, now);
  const mark = JSON.stringify([subject, credentialKind, credentialOrigin.key, where.address]);
  if (subject === '' || seen.has(mark)) return;
  seen.add(mark);
  await recordLogin(env, 'login.succeeded', actorOf(authority, where), { credential: credentialKind });
}

/** Records a new login password, once an hour. @param until its end, in seconds since the epoch */
export async function noteIssued(env: Database, authority: Authority, where: Where, until: number): Promise<void> {
  const target = { until: new Date(until * 1000).toISOString() };
  await recordLogin(env, 'login.issued', actorOf(authority, where), target);
}

/**
 * Records a failed attempt: the first one of an address in an hour, then the tenth, the hundredth and so on.
 * @param name the user name that was sent. Recorded only if it can be an account's, because people type passwords there by
 *   mistake
 */
export async function noteFailure(env: Database, name: string | null, where: Where, now: number): Promise<void> {
  const memory = memoryOf(env, now);
  const address = where.address ?? '';
  const attempts = (memory.failures.get(address) ?? 0) + 1;
  memory.failures.set(address, attempts);
  if (!/^10*$/.test(String(attempts)) || memory.written >= FAILURES_PER_HOUR) return;
  memory.written++;
  const target = { attempts, ...(name !== null && NAME.test(name) ? { account: name.toLowerCase() } : {}) };
  await recordLogin(env, 'login.failed', { subject: '', ...(address === '' ? {} : { address }) }, target);
}

/** The name of a user, a robot (`acme+ci`) or a key. */
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

/** Names that the audit log shows: those of keys, and which namespaces are organizations. One call of the database. */
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
