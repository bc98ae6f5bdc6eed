/**
 * Access keys: create, read, list and revoke them. Each change is one batch with its event (invariant 6). A key's secret is
 * derived whenever it is shown; the database stores no secret.
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
  /** `user:alice`, `robot:acme/ci` */
  owner: string;
  name: string;
  /** Limits what the owner may do with this key; `null`: no limit. */
  statements: Statement[] | null;
  /** Seconds since the epoch, like the other times. */
  createdAt: number;
  createdBy: string;
  expiresAt: number;
  revokedAt: number | null;
  /** Days since the epoch. */
  lastUsedDay: number | null;
  state: 'active' | 'expired' | 'revoked';
  /** The id of the key that created this one. */
  madeWith: string | null;
  version: number;
}

/** A key and its secret, which is shown once. */
export interface MadeKey {
  key: AccessKey;
  secret: string;
}

interface NewKey {
  owner: string;
  name: string;
  statements: Statement[] | null;
  days: number;
  /** The request's Idempotency-Key; `null`: each request creates a key. */
  idempotency: string | null;
  by: Actor;
}

/** Usable keys of one owner. */
const LIVE_KEYS_MAX = 100;

export const DAY = 24 * 60 * 60;

/** SQL: the key of this row of `access_keys` can be used. */
export const LIVE = 'revoked_at IS NULL AND expires_at > unixepoch()';

const COLUMNS = `id, owner, name, statements, created_at AS createdAt, created_by AS createdBy, expires_at AS expiresAt,
  revoked_at AS revokedAt, last_used_day AS lastUsedDay, version, made_with AS madeWith,
  CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= unixepoch() THEN 'expired' ELSE 'active' END AS state`;

const SELECT_KEY = `SELECT ${COLUMNS} FROM access_keys WHERE id = :id`;

/** SQL: key :id exists. */
export const KEY_EXISTS = 'EXISTS (SELECT 1 FROM access_keys WHERE id = :id)';

type KeyRow = Omit<AccessKey, 'statements'> & { statements: string | null };

/** Parses the row of `queryKey`. @throws Error if there is none */
export function keyOf(row: KeyRow | null): AccessKey {
  if (!row) throw new Error('the batch that wrote a key did not read it back');
  return { ...row, statements: row.statements === null ? null : (JSON.parse(row.statements) as Statement[]) };
}

export function queryKey(batch: Batch, id: string): Handle<KeyRow> {
  return batch.query(SELECT_KEY, { id });
}

/** @throws not-found */
export async function getKey(env: Database, id: string): Promise<AccessKey> {
  const row = await prepare(env, SELECT_KEY, { id }).first<KeyRow>();
  if (!row) throw new Refusal('not-found');
  return keyOf(row);
}

/** Lists keys by id. @param page `after`: the last id of the previous page, '' for the first page */
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

/** Checks how long a key is wanted to live. @returns seconds @throws request-invalid beyond `KEY_MAX_DAYS` */
export function checkedLifetime(env: Vars, days: number): number {
  const { keyMaxDays } = settings(env);
  if (days <= keyMaxDays) return days * DAY;
  throw new Refusal('request-invalid', {
    message: `days: a key of this registry works for up to ${keyMaxDays} days. Nothing was saved`,
  });
}

/**
 * Creates a key. A repeated request with the same Idempotency-Key derives the same id, so it creates nothing and gets the same
 * answer.
 * @throws not-found if the owner does not exist; disabled; limit-reached; conflict if the Idempotency-Key came with another
 *   request, or its key was changed or has ended since; request-invalid for a lifetime or statements beyond the limits
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

/** Inserts a key and records it, unless it exists. @throws request-invalid for too many statements */
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
 * Refuses the batch if `owner` cannot be given the new key `id`. A key that exists already needs no room.
 * @param replaced the key that the new one replaces, which is not counted
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

/** The id of the key that replaced this one. */
export async function successorOf(env: Database, id: string): Promise<string | null> {
  return prepare(env, 'SELECT id FROM access_keys WHERE replaces = :id', { id }).first<string>('id');
}

export function hasEnded(state: string): Particulars {
  return { message: `this key is ${state}. Nothing was changed: create another one` };
}

/** A refusal of what would let a key live longer with no other key than itself. */
export const PROLONGS_ITSELF: Particulars = {
  message:
    'a key cannot prolong itself. Nothing was changed: its owner creates a new one with another key that is not narrowed',
};

/** SQL: the ids of key :id and of its successors; of the key itself only if :alone. */
const KEY_AND_SUCCESSORS = `(WITH RECURSIVE line (id) AS (SELECT :id UNION
      SELECT k.id FROM access_keys k JOIN line ON k.replaces = line.id WHERE NOT :alone)
    SELECT id FROM line)`;

/**
 * Revokes a key and its successors, because a thief may have rotated it. The rows stay for the record.
 * @param alone keeps the successors, if the caller knows that they did not leak
 */
export async function revokeKey(env: Database, { id, owner }: AccessKey, alone: boolean, by: Actor): Promise<void> {
  const batch = newBatch(env);
  revokeWhere(batch, owner, `id IN ${KEY_AND_SUCCESSORS} AND revoked_at IS NULL`, { id, alone }, by);
  await batch.commit({ repeatable: true });
}

/** Keys that one call of `keysMadeWith` returns at most. */
const MADE_MAX = 1000;

/** SQL: the ids of key :id, of all keys made with it or replacing it, and so on. */
const KEY_AND_DESCENDANTS = `(WITH RECURSIVE family (id) AS (SELECT :id UNION
    SELECT k.id FROM family CROSS JOIN access_keys k ON k.replaces = family.id
    UNION SELECT k.id FROM family CROSS JOIN access_keys k ON k.made_with = family.id)
  SELECT id FROM family)`;

/** The usable keys that were made with this one, directly or indirectly. A thief of this key could have made them. */
export async function keysMadeWith(env: Database, id: string): Promise<Pick<AccessKey, 'id' | 'owner'>[]> {
  const { results } = await prepare(
    env,
    `SELECT id, owner FROM access_keys WHERE id IN ${KEY_AND_DESCENDANTS} AND id <> :id AND ${LIVE}
     ORDER BY owner, id LIMIT ${MADE_MAX}`,
    { id },
  ).all<Pick<AccessKey, 'id' | 'owner'>>();
  return results;
}

/** Revokes keys of one owner, and not their successors. */
export async function revokeKeys(env: Database, owner: string, ids: readonly string[], by: Actor): Promise<void> {
  const batch = newBatch(env);
  const chosen = 'owner = :owner AND id IN (SELECT value FROM json_each(:ids)) AND revoked_at IS NULL';
  revokeWhere(batch, owner, chosen, { owner, ids }, by);
  await batch.commit({ repeatable: true });
}

/** Revokes all usable keys of these owners. */
export function revokeKeysOf(batch: Batch, range: SubjectRange, by: Actor): void {
  revokeWhere(batch, range.from, `owner >= :from AND owner < :before AND ${LIVE}`, range, by);
}

/** @param about the owner of the keys, or one of them if all belong to one organization */
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
