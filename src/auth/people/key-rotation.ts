/**
 * The replacement of access keys by new ones that can do the same. A key is replaced once: the id of its successor is derived
 * from its own, so that asking again makes nothing and has the same answer.
 */
import { refuseUnless, tryBatchTwice } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import type { RegistryError } from '../../oci/errors.ts';
import type { Secrets } from '../../secrets.ts';
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
  noRoom,
  type Row,
  select,
} from './access-keys.ts';

export interface Rotation {
  /** The key itself asks, or somebody who may do more than it. Which is never answered with what the other was given. */
  asker: 'itself' | 'holder';
  /** Seconds that the old key goes on, at most. */
  overlap: number;
  /** `null`: as long as the old one was made for, or `maxDays`. */
  days: number | null;
  maxDays: number;
  by: Actor;
}

/**
 * A key that can do what `old` can, and the end of that. A key is replaced once: its successor's id is derived from its own,
 * so that asking again makes nothing and has the same answer, as long as the successor is as it was made.
 * @throws CONFLICT where it has ended or was replaced otherwise, or the owner has too many or is disabled
 */
export async function rotateKey(env: Database & Secrets, old: AccessKey, rotation: Rotation): Promise<MadeKey> {
  const [id, other] = await successorsOf(env, old.id, rotation.asker);
  const made = await tryBatchTwice(env, [
    refuseUnless(env, POSSIBLE, old.id, id, other, old.owner, rotation.days && rotation.days * DAY),
    ...succession(env, old, id, rotation),
    ...shortening(env, old, id, rotation),
    select(env, id),
  ]);
  if (!made) throw await whyNotRotated(env, old, [id, other]);
  return { key: keyOf(made.at(-1)?.results[0] as Row), secret: await accessKeySecret(env, id) };
}

/**
 * That key ?1 of ?4 can be replaced by ?2, which lives for ?5 seconds, or was, and ?2 is as it was made and can do the same.
 * The first may have come to its end by that.
 */
const POSSIBLE = `NOT EXISTS (SELECT 1 FROM access_keys WHERE id = ?3)
  AND CASE WHEN EXISTS (SELECT 1 FROM access_keys WHERE id = ?2)
    THEN EXISTS (SELECT 1 FROM access_keys old JOIN access_keys new ON new.id = ?2
      WHERE old.id = ?1 AND old.revoked_at IS NULL AND old.statements IS new.statements AND new.version = 1
        AND new.revoked_at IS NULL AND new.expires_at > unixepoch() AND coalesce(new.expires_at - new.created_at = ?5, TRUE))
    ELSE EXISTS (SELECT 1 FROM access_keys WHERE id = ?1 AND ${LIVE}) AND ${hasRoom('?4', '?1')} END`;

/** The id of the successor for this asker, and the one for the other. */
function successorsOf(env: Secrets, id: string, asker: Rotation['asker']): Promise<[string, string]> {
  const idFor = (whom: Rotation['asker']) => keyIdFrom(env, JSON.stringify(['rotate', id, whom]));
  return Promise.all([idFor(asker), idFor(asker === 'itself' ? 'holder' : 'itself')]);
}

function succession(env: Database, old: AccessKey, id: string, { days, maxDays, by }: Rotation): D1PreparedStatement[] {
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
      `INSERT INTO access_keys (id, owner, name, statements, created_at, created_by, expires_at)
       SELECT ?1, owner, name, statements, unixepoch(), ?3, unixepoch() + coalesce(?4, min(expires_at - created_at, ?5))
       FROM access_keys WHERE id = ?2 ON CONFLICT DO NOTHING`,
    ).bind(id, old.id, by.subject, days && days * DAY, maxDays * DAY),
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

async function whyNotRotated(env: Database, old: AccessKey, successors: string[]): Promise<RegistryError> {
  const { state } = await getKey(env, old.id);
  if (state !== 'active') return ended(state);
  const there = await Promise.all(successors.map((id) => select(env, id).first<Row>()));
  const successor = there.find((row) => row !== null);
  return successor ? conflict(`this key was replaced already, by ${successor.id}`) : noRoom(env, old.owner);
}
