/**
 * What uploads leave behind that nobody finished: sessions whose time is up, and pieces that no row names. Run by the
 * schedule; each function does a slice and is called again.
 */
import { UPLOADS_PREFIX, uploadIdOf, uploadPrefix } from '../../storage/keys.ts';
import { deleteObjects, listKeys } from '../../storage/objects.ts';
import { discard, type Staged } from '../../storage/staging.ts';
import { releaseStaged } from '../usage/staged.ts';
import type { Session, Stores } from './sessions.ts';

const EXPIRED = 'id < ?1 AND expires_at <= unixepoch()';

/** A statement that answers a row where there are any. @param before as `expireUploads` has it */
export function anyUploadExpired(env: Pick<Stores, 'DB'>, before: string): D1PreparedStatement {
  return env.DB.prepare(`SELECT 1 FROM uploads WHERE ${EXPIRED} LIMIT 1`).bind(before);
}

/**
 * Uploads whose time is up: their bytes go, then their rows. Returns how many; called again while there are any.
 * @param before ids of uploads begun later than this cannot have expired, and are not looked at
 */
export async function expireUploads(env: Stores, before: string, limit: number): Promise<number> {
  const { results } = await env.DB.prepare(`SELECT id, state, staged FROM uploads WHERE ${EXPIRED} LIMIT ?2`)
    .bind(before, limit)
    .all<{ id: string; state: Session['state']; staged: string }>();
  for (const { id, state, staged } of results) {
    if (state === 'open') await discardOpen(env, JSON.parse(staged) as Staged);
    await deleteObjects(env, await listKeys(env, uploadPrefix(id)));
    await env.DB.batch([
      releaseStaged(env, id, 'expires_at <= unixepoch()'),
      env.DB.prepare('DELETE FROM uploads WHERE id = ?1 AND expires_at <= unixepoch()').bind(id),
    ]);
  }
  return results.length;
}

/** A finish may have died between the object of a multipart upload and its row: nobody can publish that object now. */
async function discardOpen(env: Stores, staged: Staged): Promise<void> {
  await discard(env, staged);
  if (staged.multipart) await deleteObjects(env, [staged.multipart.key]);
}

/**
 * Pieces that no row knows of, left by a request that died before its row was written. Looks at one page of old uploads
 * after `startAfter`; returns the key to go on from, `null` at the end.
 * @param before ids of uploads begun later than this are left alone
 */
export async function sweepPieces(env: Stores, before: string, startAfter: string | undefined): Promise<string | null> {
  const keys = (await listKeys(env, UPLOADS_PREFIX, startAfter)).filter((key) => uploadIdOf(key) < before);
  if (keys.length === 0) return null;
  const ids = [...new Set(keys.map(uploadIdOf))];
  const known = await env.DB.prepare('SELECT id FROM uploads WHERE id IN (SELECT value FROM json_each(?1))')
    .bind(JSON.stringify(ids))
    .all<{ id: string }>();
  const alive = new Set(known.results.map((row) => row.id));
  await deleteObjects(
    env,
    keys.filter((key) => !alive.has(uploadIdOf(key))),
  );
  return keys.at(-1) ?? null;
}
