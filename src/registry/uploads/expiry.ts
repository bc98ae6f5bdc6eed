/**
 * Removes what unfinished uploads leave behind: expired sessions, and pieces that no row names. The schedule calls these functions;
 * each does a slice of the work and is called again.
 */
import { newBatch } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import { UPLOADS_PREFIX, uploadIdOf, uploadPrefix } from '../../storage/keys.ts';
import { deleteObjects, listKeys } from '../../storage/objects.ts';
import { discard, type Staged } from '../../storage/staging.ts';
import { releaseStaged } from '../usage/staged.ts';
import type { Session, Stores } from './sessions.ts';

/** SQL condition on a row of `uploads`. */
const IS_EXPIRED = 'id < :before AND expires_at <= unixepoch()';

/** A statement that yields a row if an upload has expired. @param before as in `expireUploads` */
export function anyUploadExpired(env: Pick<Stores, 'DB'>, before: string): D1PreparedStatement {
  return prepare(env, `SELECT 1 FROM uploads WHERE ${IS_EXPIRED} LIMIT 1`, { before });
}

/**
 * Deletes the bytes of expired uploads, then their rows. Called again while there are any.
 * @param before ids of uploads that began later than this cannot have expired, and are not looked at
 * @returns how many uploads it removed
 */
export async function expireUploads(env: Stores, before: string, limit: number): Promise<number> {
  const { results } = await prepare(env, `SELECT id, state, staged FROM uploads WHERE ${IS_EXPIRED} LIMIT :limit`, {
    before,
    limit,
  }).all<{ id: string; state: Session['state']; staged: string }>();
  for (const { id, state, staged } of results) {
    if (state === 'open') await discardOpen(env, JSON.parse(staged) as Staged);
    await deleteObjects(env, await listKeys(env, uploadPrefix(id)));
    const batch = newBatch(env);
    releaseStaged(batch, id, 'expires_at <= unixepoch()');
    batch.run('DELETE FROM uploads WHERE id = :id AND expires_at <= unixepoch()', { id });
    await batch.commit();
  }
  return results.length;
}

/** Also deletes a completed multipart object: a finish may have died before it wrote the row, and nobody can publish the object now. */
async function discardOpen(env: Stores, staged: Staged): Promise<void> {
  await discard(env, staged);
  if (staged.multipart) await deleteObjects(env, [staged.multipart.key]);
}

/**
 * Deletes pieces that no row names, left by requests that died before they wrote their row. Looks at up to 1,000 keys.
 * @param before ids of uploads that began later than this are skipped
 * @param startAfter the key after which to begin
 * @returns the key after which to continue; `null` at the end
 */
export async function sweepPieces(env: Stores, before: string, startAfter: string | undefined): Promise<string | null> {
  const keys = (await listKeys(env, UPLOADS_PREFIX, startAfter)).filter((key) => uploadIdOf(key) < before);
  if (keys.length === 0) return null;
  const ids = [...new Set(keys.map(uploadIdOf))];
  const known = await prepare(env, 'SELECT id FROM uploads WHERE id IN (SELECT value FROM json_each(:ids))', { ids }).all<{
    id: string;
  }>();
  const alive = new Set(known.results.map((row) => row.id));
  await deleteObjects(
    env,
    keys.filter((key) => !alive.has(uploadIdOf(key))),
  );
  return keys.at(-1) ?? null;
}
