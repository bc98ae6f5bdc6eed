/**
 * Access keys: create, read, list and revoke them. Each change is one batch with its event (invariant 6). The secret of a key
 * is derived from the registry's secret each time it is shown; D1 does not store it.
 */
import { settings, type Vars } from '../../env.ts';
import { type Batch, type Database, type Handle, newBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { recordEvent } from '../../events/outbox.ts';
import { type Parameters, prepare } from '../../events/sql.ts';
import { type Page, pageOf } from '../../oci/page.ts';
import type { Secrets } from '../../secrets.ts';
import { type Particulars, Refusal } from '../../vocabulary/refusal.ts';
import { accessKeySecret, keyIdFrom } from '../secrets.ts';
import { checkStatements, type Statement } from '../statement.ts';
import type { SubjectRange } from '../within.ts';

export interface AccessKey {
  id: string;
  /** The subject of the owner, for example `user:alice` or `robot:acme/ci`. */
  owner: string;
  name: string;
  /** The statements that limit the key, or `null` if the key may do everything that its owner may do. */
  statements: Statement[] | null;
  /** In seconds since the epoch, as `expiresAt` and `revokedAt`. */
  createdAt: number;
  createdBy: string;
  expiresAt: number;
  revokedAt: number | null;
  /** The day of the last use, in days since the epoch, or `null` if the key was never used. */
  lastUsedDay: number | null;
  state: 'active' | 'expired' | 'revoked';
  /** The id of the access key with which this one was created, or `null` if it was created with another credential. */
  madeWith: string | null;
  version: number;
}

/** A key and its secret. Only the responses to the creation and the rotation of a key contain the secret. */
export interface MadeKey {
  key: AccessKey;
  secret: string;
}

interface NewKey {
  owner: string;
  name: string;
  statements: Statement[] | null;
  days: number;
  /** The request's Idempotency-Key. If `null`, a repeated request creates another key. */
  idempotency: string | null;
  by: Actor;
}

/** The maximum number of valid keys of one owner. */
const LIVE_KEYS_MAX = 100;

export const DAY = 24 * 60 * 60;

/** SQL condition on a row of `access_keys`: the key is valid (neither revoked nor expired). */
export const LIVE = 'revoked_at IS NULL AND expires_at > unixepoch()';

const COLUMNS = `id, owner, name, statements, created_at AS createdAt, created_by AS createdBy, expires_at AS expiresAt,
  revoked_at AS revokedAt, last_used_day AS lastUsedDay, version, made_with AS madeWith,
  CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= unixepoch() THEN 'expired' ELSE 'active' END AS state`;

const SELECT_KEY = `SELECT ${COLUMNS} FROM access_keys WHERE id = :id`;

/** SQL condition: key :id exists. */
export const KEY_EXISTS = 'EXISTS (SELECT 1 FROM access_keys WHERE id = :id)';

type KeyRow = Omit<AccessKey, 'statements'> & { statements: string | null };

/** Converts the row that `queryKey` reads. @throws Error if there is no row */
export function keyOf(row: KeyRow | null): AccessKey {
  if (!row) throw new Error('the batch that wrote a key did not read it back');
  return { ...row, statements: row.statements === null ? null : (JSON.parse(row.statements) as Statement[]) };
}

export function queryKey(batch: Batch, id: string): Handle<KeyRow> {
  return batch.query(SELECT_KEY, { id });
}

/** @throws not-found if the key does not exist */
export async function getKey(env: Database, id: string): Promise<AccessKey> {
  const row = await prepare(env, SELECT_KEY, { id }).first<KeyRow>();
  if (!row) throw new Refusal('not-found');
  return keyOf(row);
}

/**
 * Lists the keys of one owner by id. @param page `after` is the last id of the previous page, or the empty string for the first
 * page
 */
export async function listKeys(
  env: Database,
  { owner, after, limit }: { owner: string; after: string; limit: number },
): Promise<Page<AccessKey>> {
  const { results } = await prepare(
    env,
    `SELECT ${COLUMNS} FROM access_keys WHERE owner = :owner AND id > :after ORDER BY id LIMIT :rows`,
    { owner, after, rows: limit + 1 },
  ).all<KeyRow>();
  return pageOf(results.map(keyOf), limit);
}

/**
 * Checks the lifetime of a key and converts it to seconds. @throws request-invalid if it is not from 1 to `KEY_MAX_DAYS` days
 */
export function checkedLifetime(env: Vars, days: number): number {
  const { keyMaxDays, keyDefaultDays } = settings(env);
  if (days >= 1 && days <= keyMaxDays) return days * DAY;
  const without = `Without it, a new key works for ${keyDefaultDays}`;
  throw new Refusal('request-invalid', {
    message: `days: must be 1 to ${keyMaxDays} in this registry. ${without}. Nothing was saved`,
  });
}

/**
 * Creates a key. Its id is derived from the Idempotency-Key, so a repeated request creates nothing and gets the same answer.
 * @throws not-found if the owner does not exist; disabled; limit-reached; conflict if the Idempotency-Key was sent with another
 * request, or the key that it created was changed or is no longer valid; request-invalid if the lifetime or the statements
 * exceed the limits
 */
export async function createKey(env: Database & Secrets & Vars, wanted: NewKey): Promise<MadeKey> {
  const { owner, by, idempotency } = wanted;
  const lifetime = checkedLifetime(env, wanted.days);
  const seed = idempotency === null ? crypto.randomUUID() : JSON.stringify(['create', owner, by.subject, idempotency]);
  const id = await keyIdFrom(env, seed);
  const batch = newBatch(env);
  batch.require(
    'conflict',
    `NOT ${KEY_EXISTS} OR EXISTS (SELECT 1 FROM access_keys WHERE id = :id AND ${LIVE} AND version = 1
      AND name = :name AND statements IS :statements AND expires_at - created_at = :lifetime)`,
    { id, name: wanted.name, statements: wanted.statements && JSON.stringify(wanted.statements), lifetime },
    { message: 'this Idempotency-Key was used before, for another request. Nothing was created: send a new one' },
  );
  requireRoomForKey(batch, owner, { id });
  insertKey(batch, id, { ...wanted, lifetime });
  const key = queryKey(batch, id);
  const results = await batch.commit({ repeatable: true });
  return { key: keyOf(results.first(key)), secret: await accessKeySecret(env, id) };
}

/**
 * Adds statements to the batch that insert a key and record the event, unless the key exists. @throws request-invalid if the
 * statements of the key exceed the limits
 */
export function insertKey(
  batch: Batch,
  id: string,
  { owner, name, statements, lifetime, by }: Omit<NewKey, 'idempotency' | 'days'> & { lifetime: number },
): void {
  if (statements) checkStatements(statements, 'a key');
  const parameters = { id, owner, name, statements: statements && JSON.stringify(statements), lifetime };
  recordEvent(batch, {
    about: aboutOf(owner),
    by,
    select: `SELECT 'key.created' AS type,
        json_object('id', :id, 'owner', :owner, 'name', :name, 'statements', json(:statements)) AS target
      WHERE NOT ${KEY_EXISTS}`,
    parameters,
  });
  batch.run(
    `INSERT INTO access_keys (id, owner, name, statements, created_at, created_by, expires_at, made_with)
     VALUES (:id, :owner, :name, :statements, unixepoch(), :creator, unixepoch() + :lifetime, :creatorKey)
     ON CONFLICT DO NOTHING`,
    { ...parameters, creator: by.subject, creatorKey: by.key ?? null },
  );
}

/**
 * Adds preconditions to the batch: `owner` can get the new key `id`. If the key exists already, they hold.
 * @param replaced the id of the key that the new one replaces. It does not count against the limit
 */
export function requireRoomForKey(
  batch: Batch,
  owner: string,
  { id, replaced = null }: { id: string; replaced?: string | null },
): void {
  const parameters = { owner, id, replaced };
  const ownerIs = (condition: string) =>
    `${KEY_EXISTS} OR EXISTS (SELECT 1 FROM accounts WHERE subject = :owner AND ${condition})`;
  batch.require('not-found', ownerIs('TRUE'), parameters);
  batch.require('disabled', ownerIs('disabled = 0'), parameters, { message: `${owner} is disabled: nothing was created` });
  batch.require(
    'limit-reached',
    `${KEY_EXISTS}
     OR (SELECT count(*) FROM access_keys WHERE owner = :owner AND id IS NOT :replaced AND ${LIVE}) < ${LIVE_KEYS_MAX}`,
    parameters,
    {
      message: `${owner} has ${LIVE_KEYS_MAX} keys, the most there can be. Nothing was created: revoke unneeded keys`,
    },
  );
}

/** Returns the id of the key that replaced this one, or `null` if there is none. */
export async function successorOf(env: Database, id: string): Promise<string | null> {
  return prepare(env, 'SELECT id FROM access_keys WHERE replaces = :id', { id }).first<string>('id');
}

export function hasEnded(state: string): Particulars {
  return { message: `this key is ${state}. Nothing was changed: create another one` };
}

/** The message of the refusal if a key is used to prolong its own lifetime. */
export const PROLONGS_ITSELF: Particulars = {
  message:
    'a key cannot prolong itself. Nothing was changed: its owner creates a new one with another key that is not narrowed',
};

/**
 * SQL list: the ids of key :id and its successors (the keys that replaced it). If :alone is true, only the id of the key
 * itself.
 */
const KEY_AND_SUCCESSORS = `(WITH RECURSIVE line (id) AS (SELECT :id UNION
      SELECT k.id FROM access_keys k JOIN line ON k.replaces = line.id WHERE NOT :alone)
    SELECT id FROM line)`;

/**
 * Revokes a key and its successors, because somebody who stole the key may have rotated it. The rows are kept as a record.
 * @param alone true to keep the successors, if the caller knows that they did not leak
 */
export async function revokeKey(env: Database, { id, owner }: AccessKey, alone: boolean, by: Actor): Promise<void> {
  const batch = newBatch(env);
  revokeWhere(batch, owner, `id IN ${KEY_AND_SUCCESSORS} AND revoked_at IS NULL`, { id, alone }, by);
  await batch.commit({ repeatable: true });
}

/** The maximum number of keys that `keysMadeWith` returns. */
const MADE_MAX = 1000;

/** SQL list: the ids of key :id, of all keys that were created with it or replaced it, and so on for each of those. */
const KEY_AND_DESCENDANTS = `(WITH RECURSIVE family (id) AS (SELECT :id UNION
    SELECT k.id FROM family CROSS JOIN access_keys k ON k.replaces = family.id
    UNION SELECT k.id FROM family CROSS JOIN access_keys k ON k.made_with = family.id)
  SELECT id FROM family)`;

/**
 * Returns the valid keys that were created with this key, directly or indirectly. If this key was stolen, the thief may have
 * created them.
 */
export async function keysMadeWith(env: Database, id: string): Promise<Pick<AccessKey, 'id' | 'owner'>[]> {
  const { results } = await prepare(
    env,
    `SELECT id, owner FROM access_keys WHERE id IN ${KEY_AND_DESCENDANTS} AND id <> :id AND ${LIVE}
     ORDER BY owner, id LIMIT ${MADE_MAX}`,
    { id },
  ).all<Pick<AccessKey, 'id' | 'owner'>>();
  return results;
}

/** Revokes keys of one owner without their successors. */
export async function revokeKeys(env: Database, owner: string, ids: readonly string[], by: Actor): Promise<void> {
  const batch = newBatch(env);
  const chosen = 'owner = :owner AND id IN (SELECT value FROM json_each(:ids)) AND revoked_at IS NULL';
  revokeWhere(batch, owner, chosen, { owner, ids }, by);
  await batch.commit({ repeatable: true });
}

/** Adds statements to the batch that revoke all valid keys of the owners in this range. */
export function revokeKeysOf(batch: Batch, range: SubjectRange, by: Actor): void {
  revokeWhere(batch, range.from, `owner >= :from AND owner < :before AND ${LIVE}`, range, by);
}

/**
 * Adds statements to the batch that revoke keys and record an event for each. @param about the owner of the keys, or one of the
 * owners if all belong to one organization
 */
function revokeWhere(batch: Batch, about: string, condition: string, parameters: Parameters, by: Actor): void {
  recordEvent(batch, {
    about: aboutOf(about),
    by,
    select: `SELECT 'key.revoked' AS type, json_object('id', id, 'owner', owner, 'name', name) AS target
      FROM access_keys WHERE ${condition}`,
    parameters,
  });
  batch.run(`UPDATE access_keys SET revoked_at = unixepoch(), version = version + 1 WHERE ${condition}`, parameters);
}
