/**
 * Restoring tags and manifests from the trash, each with all it needs: decided on what was read, and carried out by one batch
 * that refuses itself where any of it is so no longer.
 */
import type { Env, Vars } from '../../env.ts';
import { type Database, persistently, refuseUnless, tryBatch } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { CONTESTED } from '../tags/guards.ts';
import { type Judgement, judgementOf, RULE } from '../tags/mutability.ts';
import { goneForGood } from './blobs.ts';
import { contentsOf, NOTHING } from './contents.ts';
import { restoring } from './restore-batch.ts';

type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars;

export interface Restored {
  tags: Tag[];
  /** Tags that named it and cannot any more; they stay in the trash. */
  notRestored: Tag[];
  manifests: Digest[];
}

/**
 * With its tags that are free now, what it lists and what refers to it.
 * @throws manifest-unknown where it is not in the trash, conflict where content that it needs is gone for good
 */
export function restoreManifest(env: Stores, repository: RepositoryName, digest: Digest, by: Actor): Promise<Restored> {
  return persistently(async () => {
    const entry = await env.DB.prepare(
      `SELECT r.id, e.tags, t.object_key AS objectKey, coalesce(m.media_type, t.media_type) AS mediaType, t.size
       FROM repositories r JOIN trash e ON e.repository_id = r.id AND e.kind = 'manifest' AND e.name = ?2 AND NOT e.purging
       JOIN trashed_manifests t ON t.repository_id = r.id AND t.digest = e.name
       LEFT JOIN manifests m ON m.repository_id = r.id AND m.digest = e.name WHERE r.name = ?1`,
    )
      .bind(repository, digest)
      .first<{ id: number; tags: string; objectKey: string | null; mediaType: string; size: number }>();
    if (!entry) throw notInTrash();
    const named = JSON.parse(entry.tags) as Tag[];
    const { free, judgement } = await freeTags(env, repository, digest, named);
    const contents = await contentsOf(env, entry.id, { digest, objectKey: entry.objectKey });
    const restore = { ...entry, repository, digest, tags: free, judgement, contents, by };
    const done = await tryBatch(env, [
      requireEntry(env, entry.id, "kind = 'manifest' AND name = ?2 AND tags = ?3", digest, entry.tags),
      ...restoring(env, restore),
    ]);
    return done && { tags: free, notRestored: named.filter((tag) => !free.includes(tag)), manifests: contents.manifests };
  }, noReason);
}

/**
 * With its manifest, where that is in the trash too; the other tags of that one stay there.
 * @throws manifest-unknown where it is not in the trash, conflict where it cannot name what it did
 */
export function restoreTag(env: Stores, repository: RepositoryName, tag: Tag, by: Actor): Promise<Restored> {
  return persistently(async () => {
    const entry = await findTag(env, repository, tag);
    const { free, judgement } = await freeTags(env, repository, entry.digest, [tag]);
    if (free.length === 0) throw taken(tag);
    const { id, digest, objectKey } = entry;
    const contents = entry.isThere ? NOTHING : await contentsOf(env, id, { digest, objectKey });
    const done = await tryBatch(env, [
      requireEntry(env, id, "kind = 'tag' AND name = ?2 AND digest = ?3", tag, digest),
      ...restoring(env, { ...entry, repository, tags: free, judgement, contents, by }),
    ]);
    return done && { tags: free, notRestored: [], manifests: contents.manifests };
  }, noReason);
}

interface TagEntry {
  id: number;
  digest: Digest;
  mediaType: string;
  size: number;
  objectKey: string | null;
  isThere: number;
}

/** @throws manifest-unknown, conflict where what it named is gone for good */
async function findTag(env: Stores, repository: RepositoryName, tag: Tag): Promise<TagEntry> {
  const entry = await env.DB.prepare(
    `SELECT r.id, e.digest, coalesce(m.media_type, t.media_type) AS mediaType, coalesce(m.size, t.size) AS size,
       t.object_key AS objectKey, m.digest IS NOT NULL AS isThere
     FROM repositories r JOIN trash e ON e.repository_id = r.id AND e.kind = 'tag' AND e.name = ?2 AND NOT e.purging
     LEFT JOIN manifests m ON m.repository_id = r.id AND m.digest = e.digest AND m.object_key IS NOT ''
     LEFT JOIN trashed_manifests t ON t.repository_id = r.id AND t.digest = e.digest WHERE r.name = ?1`,
  )
    .bind(repository, tag)
    .first<Omit<TagEntry, 'mediaType'> & { mediaType: string | null }>();
  if (!entry) throw notInTrash();
  const { mediaType } = entry;
  if (mediaType === null) throw goneForGood([entry.digest]);
  return { ...entry, mediaType };
}

/** What refuses it is found by the next try, which reads everything anew. */
const noReason = async () => null;

/** Of tags, those that are not there, and are not kept for something else by a rule that makes them immutable. */
async function freeTags(
  env: Database,
  repository: RepositoryName,
  digest: Digest,
  tags: Tag[],
): Promise<{ free: Tag[]; judgement: Judgement }> {
  const names = JSON.stringify(tags);
  const [rule, there, contested] = await env.DB.batch<{ name: Tag }>([
    env.DB.prepare(`SELECT ${RULE} AS name`).bind(repository),
    env.DB.prepare(
      `SELECT t.name FROM repositories r JOIN tags t ON t.repository_id = r.id
       WHERE r.name = ?1 AND t.name IN (SELECT value FROM json_each(?2))`,
    ).bind(repository, names),
    env.DB.prepare(`SELECT name FROM (${CONTESTED})`).bind(repository, names, digest),
  ]);
  const namesIn = (result: D1Result<{ name: Tag }> | undefined) => result?.results.map(({ name }) => name) ?? [];
  const judgement = judgementOf(namesIn(rule)[0] ?? '');
  const movable = judgement.free(tags);
  const blocked = [...namesIn(there), ...namesIn(contested).filter((tag) => !movable.includes(tag))];
  return { free: tags.filter((tag) => !blocked.includes(tag)), judgement };
}

/** @param condition SQL of a row of the trash; ?2 and ?3 are its parameters */
function requireEntry(env: Database, id: number, condition: string, second: string, third: string): D1PreparedStatement {
  const entry = `SELECT 1 FROM trash WHERE repository_id = ?1 AND ${condition} AND NOT purging`;
  return refuseUnless(env, `EXISTS (${entry})`, id, second, third);
}

export function notInTrash(): Refusal {
  return new Refusal('manifest-unknown', { message: 'there is nothing of this name in the trash' });
}

function taken(tag: Tag): Refusal {
  return new Refusal('conflict', {
    message: `the tag ${tag} exists by now, or is kept for something else: to move it, roll it back`,
  });
}
