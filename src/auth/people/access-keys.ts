/**
 * Access keys as they are kept: made, listed, changed and revoked, each change as one batch with its event
 * (invariant 6). A key's secret is derived whenever it is shown; nothing secret is written.
 */
import { settings, type Vars } from '../../env.ts';
import { refuseUnless, tryBatch, tryBatchTwice } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { changesIn, record } from '../../events/outbox.ts';
import { type Page, pageOf } from '../../oci/page.ts';
import type { Secrets } from '../../secrets.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { Database } from '../directory.ts';
import { accessKeySecret, keyIdFrom } from '../secrets.ts';
import type { Statement } from '../statement.ts';
import { checkStatements } from '../statement-limits.ts';

export interface AccessKey {
  id: string;
  /** `user:alice`, `robot:acme/ci` */
  owner: string;
  name: string;
  /** `null`: not narrowed. */
  statements: Statement[] | null;
  /** Seconds since the epoch, as are the others. */
  createdAt: number;
  createdBy: string;
  expiresAt: number;
  revokedAt: number | null;
  /** Days since the epoch. */
  lastUsedDay: number | null;
  state: 'active' | 'expired' | 'revoked';
  /** The id of another key with which it was asked for. */
  madeWith: string | null;
  version: number;
}

/** A key and its secret, which is shown this once. */
export interface MadeKey {
  key: AccessKey;
  secret: string;
}

export interface NewKey {
  owner: string;
  name: string;
  statements: Statement[] | null;
  days: number;
  /** Whatever a client repeats a request with; `null`: each request makes a key. */
  idempotency: string | null;
  by: Actor;
}

/** Keys of one owner that can be used at the same time. */
export const LIVE_KEYS_MAX = 100;

export const DAY = 24 * 60 * 60;

/** Of a row: the key can be used. */
export const LIVE = 'revoked_at IS NULL AND expires_at > unixepoch()';

const COLUMNS = `id, owner, name, statements, created_at AS createdAt, created_by AS createdBy, expires_at AS expiresAt,
  revoked_at AS revokedAt, last_used_day AS lastUsedDay, version, made_with AS madeWith,
  CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= unixepoch() THEN 'expired' ELSE 'active' END AS state`;

export type Row = Omit<AccessKey, 'statements'> & { statements: string | null };

export function keyOf({ statements, ...row }: Row): AccessKey {
  return { ...row, statements: statements === null ? null : (JSON.parse(statements) as Statement[]) };
}

export function select(env: Database, id: string): D1PreparedStatement {
  return env.DB.prepare(`SELECT ${COLUMNS} FROM access_keys WHERE id = ?1`).bind(id);
}

/** @throws not-found */
export async function getKey(env: Database, id: string): Promise<AccessKey> {
  const row = await select(env, id).first<Row>();
  if (!row) throw new Refusal('not-found');
  return keyOf(row);
}

/** In the order of their ids. @param page `after` is the id that the page before ended with, '' for the first */
export async function listKeys(
  env: Database,
  { owner, after, limit }: { owner: string; after: string; limit: number },
): Promise<Page<AccessKey>> {
  const { results } = await env.DB.prepare(
    `SELECT ${COLUMNS} FROM access_keys WHERE owner = ?1 AND id > ?2 ORDER BY id LIMIT ?3`,
  )
    .bind(owner, after, limit + 1)
    .all<Row>();
  return pageOf(results.map(keyOf), limit);
}

/**
 * The same request with the same idempotency key has the same id, and so makes nothing and has the same answer.
 * @throws conflict where the owner has too many or is disabled, or another request came with that idempotency key;
 * not-found where there is no such owner; request-invalid for statements beyond the limits of a policy
 */
export async function createKey(env: Database & Secrets & Vars, wanted: NewKey): Promise<MadeKey> {
  requireLifetime(env, wanted.days);
  const { owner, by, idempotency } = wanted;
  const seed = idempotency === null ? crypto.randomUUID() : JSON.stringify(['create', owner, by.subject, idempotency]);
  const id = await keyIdFrom(env, seed);
  const made = await tryBatchTwice(env, [
    refuseUnless(env, `EXISTS (SELECT 1 FROM access_keys WHERE id = ?1) OR ${hasRoom('?2', '?1')}`, id, owner),
    ...insertKey(env, id, wanted),
    select(env, id),
  ]);
  if (!made) throw await noRoom(env, owner);
  const key = keyOf(made.at(-1)?.results[0] as Row);
  if (!isUntouched(key) || !isAnswerTo(key, wanted)) throw conflict('this Idempotency-Key came with another request before');
  return { key, secret: await accessKeySecret(env, id) };
}

/** @throws request-invalid for a key that would work longer than this registry allows */
export function requireLifetime(env: Vars, days: number): void {
  const { keyMaxDays } = settings(env);
  if (days <= keyMaxDays) return;
  throw new Refusal('request-invalid', {
    message: `days: a key of this registry works for up to ${keyMaxDays} days. Nothing was saved`,
  });
}

/** For a batch: what makes the key, and tells of it, where it is not there yet. @throws request-invalid for too many statements */
export function insertKey(
  env: Database,
  id: string,
  { owner, name, statements, days, by }: Omit<NewKey, 'idempotency'>,
): D1PreparedStatement[] {
  if (statements) checkStatements(statements, 'a key');
  const narrowing = statements && JSON.stringify(statements);
  return [
    record(env, {
      about: aboutOf(owner),
      by,
      select: `SELECT 'key.created' AS type, json_object('id', ?3, 'owner', ?4, 'name', ?5, 'statements', json(?6)) AS target
        WHERE NOT EXISTS (SELECT 1 FROM access_keys WHERE id = ?3)`,
      parameters: [id, owner, name, narrowing],
    }),
    env.DB.prepare(
      `INSERT INTO access_keys (id, owner, name, statements, created_at, created_by, expires_at, made_with)
       VALUES (?1, ?2, ?3, ?4, unixepoch(), ?5, unixepoch() + ?6, ?7) ON CONFLICT DO NOTHING`,
    ).bind(id, owner, name, narrowing, by.subject, days * DAY, by.key ?? null),
  ];
}

/** Whether `owner` can be given a key, not counting key `but`. */
export function hasRoom(owner: string, but: string): string {
  return `(EXISTS (SELECT 1 FROM accounts WHERE subject = ${owner} AND disabled = 0)
    AND (SELECT count(*) FROM access_keys WHERE owner = ${owner} AND id <> ${but} AND ${LIVE}) < ${LIVE_KEYS_MAX})`;
}

export async function noRoom(env: Database, owner: string): Promise<Refusal> {
  const account = await env.DB.prepare('SELECT disabled FROM accounts WHERE subject = ?1').bind(owner).first();
  if (!account) return new Refusal('not-found');
  if (account.disabled) return new Refusal('disabled', { message: `${owner} is disabled` });
  return new Refusal('limit-reached', {
    message: `${owner} has ${LIVE_KEYS_MAX} keys already: revoke those that are not needed`,
  });
}

/** As it was made: what was changed or has ended since is no answer to the request that made it. */
function isUntouched({ state, version }: AccessKey): boolean {
  return state === 'active' && version === 1;
}

function isAnswerTo(key: AccessKey, { name, statements, days }: NewKey): boolean {
  return key.name === name && sameStatements(key.statements, statements) && lifetimeOf(key) === days * DAY;
}

function sameStatements(some: Statement[] | null, others: Statement[] | null): boolean {
  return JSON.stringify(some) === JSON.stringify(others);
}

function lifetimeOf({ createdAt, expiresAt }: AccessKey): number {
  return expiresAt - createdAt;
}

export interface KeyChange {
  name?: string;
  statements?: Statement[] | null;
  /** From its creation on. */
  days?: number;
}

/** Key `id` as it is with `change`, in JSON, made to it; no row where that changes nothing. */
function changed(id: string, change: string): string {
  return `SELECT new.* FROM access_keys old JOIN (
      SELECT id, owner, coalesce(${change} ->> 'name', name) AS name,
        CASE WHEN json_type(${change}, '$.statements') IS NULL THEN statements ELSE ${change} ->> 'statements' END AS statements,
        coalesce(created_at + (${change} ->> 'seconds'), expires_at) AS expires_at
      FROM access_keys WHERE id = ${id}) new ON new.id = old.id
    WHERE new.name <> old.name OR new.statements IS NOT old.statements OR new.expires_at <> old.expires_at`;
}

const was = (column: string) => `(SELECT ${column} FROM access_keys WHERE id = ?3)`;
const CHANGES = changesIn([
  ['name', was('name'), 'new.name'],
  ['statements', `json(${was('statements')})`, 'json(new.statements)'],
  ['expiresAt', was('expires_at'), 'new.expires_at'],
]);

/**
 * A key does not prolong itself. One that was replaced is renamed only: its successor goes on as it is, and whoever narrows or
 * shortens the old one shall not believe that both are.
 * @throws conflict for a key that has ended, would with this, or was replaced; forbidden, version-mismatch, not-found; request-invalid
 * for statements beyond the limits of a policy
 */
export async function changeKey(
  env: Database & Vars,
  { id, owner }: AccessKey,
  { name, statements, days }: KeyChange,
  { ifVersion, by }: { ifVersion: number | null; by: Actor },
): Promise<AccessKey> {
  if (days !== undefined) requireLifetime(env, days);
  if (statements) checkStatements(statements, 'a key');
  const change = JSON.stringify({
    ...(name === undefined ? {} : { name }),
    ...(statements === undefined ? {} : { statements: statements && JSON.stringify(statements) }),
    ...(days === undefined ? {} : { seconds: days * DAY }),
  });
  const possible = `EXISTS (SELECT 1 FROM access_keys WHERE id = ?1 AND ${LIVE} AND (?2 IS NULL OR version = ?2)
    AND coalesce(created_at + (?3 ->> 'seconds') > unixepoch(), TRUE)
    AND (NOT ?4 OR coalesce(created_at + (?3 ->> 'seconds') <= expires_at, TRUE))
    AND (NOT ?5 OR NOT EXISTS (SELECT 1 FROM access_keys WHERE replaces = ?1)))`;
  const reaches = statements !== undefined || days !== undefined;
  const results = await tryBatch(env, [
    refuseUnless(env, possible, id, ifVersion, change, Number(by.key === id), Number(reaches)),
    record(env, {
      about: aboutOf(owner),
      by,
      select: `SELECT 'key.changed' AS type,
          json_object('id', id, 'owner', owner, 'name', name, 'statements', json(statements)) AS target, ${CHANGES} AS changes
        FROM (${changed('?3', '?4')}) new`,
      parameters: [id, change],
      hasChanges: true,
    }),
    env.DB.prepare(
      `UPDATE access_keys SET name = new.name, statements = new.statements, expires_at = new.expires_at, version = version + 1
       FROM (${changed('?1', '?2')}) new WHERE access_keys.id = new.id`,
    ).bind(id, change),
    select(env, id),
  ]);
  if (results) return keyOf(results.at(-1)?.results[0] as Row);
  throw await whyNotChanged(env, id, { ifVersion, by, reaches, days: days ?? 0 });
}

async function whyNotChanged(
  env: Database,
  id: string,
  { ifVersion, by, reaches, days }: { ifVersion: number | null; by: Actor; reaches: boolean; days: number },
): Promise<Refusal> {
  const { state, version, createdAt, expiresAt } = await getKey(env, id);
  if (state !== 'active') return ended(state);
  if (ifVersion !== null && version !== ifVersion) return new Refusal('version-mismatch');
  if (by.key === id && createdAt + days * DAY > expiresAt) return noLonger();
  const successor = await successorOf(env, id);
  if (!reaches || !successor) return conflict(`counted from its creation, ${days} days are over: to end a key, revoke it`);
  return conflict(`this key was replaced by ${successor}: change that one, or revoke this one, which revokes both`);
}

/** The key that replaced this one, `null` for none. */
export async function successorOf(env: Database, id: string): Promise<string | null> {
  return env.DB.prepare('SELECT id FROM access_keys WHERE replaces = ?1').bind(id).first<string>('id');
}

export function ended(state: string): Refusal {
  return conflict(`this key is ${state}: make another one`);
}

/** A key that asks for itself gets no longer life than it has. */
export function noLonger(): Refusal {
  const message = 'a key does not prolong itself: its owner makes a new one with another key that is not narrowed';
  return new Refusal('forbidden', { message });
}

export function conflict(message: string): Refusal {
  return new Refusal('conflict', { message });
}
