/** Taking manifests and tags away: by reference, while nothing needs them. */
import type { Env } from '../env.ts';
import { commit, type Database, refuseUnless, tryBatch } from '../events/batch.ts';
import type { Actor } from '../events/event.ts';
import { record } from '../events/outbox.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Reference, Tag } from '../oci/reference.ts';
import { stillReferenced } from './blobs.ts';
import { getManifest, HERE, unknownManifest } from './manifests.ts';

type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'>;

/** end-9. A tag goes alone; a digest goes with its tags. @throws MANIFEST_UNKNOWN, UNSUPPORTED */
export async function deleteManifest(env: Stores, repository: RepositoryName, reference: Reference, by: Actor): Promise<void> {
  if (reference.digest) await deleteByDigest(env, repository, reference.digest, by);
  else await deleteTag(env, repository, reference.tag, by);
}

async function deleteTag(env: Database, repository: RepositoryName, tag: Tag, by: Actor): Promise<void> {
  const [, deleted] = await commit(env, [
    record(env, {
      about: repository,
      by,
      select: `SELECT 'tag.deleted' AS type, json_object('tag', name, 'digest', digest) AS target
        FROM tags WHERE repository_id = ${HERE} AND name = ?3`,
      parameters: [tag],
    }),
    env.DB.prepare(`DELETE FROM tags WHERE repository_id = ${HERE} AND name = ?2 RETURNING name`).bind(repository, tag),
  ]);
  if (!deleted?.results.length) throw unknownManifest({ tag });
}

async function deleteByDigest(env: Stores, repository: RepositoryName, digest: Digest, by: Actor): Promise<void> {
  const references = await getReferences(env, repository, digest);
  const parents = `SELECT parent FROM manifest_references WHERE repository_id = ${HERE} AND child = ?2`;
  const deleted = await tryBatch(env, [
    refuseUnless(env, `NOT EXISTS (${parents})`, repository, digest),
    record(env, {
      about: repository,
      by,
      select: `SELECT 'tag.deleted' AS type, json_object('tag', name, 'digest', digest) AS target
          FROM tags INDEXED BY tags_by_digest WHERE repository_id = ${HERE} AND digest = ?3
        UNION ALL SELECT 'manifest.deleted', json_object('digest', digest, 'mediaType', media_type)
          FROM manifests WHERE repository_id = ${HERE} AND digest = ?3`,
      parameters: [digest],
    }),
    env.DB.prepare(`DELETE FROM tags INDEXED BY tags_by_digest WHERE repository_id = ${HERE} AND digest = ?2`).bind(
      repository,
      digest,
    ),
    env.DB.prepare(
      `DELETE FROM manifest_references WHERE repository_id = ${HERE} AND parent = ?2
         AND child IN (SELECT value FROM json_each(?3))`,
    ).bind(repository, digest, JSON.stringify(references)),
    env.DB.prepare(
      `INSERT INTO tombstones (object_key, made_at) SELECT object_key, unixepoch() FROM manifests
       WHERE repository_id = ${HERE} AND digest = ?2 AND object_key > '' ON CONFLICT DO NOTHING`,
    ).bind(repository, digest),
    env.DB.prepare(`DELETE FROM manifests WHERE repository_id = ${HERE} AND digest = ?2 RETURNING digest`).bind(
      repository,
      digest,
    ),
  ]);
  if (deleted?.at(-1)?.results.length) return;
  if (deleted) throw unknownManifest({ digest });
  const { results } = await env.DB.prepare(`${parents} LIMIT 10`).bind(repository, digest).all<{ parent: string }>();
  throw stillReferenced(
    digest,
    results.map((row) => row.parent),
  );
}

/** The children of a manifest are in its document; no index is kept for the one time they are needed, its deletion. */
async function getReferences(env: Stores, repository: RepositoryName, digest: Digest): Promise<string[]> {
  const { text } = await getManifest(env, repository, { digest });
  const document = JSON.parse(text) as Record<string, unknown>;
  const descriptors = [document.config, document.layers, document.manifests].flat() as ({ digest?: string } | undefined)[];
  return [...new Set(descriptors.flatMap((descriptor) => descriptor?.digest ?? []))];
}
