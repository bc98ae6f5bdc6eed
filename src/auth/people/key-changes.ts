/**
 * Changes of access keys: a new name, new limits or a new lifetime; and rotation.
 *
 * Rotation replaces a key by a new one with the same rights. A key can be rotated only once, and the new secret is shown only
 * once, because both keys are valid for a while, and somebody who stole the old key could also request the new secret. If the
 * answer is lost, a client that sends the same Idempotency-Key gets the answer again for a few minutes.
 */
import { settings, type Vars } from '../../env.ts';
import { type Batch, type Database, newBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { changesIn, recordEvent } from '../../events/outbox.ts';
import type { Secrets } from '../../secrets.ts';
import { type Particulars, Refusal } from '../../vocabulary/refusal.ts';
import { accessKeySecret, keyIdFrom } from '../secrets.ts';
import { checkStatements, type Statement } from '../statement.ts';
import { type Change, requireVersion } from '../within.ts';
import {
  type AccessKey,
  checkedLifetime,
  DAY,
  getKey,
  hasEnded,
  KEY_EXISTS,
  keyOf,
  LIVE,
  type MadeKey,
  PROLONGS_ITSELF,
  queryKey,
  requireRoomForKey,
  successorOf,
} from './access-keys.ts';

interface KeyChange {
  name?: string;
  statements?: Statement[] | null;
  /** The new lifetime in days, counted from the creation of the key. */
  days?: number;
}

/** SQL query: key :id as it will be after :change (JSON). It yields no row if nothing would change. */
const CHANGED_KEY = `SELECT new.* FROM access_keys old JOIN (
      SELECT id, owner, coalesce(:change ->> 'name', name) AS name,
        CASE WHEN json_type(:change, '$.statements') IS NULL THEN statements ELSE :change ->> 'statements' END AS statements,
        coalesce(created_at + (:change ->> 'seconds'), expires_at) AS expires_at
      FROM access_keys WHERE id = :id) new ON new.id = old.id
    WHERE new.name <> old.name OR new.statements IS NOT old.statements OR new.expires_at <> old.expires_at`;

const before = (column: string) => `(SELECT ${column} FROM access_keys WHERE id = :id)`;
const CHANGES = changesIn([
  ['name', before('name'), 'new.name'],
  ['statements', `json(${before('statements')})`, 'json(new.statements)'],
  ['expiresAt', before('expires_at'), 'new.expires_at'],
]);

/**
 * Changes a key. A key cannot prolong its own lifetime. A key that was rotated can only be renamed. Other changes would not
 * apply to its successor, so they would not have the effect that the owner expects.
 * @throws conflict if the key is no longer valid, would no longer be valid after this change, or was rotated; forbidden,
 * version-mismatch, not-found; request-invalid if the lifetime or the statements exceed the limits
 */
export async function changeKey(
  env: Database & Vars,
  { id, owner }: AccessKey,
  { name, statements, days }: KeyChange,
  { ifVersion, by }: Change,
): Promise<AccessKey> {
  if (statements) checkStatements(statements, 'a key');
  const seconds = days === undefined ? undefined : checkedLifetime(env, days);
  const change = JSON.stringify({
    ...(name === undefined ? {} : { name }),
    ...(statements === undefined ? {} : { statements: statements && JSON.stringify(statements) }),
    ...(seconds === undefined ? {} : { seconds }),
  });
  const batch = newBatch(env);
  requireChangeable(
    batch,
    { id, ifVersion, change, byItself: by.key === id, renamesOnly: statements === undefined && days === undefined },
    () => whyNotChangeable(env, id, days),
  );
  recordEvent(batch, {
    about: aboutOf(owner),
    by,
    select: `SELECT 'key.changed' AS type,
        json_object('id', id, 'owner', owner, 'name', name, 'statements', json(statements)) AS target, ${CHANGES} AS changes
      FROM (${CHANGED_KEY}) new`,
    parameters: { id, change },
    hasChanges: true,
  });
  batch.run(
    `UPDATE access_keys SET name = new.name, statements = new.statements, expires_at = new.expires_at, version = version + 1
     FROM (${CHANGED_KEY}) new WHERE access_keys.id = new.id`,
    { id, change },
  );
  const key = queryKey(batch, id);
  return keyOf((await batch.commit()).first(key));
}

interface ChangeCheck {
  id: string;
  ifVersion: number | null;
  change: string;
  byItself: boolean;
  renamesOnly: boolean;
}

function requireChangeable(
  batch: Batch,
  { id, ifVersion, change, byItself, renamesOnly }: ChangeCheck,
  whyConflict: () => Promise<Particulars>,
): void {
  const keyHas = (condition: string) => `EXISTS (SELECT 1 FROM access_keys WHERE id = :id AND ${condition})`;
  batch.require('not-found', KEY_EXISTS, { id });
  batch.require('conflict', keyHas(LIVE), { id }, whyConflict);
  requireVersion(batch, 'SELECT version FROM access_keys WHERE id = :id', { id }, ifVersion);
  batch.require(
    'forbidden',
    `NOT :byItself OR ${keyHas("coalesce(created_at + (:change ->> 'seconds') <= expires_at, TRUE)")}`,
    { id, change, byItself },
    PROLONGS_ITSELF,
  );
  batch.require('conflict', ':renamesOnly OR NOT EXISTS (SELECT 1 FROM access_keys WHERE replaces = :id)', { id, renamesOnly });
  batch.require('conflict', keyHas("coalesce(created_at + (:change ->> 'seconds') > unixepoch(), TRUE)"), { id, change });
}

async function whyNotChangeable(env: Database, id: string, days = 0): Promise<Particulars> {
  const { state } = await getKey(env, id);
  if (state !== 'active') return hasEnded(state);
  const successor = await successorOf(env, id);
  return {
    message: successor
      ? `this key was replaced by ${successor}. Nothing was changed: change that one, or revoke this one, which revokes both`
      : `${days} days from its creation are over. Nothing was changed: to end a key, revoke it`,
  };
}

interface Rotation {
  /** The maximum number of seconds for which the old key remains valid. */
  overlap: number;
  /**
   * The lifetime of the new key in days. `null` means the lifetime of the old key, but at most the registry's maximum. If a key
   * rotates itself, the new key keeps the expiry of the old one instead.
   */
  days: number | null;
  /** The request's Idempotency-Key. If `null`, a repeated request does not get the same answer. */
  idempotency: string | null;
  by: Actor;
}

/** The number of seconds for which a repeated request gets the same answer. */
const REPEATED_FOR = 10 * 60;

/**
 * Creates a key with the rights of `old`, and shortens the lifetime of `old`. If a key rotates itself, the new key does not
 * expire later than the old one. The caller must check who may rotate the key.
 * @throws forbidden if a key rotates itself and `days` is given; conflict if the key is no longer valid or was already rotated;
 * disabled, limit-reached; request-invalid if the lifetime exceeds the limit
 */
export async function rotateKey(env: Database & Secrets & Vars, old: AccessKey, rotation: Rotation): Promise<MadeKey> {
  const { days, idempotency, by } = rotation;
  const lifetime = days === null ? null : checkedLifetime(env, days);
  const byItself = by.key === old.id;
  if (byItself && days !== null) throw new Refusal('forbidden', PROLONGS_ITSELF);
  const seed =
    idempotency === null ? crypto.randomUUID() : JSON.stringify(['rotate', old.id, by.subject, byItself, idempotency]);
  const id = await keyIdFrom(env, seed);
  const batch = newBatch(env);
  batch.require('conflict', ROTATABLE, { old: old.id, new: id, lifetime }, () => whyNotRotatable(env, old));
  requireRoomForKey(batch, old.owner, { id, replaced: old.id });
  insertSuccessor(batch, old, { id, lifetime, lifetimeMax: settings(env).keyMaxDays * DAY, byItself, by });
  shortenOld(batch, old, id, rotation);
  const key = queryKey(batch, id);
  const results = await batch.commit({ repeatable: true });
  return { key: keyOf(results.first(key)), secret: await accessKeySecret(env, id) };
}

/**
 * SQL condition: key :old can be replaced by key :new with a lifetime of :lifetime seconds. It also holds if key :old was
 * replaced by :new a few minutes ago and :new was not changed since (a repeated request). In that case :old may already have
 * expired.
 */
const ROTATABLE = `NOT EXISTS (SELECT 1 FROM access_keys WHERE replaces = :old AND id <> :new)
  AND CASE WHEN EXISTS (SELECT 1 FROM access_keys WHERE id = :new)
    THEN EXISTS (SELECT 1 FROM access_keys old JOIN access_keys new ON new.id = :new
      WHERE old.id = :old AND old.revoked_at IS NULL AND old.statements IS new.statements AND new.version = 1
        AND new.revoked_at IS NULL AND new.expires_at > unixepoch() AND new.created_at > unixepoch() - ${REPEATED_FOR}
        AND coalesce(new.expires_at - new.created_at = :lifetime, TRUE))
    ELSE EXISTS (SELECT 1 FROM access_keys WHERE id = :old AND ${LIVE}) END`;

interface Successor {
  id: string;
  /** In seconds. `null` means the lifetime of the old key. */
  lifetime: number | null;
  lifetimeMax: number;
  byItself: boolean;
  by: Actor;
}

function insertSuccessor(batch: Batch, old: AccessKey, { id, lifetime, lifetimeMax, byItself, by }: Successor): void {
  recordEvent(batch, {
    about: aboutOf(old.owner),
    by,
    select: `SELECT 'key.created' AS type, json_object('id', :new, 'owner', owner, 'name', name,
        'statements', json(statements), 'replaces', id) AS target
      FROM access_keys WHERE id = :old AND NOT EXISTS (SELECT 1 FROM access_keys WHERE id = :new)`,
    parameters: { old: old.id, new: id },
  });
  batch.run(
    `INSERT INTO access_keys (id, owner, name, statements, created_at, created_by, expires_at, replaces, made_with)
     SELECT :new, owner, name, statements, unixepoch(), :creator,
       iif(:byItself, min(expires_at, unixepoch() + :lifetimeMax),
         unixepoch() + coalesce(:lifetime, min(expires_at - created_at, :lifetimeMax))), id, :creatorKey
     FROM access_keys WHERE id = :old ON CONFLICT DO NOTHING`,
    {
      ...{ old: old.id, new: id, lifetime, lifetimeMax, byItself },
      ...{ creator: by.subject, creatorKey: byItself ? null : (by.key ?? null) },
    },
  );
}

function shortenOld(batch: Batch, old: AccessKey, id: string, { overlap, by }: Rotation): void {
  const parameters = { old: old.id, new: id, overlap };
  recordEvent(batch, {
    about: aboutOf(old.owner),
    by,
    select: `SELECT 'key.changed' AS type, json_object('id', id, 'owner', owner, 'name', name,
        'statements', json(statements), 'replacedBy', :new) AS target
      FROM access_keys WHERE id = :old AND expires_at > unixepoch() + :overlap`,
    parameters,
  });
  batch.run(
    `UPDATE access_keys SET expires_at = unixepoch() + :overlap, version = version + 1
     WHERE id = :old AND expires_at > unixepoch() + :overlap`,
    parameters,
  );
}

async function whyNotRotatable(env: Database, old: AccessKey): Promise<Particulars> {
  const { state } = await getKey(env, old.id);
  if (state !== 'active') return hasEnded(state);
  const successor = await successorOf(env, old.id);
  return {
    message:
      `this key was rotated already, to ${successor}, and its secret is told once. Nothing was changed: if it ` +
      `was not you, revoke this key, which revokes both`,
  };
}
