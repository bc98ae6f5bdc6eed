/**
 * The replacement of access keys by new ones that can do the same. A key is replaced once. Its successor's secret is told once:
 * both keys work for a while, and whoever stole the old one would otherwise ask for the new one as well. An answer that was lost
 * is given again to whoever knows the Idempotency-Key of the request, for a few minutes.
 */
import { settings, type Vars } from '../../env.ts';
import { refuseUnless, tryBatchTwice } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import type { Secrets } from '../../secrets.ts';
import type { Refusal } from '../../vocabulary/refusal.ts';
import type { Database } from '../directory.ts';
import { accessKeySecret, keyIdFrom } from '../secrets.ts';
import {
  type AccessKey,
  conflict,
  DAY,
  ended,
  getKey,
  hasRoom,
  keyOf,
  LIVE,
  type MadeKey,
  noLonger,
  noRoom,
  type Row,
  requireLifetime,
  select,
  successorOf,
} from './access-keys.ts';

export interface Rotation {
  /** Seconds that the old key goes on, at most. */
  overlap: number;
  /** `null`: as long as the old one was made for, up to KEY_MAX_DAYS. A key that replaces itself keeps its end, and says nothing here. */
  days: number | null;
  /** Whatever a client repeats a request with; `null`: the answer is given once. */
  idempotency: string | null;
  by: Actor;
}

/** Seconds for which an answer is given again. */
const ANSWERED_AGAIN = 10 * 60;

/**
 * A key that can do what `old` can, and the end of that. With the old key itself, the new one ends when that would have ended.
 * @throws conflict where it has ended or was replaced already, or the owner has too many or is disabled; forbidden
 */
export async function rotateKey(env: Database & Secrets & Vars, old: AccessKey, rotation: Rotation): Promise<MadeKey> {
  const { days, idempotency, by } = rotation;
  const byItself = by.key === old.id;
  if (byItself && days !== null) throw noLonger();
  if (days !== null) requireLifetime(env, days);
  const seed =
    idempotency === null ? crypto.randomUUID() : JSON.stringify(['rotate', old.id, by.subject, byItself, idempotency]);
  const id = await keyIdFrom(env, seed);
  const made = await tryBatchTwice(env, [
    refuseUnless(env, POSSIBLE, old.id, id, old.owner, days && days * DAY),
    ...succession(env, old, id, byItself, rotation),
    ...shortening(env, old, id, rotation),
    select(env, id),
  ]);
  if (!made) throw await whyNotRotated(env, old);
  return { key: keyOf(made.at(-1)?.results[0] as Row), secret: await accessKeySecret(env, id) };
}

/**
 * That key ?1 of ?3 can be replaced by ?2, which lives for ?4 seconds, or was a moment ago, and ?2 is as it was made and can do
 * the same. The first may have come to its end by that.
 */
const POSSIBLE = `NOT EXISTS (SELECT 1 FROM access_keys WHERE replaces = ?1 AND id <> ?2)
  AND CASE WHEN EXISTS (SELECT 1 FROM access_keys WHERE id = ?2)
    THEN EXISTS (SELECT 1 FROM access_keys old JOIN access_keys new ON new.id = ?2
      WHERE old.id = ?1 AND old.revoked_at IS NULL AND old.statements IS new.statements AND new.version = 1
        AND new.revoked_at IS NULL AND new.expires_at > unixepoch() AND new.created_at > unixepoch() - ${ANSWERED_AGAIN}
        AND coalesce(new.expires_at - new.created_at = ?4, TRUE))
    ELSE EXISTS (SELECT 1 FROM access_keys WHERE id = ?1 AND ${LIVE}) AND ${hasRoom('?3', '?1')} END`;

function succession(
  env: Database & Vars,
  old: AccessKey,
  id: string,
  byItself: boolean,
  { days, by }: Rotation,
): D1PreparedStatement[] {
  return [
    record(env, {
      about: aboutOf(old.owner),
      by,
      select: `SELECT 'key.created' AS type, json_object('id', ?3, 'owner', owner, 'name', name,
          'statements', json(statements), 'replaces', id) AS target
        FROM access_keys WHERE id = ?4 AND NOT EXISTS (SELECT 1 FROM access_keys WHERE id = ?3)`,
      parameters: [id, old.id],
    }),
    env.DB.prepare(
      `INSERT INTO access_keys (id, owner, name, statements, created_at, created_by, expires_at, replaces, made_with)
       SELECT ?1, owner, name, statements, unixepoch(), ?3,
         iif(?6, min(expires_at, unixepoch() + ?5), unixepoch() + coalesce(?4, min(expires_at - created_at, ?5))), id, ?7
       FROM access_keys WHERE id = ?2 ON CONFLICT DO NOTHING`,
    ).bind(
      id,
      old.id,
      by.subject,
      days && days * DAY,
      settings(env).keyMaxDays * DAY,
      Number(byItself),
      byItself ? null : (by.key ?? null),
    ),
  ];
}

function shortening(env: Database, old: AccessKey, id: string, { overlap, by }: Rotation): D1PreparedStatement[] {
  return [
    record(env, {
      about: aboutOf(old.owner),
      by,
      select: `SELECT 'key.changed' AS type, json_object('id', id, 'owner', owner, 'name', name,
          'statements', json(statements), 'replacedBy', ?4) AS target
        FROM access_keys WHERE id = ?3 AND expires_at > unixepoch() + ?5`,
      parameters: [old.id, id, overlap],
    }),
    env.DB.prepare(
      `UPDATE access_keys SET expires_at = unixepoch() + ?2, version = version + 1
       WHERE id = ?1 AND expires_at > unixepoch() + ?2`,
    ).bind(old.id, overlap),
  ];
}

async function whyNotRotated(env: Database, old: AccessKey): Promise<Refusal> {
  const { state } = await getKey(env, old.id);
  if (state !== 'active') return ended(state);
  const successor = await successorOf(env, old.id);
  if (!successor) return noRoom(env, old.owner);
  return conflict(
    `this key was replaced already, by ${successor}, and its secret is told once: if it was not you, revoke this key, which revokes both`,
  );
}
