/**
 * Rotation of access keys: a key is replaced by a new one with the same rights, once. The new secret is told once, because both keys
 * work for a while and a thief of the old one could ask for it too. A lost answer is repeated for a few minutes to a client that
 * sends the same Idempotency-Key.
 */
import { settings, type Vars } from '../../env.ts';
import { type Batch, newBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { recordEvent } from '../../events/outbox.ts';
import type { Secrets } from '../../secrets.ts';
import { type Particulars, Refusal } from '../../vocabulary/refusal.ts';
import type { Database } from '../directory.ts';
import { accessKeySecret, keyIdFrom } from '../secrets.ts';
import {
  type AccessKey,
  checkedLifetime,
  DAY,
  getKey,
  hasEnded,
  keyOf,
  LIVE,
  type MadeKey,
  PROLONGS_ITSELF,
  queryKey,
  requireRoomForKey,
  successorOf,
} from './access-keys.ts';

interface Rotation {
  /** Seconds that the old key works on, at most. */
  overlap: number;
  /** `null`: as long as the old key was made for, or the registry's maximum. A key that rotates itself keeps its end. */
  days: number | null;
  /** The request's Idempotency-Key; `null`: the answer is given once. */
  idempotency: string | null;
  by: Actor;
}

/** Seconds for which an answer is repeated. */
const REPEATED_FOR = 10 * 60;

/**
 * Creates a key with the rights of `old`, which then soon ends. A key that rotates itself does not get a later end.
 * The caller checks who may rotate the key.
 * @throws forbidden if a key asks for a later end of its own; conflict if the key has ended or was rotated already; disabled,
 * limit-reached; request-invalid for a lifetime beyond the limit
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
 * SQL: key :old can be replaced by key :new with a lifetime of :lifetime seconds, or was a moment ago and :new is unmodified. In the
 * second case :old may have reached its shortened end.
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
  /** Seconds; `null`: as the old key. */
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
    message: `this key was rotated already, to ${successor}, and its secret is told once. Nothing was changed: if it was not you, revoke this key, which revokes both`,
  };
}
