/** Revokes access keys: one with its successors, or all of one owner. */
import { type Batch, newBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { recordEvent } from '../../events/outbox.ts';
import { type Parameters, prepare } from '../../events/sql.ts';
import type { Database } from '../directory.ts';
import type { SubjectRange } from '../within.ts';
import { type AccessKey, LIVE } from './access-keys.ts';

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
