/** The end of access keys: of one with all that replaced it, or of all that somebody has. */
import { tryBatchTwice } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import type { Database } from '../directory.ts';
import type { Span } from '../within.ts';
import { type AccessKey, LIVE } from './access-keys.ts';

/** SQL: a key and all that replaced it, one after another; where `alone` holds, the key itself. */
function lineage(id: string, alone: string): string {
  return `(WITH RECURSIVE line (id) AS (SELECT ${id} UNION
      SELECT k.id FROM access_keys k JOIN line ON k.replaces = line.id WHERE NOT ${alone})
    SELECT id FROM line)`;
}

/**
 * Ends a key and its successors at once: a thief who had it replaced has its successor. The rows stay for the record. Once is
 * enough: again changes nothing.
 * @param alone the successors go on, for somebody who knows that they did not leak
 */
export async function revokeKey(env: Database, { id, owner }: AccessKey, alone: boolean, by: Actor): Promise<void> {
  await tryBatchTwice(env, [
    record(env, {
      about: aboutOf(owner),
      by,
      select: `SELECT 'key.revoked' AS type, json_object('id', id, 'owner', owner, 'name', name) AS target
        FROM access_keys WHERE id IN ${lineage('?3', '?4')} AND revoked_at IS NULL`,
      parameters: [id, Number(alone)],
    }),
    env.DB.prepare(
      `UPDATE access_keys SET revoked_at = unixepoch(), version = version + 1
       WHERE id IN ${lineage('?1', '?2')} AND revoked_at IS NULL`,
    ).bind(id, Number(alone)),
  ]);
}

/** Keys that one revocation ends beside the key itself. */
const MADE_MAX = 1000;

/** SQL: key ?1 and all that were made with it, or with those, or replaced one of them. */
const FAMILY = `(WITH RECURSIVE family (id) AS (SELECT ?1 UNION
    SELECT k.id FROM family CROSS JOIN access_keys k ON k.replaces = family.id
    UNION SELECT k.id FROM family CROSS JOIN access_keys k ON k.made_with = family.id)
  SELECT id FROM family)`;

/** The keys that can be used and were made with this one, directly or not: a thief of a whole key has those too. */
export async function keysMadeWith(env: Database, id: string): Promise<Pick<AccessKey, 'id' | 'owner'>[]> {
  const { results } = await env.DB.prepare(
    `SELECT id, owner FROM access_keys WHERE id IN ${FAMILY} AND id <> ?1 AND ${LIVE} ORDER BY owner, id LIMIT ${MADE_MAX}`,
  )
    .bind(id)
    .all<Pick<AccessKey, 'id' | 'owner'>>();
  return results;
}

/** Ends keys of one owner, and nothing that replaced them. */
export async function revokeKeys(env: Database, owner: string, ids: readonly string[], by: Actor): Promise<void> {
  const those = (list: string) => `id IN (SELECT value FROM json_each(${list})) AND revoked_at IS NULL`;
  await tryBatchTwice(env, [
    record(env, {
      about: aboutOf(owner),
      by,
      select: `SELECT 'key.revoked' AS type, json_object('id', id, 'owner', owner, 'name', name) AS target
        FROM access_keys WHERE owner = ?4 AND ${those('?3')}`,
      parameters: [JSON.stringify(ids), owner],
    }),
    env.DB.prepare(
      `UPDATE access_keys SET revoked_at = unixepoch(), version = version + 1 WHERE owner = ?2 AND ${those('?1')}`,
    ).bind(JSON.stringify(ids), owner),
  ]);
}

/** For a batch: what revokes all that can be used of the keys of these owners. */
export function revokeKeysOf(env: Database, { from, before }: Span, by: Actor): D1PreparedStatement[] {
  return [
    record(env, {
      about: aboutOf(from),
      by,
      select: `SELECT 'key.revoked' AS type, json_object('id', id, 'owner', owner, 'name', name) AS target
        FROM access_keys WHERE owner >= ?3 AND owner < ?4 AND ${LIVE}`,
      parameters: [from, before],
    }),
    env.DB.prepare(
      `UPDATE access_keys SET revoked_at = unixepoch(), version = version + 1 WHERE owner >= ?1 AND owner < ?2 AND ${LIVE}`,
    ).bind(from, before),
  ];
}
