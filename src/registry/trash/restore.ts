/**
 * Restores tags and manifests from the trash, each with all content that it needs. If what a restore read has changed when its
 * batch runs, the batch fails and the restore starts again.
 */
import { type Env, settings, type Vars } from '../../env.ts';
import { type Batch, type Database, type Handle, newBatch, type Results, withRetries } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { recordImageEvent } from '../../events/outbox.ts';
import { type Parameters, prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { changeTags, restoreTags } from '../tags/changes.ts';
import { tagsHeldByOthers } from '../tags/guards.ts';
import { type Judgement, judgementOf, MUTABILITY_RULE, requireMutable } from '../tags/mutability.ts';
import { rebalanceManifests } from '../usage/counting.ts';
import { rebalanceSums } from '../usage/sums.ts';
import { type Contents, contentsOf, NO_CONTENTS } from './contents.ts';
import { contentGone, TRASHED_REFERENCES, unmetReferences } from './references.ts';

type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars;

export interface Restored {
  tags: Tag[];
  /** The tags of the manifest that stay in the trash, because tags with these names exist now. */
  notRestored: Tag[];
  manifests: Digest[];
  /** The tags of signatures, attestations and SBOMs that are restored with their images. */
  attachedTags: Tag[];
  /** The number of bytes by which the repository has grown. */
  bytes: number;
  /** True if referrers stay in the trash. */
  withoutReferrers: boolean;
}

interface Restore {
  /** The id of the repository. */
  id: number;
  repository: RepositoryName;
  digest: Digest;
  mediaType: string;
  size: number;
  /** The tags that will name the manifest again. */
  tags: Tag[];
  judgement: Judgement;
  contents: Contents;
  by: Actor;
}

/**
 * Restores a manifest. Also restores those of its tags whose names are free, the manifests that it lists, and its referrers.
 * @throws manifest-unknown if the manifest is not in the trash; content-gone, limit-reached
 */
export function restoreManifest(env: Stores, repository: RepositoryName, digest: Digest, by: Actor): Promise<Restored> {
  return withRetries(async () => {
    const entry = await prepare(
      env,
      `SELECT r.id, e.tags, t.object_key AS objectKey, coalesce(m.media_type, t.media_type) AS mediaType, t.size
       FROM repositories r JOIN trash e ON e.repository_id = r.id AND e.kind = 'manifest' AND e.name = :digest AND NOT e.purging
       JOIN trashed_manifests t ON t.repository_id = r.id AND t.digest = e.name
       LEFT JOIN manifests m ON m.repository_id = r.id AND m.digest = e.name WHERE r.name = :repository`,
      { repository, digest },
    ).first<{ id: number; tags: string; objectKey: string | null; mediaType: string; size: number }>();
    if (!entry) throw notInTrash();
    const { id, mediaType, size, objectKey } = entry;
    const named = JSON.parse(entry.tags) as Tag[];
    const { free, judgement } = await freeTags(env, repository, digest, named);
    const contents = await contentsOf(env, id, { digest, objectKey });
    const batch = newBatch(env);
    requireEntry(batch, "kind = 'manifest' AND name = :digest AND tags = :tags", { id, digest, tags: entry.tags });
    const done = restore(batch, env, { id, repository, digest, mediaType, size, tags: free, judgement, contents, by });
    return { ...done(await batch.commit()), notRestored: named.filter((tag) => !free.includes(tag)) };
  });
}

/**
 * Restores a tag, and the manifest that it named if that is in the trash. Other tags of the manifest stay in the trash. @throws
 * manifest-unknown if the tag is not in the trash; conflict if a tag with this name exists; content-gone, limit-reached
 */
export function restoreTag(env: Stores, repository: RepositoryName, tag: Tag, by: Actor): Promise<Restored> {
  return withRetries(async () => {
    const { id, digest, mediaType, size, objectKey, isThere } = await findTag(env, repository, tag);
    const { free, judgement } = await freeTags(env, repository, digest, [tag]);
    if (free.length === 0) throw taken(tag);
    const contents = isThere ? NO_CONTENTS : await contentsOf(env, id, { digest, objectKey });
    const batch = newBatch(env);
    requireEntry(batch, "kind = 'tag' AND name = :tag AND digest = :digest", { id, tag, digest });
    const done = restore(batch, env, { id, repository, digest, mediaType, size, tags: free, judgement, contents, by });
    return done(await batch.commit());
  });
}

interface TagEntry {
  id: number;
  digest: Digest;
  mediaType: string;
  size: number;
  objectKey: string | null;
  /** 1 if the manifest exists outside of the trash, otherwise 0. */
  isThere: number;
}

/** Reads the trash entry of a tag. @throws manifest-unknown; content-gone if the manifest that the tag named was purged */
async function findTag(env: Stores, repository: RepositoryName, tag: Tag): Promise<TagEntry> {
  const entry = await prepare(
    env,
    `SELECT r.id, e.digest, coalesce(m.media_type, t.media_type) AS mediaType, coalesce(m.size, t.size) AS size,
       t.object_key AS objectKey, m.digest IS NOT NULL AS isThere
     FROM repositories r JOIN trash e ON e.repository_id = r.id AND e.kind = 'tag' AND e.name = :tag AND NOT e.purging
     LEFT JOIN manifests m ON m.repository_id = r.id AND m.digest = e.digest AND m.object_key IS NOT ''
     LEFT JOIN trashed_manifests t ON t.repository_id = r.id AND t.digest = e.digest WHERE r.name = :repository`,
    { repository, tag },
  ).first<Omit<TagEntry, 'mediaType'> & { mediaType: string | null }>();
  if (!entry) throw notInTrash();
  const { mediaType } = entry;
  if (mediaType === null) throw contentGone([entry.digest]);
  return { ...entry, mediaType };
}

/** Returns those of the tags that do not exist and whose names are not reserved for another digest. */
async function freeTags(
  env: Database,
  repository: RepositoryName,
  digest: Digest,
  tags: Tag[],
): Promise<{ free: Tag[]; judgement: Judgement }> {
  const held = tagsHeldByOthers(tags, digest);
  const batch = newBatch(env);
  const rule = batch.query<{ rule: string }>(`SELECT ${MUTABILITY_RULE} AS rule`, { repository });
  const existing = batch.query<{ name: Tag }>(
    `SELECT t.name FROM repositories r JOIN tags t ON t.repository_id = r.id
     WHERE r.name = :repository AND t.name IN (SELECT value FROM json_each(:tags))`,
    { repository, tags },
  );
  const heldByOthers = batch.query<{ name: Tag }>(`SELECT name FROM (${held.sql})`, { ...held.parameters, repository });
  const results = await batch.commit();
  const judgement = judgementOf(results.first(rule)?.rule ?? '');
  const movable = judgement.free(tags);
  const blocked = new Set([
    ...results.of(existing).map(({ name }) => name),
    ...results.of(heldByOthers).flatMap(({ name }) => (movable.includes(name) ? [] : [name])),
  ]);
  return { free: tags.filter((tag) => !blocked.has(tag)), judgement };
}

/**
 * Adds a precondition to the batch: the SQL `condition` holds for a trash entry. Otherwise the batch fails with `overtaken`.
 */
function requireEntry(batch: Batch, condition: string, parameters: Parameters): void {
  const entry = `SELECT 1 FROM trash WHERE repository_id = :id AND ${condition} AND NOT purging`;
  batch.require('overtaken', `EXISTS (${entry})`, parameters);
}

/** Adds the statements of a restore to the batch. @returns a function that reads from the results what was restored */
function restore(batch: Batch, env: Stores, restored: Restore): (results: Results) => Restored {
  const { id, repository, digest, mediaType, tags, judgement, contents } = restored;
  batch.require('overtaken', 'EXISTS (SELECT 1 FROM repositories WHERE id = :id AND name = :repository)', { id, repository });
  const existing = 'SELECT 1 FROM tags WHERE repository_id = :id AND name IN (SELECT value FROM json_each(:tags))';
  batch.require('overtaken', `NOT EXISTS (${existing})`, { id, tags });
  const held = tagsHeldByOthers(tags, digest);
  requireMutable(batch, env, repository, held, { judgement, names: tags }, { reason: 'overtaken' });
  const before = batch.query<{ bytes: number }>(BYTES, { id });
  const hasManifests = contents.manifests.length > 0;
  const closing = hasManifests
    ? rebalanceManifests(batch, { id: ':repositoryId', parameters: { repositoryId: id } }, contents.manifests)
    : () => {};
  if (hasManifests) restoreContents(batch, env, restored);
  batch.run(
    `DELETE FROM trash
     WHERE repository_id = :id AND kind = 'tag' AND name IN (SELECT value FROM json_each(:tags)) AND digest = :digest`,
    { id, tags, digest },
  );
  const manifest = 'SELECT 1 FROM manifests WHERE repository_id = :id AND digest = :digest AND media_type = :mediaType';
  batch.require('overtaken', `EXISTS (${manifest})`, { id, digest, mediaType });
  if (tags.length > 0) changeTags(batch, { ...restored, cause: 'restore' });
  const attached = contents.attached.length > 0 ? restoreAttachedTags(batch, restored) : null;
  if (hasManifests) removeEntries(batch, restored);
  closing();
  const after = batch.query<{ bytes: number }>(BYTES, { id });
  return (results) => ({
    ...{ tags, notRestored: [], manifests: contents.manifests, withoutReferrers: contents.withoutReferrers },
    attachedTags: attached ? results.of(attached).map(({ name }) => name) : [],
    bytes: (results.first(after)?.bytes ?? 0) - (results.first(before)?.bytes ?? 0),
  });
}

const BYTES = 'SELECT bytes FROM repository_usage WHERE repository_id = :id';

const TRASHED = `FROM json_each(:manifests) s
  CROSS JOIN trashed_manifests t ON t.repository_id = :id AND t.digest = s.value`;

/**
 * Adds statements to the batch that restore documents, their references and the links to their blobs. Preconditions ensure that
 * all of the content is still in the trash, and that all referenced content exists afterwards (invariant 2).
 */
function restoreContents(batch: Batch, env: Vars, { id, repository, contents, by }: Restore): void {
  const { manifests, inBucket, links, foreign } = contents;
  const lease = settings(env).leaseSeconds;
  const entries = `SELECT 1 ${TRASHED} CROSS JOIN trash e
    ON e.repository_id = t.repository_id AND e.kind = 'manifest' AND e.name = t.digest AND NOT e.purging`;
  batch.require('overtaken', `(SELECT count(*) FROM (${entries})) = json_array_length(:manifests)`, { id, manifests });
  const children = `SELECT child FROM (${TRASHED_REFERENCES})`;
  const addSums = rebalanceSums(batch, { id: ':id', children, parameters: { id, manifests, inBucket } }, manifests);
  batch.run(
    `INSERT INTO repository_blobs (digest, repository_id, leased_until)
     SELECT b.digest, :id, unixepoch() + :lease FROM json_each(:links) l JOIN blobs b ON b.digest = l.value WHERE TRUE
     ON CONFLICT DO UPDATE SET leased_until = max(leased_until, excluded.leased_until)`,
    { id, links, lease },
  );
  recordImageEvent(batch, {
    about: repository,
    by,
    cause: 'restore',
    select: `SELECT 'manifest.restored' AS type,
        json_object('digest', t.digest, 'mediaType', t.media_type, 'size', t.size) AS target
      ${TRASHED} WHERE NOT EXISTS (
        SELECT 1 FROM manifests m WHERE m.repository_id = :id AND m.digest = t.digest AND m.object_key IS NOT '')`,
    parameters: { id, manifests },
  });
  batch.run(
    `INSERT INTO manifests (repository_id, digest, media_type, artifact_type, subject, size, pushed_at, leased_until,
      object_key, content, content_size, platform)
     SELECT :id, t.digest, t.media_type, t.artifact_type, t.subject, t.size, t.pushed_at, unixepoch() + :lease, t.object_key,
       t.content, t.content_size, t.platform
     ${TRASHED} WHERE TRUE
     ON CONFLICT DO UPDATE SET object_key = excluded.object_key, content = excluded.content WHERE object_key = ''`,
    { id, manifests, lease },
  );
  const isForeign = `SELECT 1 FROM json_each(:foreign) f WHERE f.value ->> 'child' = x.child AND f.value ->> 'type' = x.type`;
  batch.require('overtaken', `NOT EXISTS (${unmetReferences('manifests')} AND NOT EXISTS (${isForeign}))`, {
    ...{ id, manifests, inBucket, foreign },
  });
  batch.run(
    `INSERT INTO manifest_references (repository_id, child, parent)
     SELECT DISTINCT :id, child, parent FROM (${TRASHED_REFERENCES}) WHERE TRUE ON CONFLICT DO NOTHING`,
    { id, manifests, inBucket },
  );
  batch.run(
    `DELETE FROM trashed_references
     WHERE (child, repository_id, parent) IN (SELECT child, :id, parent FROM (${TRASHED_REFERENCES}))`,
    { id, manifests, inBucket },
  );
  addSums();
}

/** Adds statements to the batch that restore attached tags (of signatures and so on). A tag whose name is taken is skipped. */
function restoreAttachedTags(batch: Batch, { id, repository, contents: { attached }, by }: Restore): Handle<{ name: Tag }> {
  restoreTags(batch, repository, attached, by);
  return batch.query<{ name: Tag }>(
    `DELETE FROM trash WHERE repository_id = :id AND kind = 'tag' AND (name, digest) IN (
       SELECT t.name, t.digest FROM json_each(:attached) n
       CROSS JOIN tags t ON t.repository_id = :id AND t.name = n.value ->> 'tag' AND t.digest = n.value ->> 'digest')
     RETURNING name`,
    { id, attached },
  );
}

/** Adds statements to the batch that remove the restored manifests from the trash. Tags that stay get entries of their own. */
function removeEntries(batch: Batch, { id, digest, tags, contents: { manifests } }: Restore): void {
  // A manifest that was pushed again after its deletion has two R2 objects. The one in the trash gets a tombstone, so that it
  // is deleted later.
  batch.run(
    `INSERT INTO tombstones (object_key, made_at) SELECT t.object_key, unixepoch() ${TRASHED}
     WHERE t.object_key > '' AND NOT EXISTS (
       SELECT 1 FROM manifests m WHERE m.repository_id = :id AND m.digest = t.digest AND m.object_key = t.object_key)
     ON CONFLICT DO NOTHING`,
    { id, manifests },
  );
  batch.run(
    `INSERT INTO trash (repository_id, kind, name, repository, digest, reason, actor, key_id, deleted_at)
     SELECT :id, 'tag', n.value, e.repository, e.name, e.reason, e.actor, e.key_id, e.deleted_at
     FROM json_each(:manifests) s CROSS JOIN trash e ON e.repository_id = :id AND e.kind = 'manifest' AND e.name = s.value
     CROSS JOIN json_each(e.tags) n WHERE NOT (e.name = :digest AND n.value IN (SELECT value FROM json_each(:tags)))
     ON CONFLICT DO UPDATE SET digest = excluded.digest, reason = excluded.reason, actor = excluded.actor,
       key_id = excluded.key_id,
       deleted_at = excluded.deleted_at WHERE deleted_at < excluded.deleted_at`,
    { id, manifests, digest, tags },
  );
  batch.run('DELETE FROM trashed_manifests WHERE repository_id = :id AND digest IN (SELECT value FROM json_each(:manifests))', {
    ...{ id, manifests },
  });
  batch.run(
    `DELETE FROM trash WHERE repository_id = :id AND kind = 'manifest' AND name IN (SELECT value FROM json_each(:manifests))`,
    { id, manifests },
  );
}

export function notInTrash(): Refusal {
  return new Refusal('manifest-unknown', { message: 'there is nothing of this name in the trash' });
}

function taken(tag: Tag): Refusal {
  return new Refusal('conflict', {
    message: `the tag ${tag} exists, or is reserved for another manifest: nothing was restored. To move the tag, roll it back`,
  });
}
