/**
 * Moves the tags and manifests that a lifecycle rule selected to the trash. Each deletion is one batch. The batch fails if
 * content has changed since the rule selected it.
 */
import { type Env, settings, type Vars } from '../../env.ts';
import { type Batch, type Database, newBatch } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { isRefusal, Refusal } from '../../vocabulary/refusal.ts';
import { forgetManifests } from '../known-manifests.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { type DeletedTag, deleteTags, tagsOfList, tagsWithoutSubject } from '../tags/changes.ts';
import { MUTABILITY_RULE } from '../tags/mutability.ts';
import { type AttachedTag, type ReferencingManifest, trashManifests } from './drop.ts';
import { type DocumentRow, INLINE_REFERENCES, referencesOf } from './manifests.ts';

type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars;

/** @throws deletion-disabled if the registry's settings forbid deletions */
export function requireDeletion(env: Vars): void {
  if (settings(env).deletion) return;
  throw new Refusal('deletion-disabled');
}

/** Returns the manifests in `digests` that exist, each with the digests that its document references. */
export async function referencesIn(env: Stores, repository: RepositoryName, digests: Digest[]): Promise<ReferencingManifest[]> {
  const { results } = await prepare(
    env,
    `SELECT m.digest, m.object_key, ${INLINE_REFERENCES} FROM json_each(:digests) d
     CROSS JOIN manifests m ON m.repository_id = ${REPOSITORY_ID} AND m.digest = d.value`,
    { repository, digests },
  ).all<DocumentRow>();
  const manifests: ReferencingManifest[] = [];
  // Documents are read one after the other. Several long documents at once could use up the memory of the isolate.
  for (const row of results) {
    const references = (await referencesOf(env, row)) ?? (await referencesByRow(env, repository, row.digest));
    manifests.push({ digest: row.digest, references });
  }
  return manifests;
}

/**
 * Returns the references of a manifest whose document is missing. The query reads all references of the repository, because
 * this case is too rare for an index.
 */
async function referencesByRow(env: Database, repository: RepositoryName, parent: Digest): Promise<Digest[]> {
  const { results } = await prepare(
    env,
    `SELECT child FROM manifest_references WHERE repository_id = ${REPOSITORY_ID} AND parent = :parent`,
    { repository, parent },
  ).all<{ child: Digest }>();
  return results.map(({ child }) => child);
}

/** Content to delete, as a lifecycle rule selected it. */
export interface ExpiredContent {
  /**
   * The mutability rule of the repository at the time of the selection. If the repository has another rule by the time of the
   * deletion, nothing is deleted.
   */
  rule: string;
  /**
   * The tags to delete. A tag that names another digest by the time of the deletion is kept. `reserved` is true for an
   * immutable tag: after the deletion its name may only be used for the same digest.
   */
  tags: { tag: Tag; digest: Digest; reserved: boolean }[];
  /**
   * The manifests to delete, in levels. Each level is deleted after the level before it. Parents are in an earlier level than
   * their children, and subjects in an earlier level than their referrers.
   */
  levels: Digest[][];
  /** Tags that are attached to these manifests by their name. An attached tag is deleted only if its subject was deleted. */
  attached?: AttachedTag[];
}

/** SQL condition: no tag names the manifest `m`, no manifest references it, and its subject does not exist. */
export const IS_UNREFERENCED = `NOT EXISTS (
    SELECT 1 FROM tags INDEXED BY tags_by_digest WHERE repository_id = ${REPOSITORY_ID} AND digest = m.digest)
  AND NOT EXISTS (SELECT 1 FROM manifest_references WHERE repository_id = ${REPOSITORY_ID} AND child = m.digest)
  AND NOT EXISTS (SELECT 1 FROM manifests s WHERE s.repository_id = ${REPOSITORY_ID} AND s.digest = m.subject)`;

/** SQL condition: nothing references the manifest `m`, and no lease protects it. */
const IS_DELETABLE = `${IS_UNREFERENCED} AND m.leased_until <= unixepoch()`;

export interface DeletedContent {
  tags: DeletedTag[];
  manifests: Digest[];
}

/**
 * Deletes the selected content in one batch.
 * @param options.reason the lifecycle rule, as text for users
 * @param options.whole true if nothing may be deleted when any part of the content has changed since its selection
 * @returns the tags and manifests that were deleted
 * @throws deletion-disabled
 */
export async function deleteExpired(
  env: Stores,
  repository: RepositoryName,
  { rule, tags, levels, attached = [] }: ExpiredContent,
  { whole = false, ...deletion }: { by: Actor; reason: string; whole?: boolean },
): Promise<DeletedContent> {
  requireDeletion(env);
  const known = new Map((await referencesIn(env, repository, levels.flat())).map((manifest) => [manifest.digest, manifest]));
  const batch = newBatch(env);
  batch.require('overtaken', `${MUTABILITY_RULE} = :rule`, { repository, rule });
  if (whole) requireUnchanged(batch, repository, [...tags, ...attached], levels.flat());
  const deletedTags = [deleteTags(batch, repository, tagsOfList(tags), deletion, { toTrash: true })];
  const deletedManifests = levels.map((level) => {
    const manifests = level.flatMap((digest) => known.get(digest) ?? []);
    const moved = trashManifests(batch, repository, manifests, deletion, IS_DELETABLE)();
    const own = attached.filter(({ subject }) => level.includes(subject));
    if (own.length > 0) {
      deletedTags.push(deleteTags(batch, repository, tagsWithoutSubject(own), deletion, { toTrash: true }));
    }
    return moved;
  });
  // The batch fails if one of the manifests was kept, because something references it by now.
  if (whole) batch.require('overtaken', `${COUNT_OF_MANIFESTS} = 0`, { repository, manifests: levels.flat() });
  try {
    const results = await batch.commit().finally(() => forgetManifests(env));
    return {
      tags: deletedTags.flatMap((handle) => results.of(handle)),
      manifests: deletedManifests.flatMap((handle) => results.of(handle).map(({ digest }) => digest)),
    };
  } catch (error) {
    if (isRefusal(error, 'overtaken')) return { tags: [], manifests: [] };
    throw error;
  }
}

/** An SQL expression: the number of manifests in `:manifests` that exist. */
const COUNT_OF_MANIFESTS = `(SELECT count(*) FROM json_each(:manifests)
  CROSS JOIN manifests m ON m.repository_id = ${REPOSITORY_ID} AND m.digest = value)`;

/**
 * Adds a precondition to the batch: each tag still names the same digest and each manifest exists. Otherwise the batch fails
 * with `overtaken`.
 */
function requireUnchanged(batch: Batch, repository: RepositoryName, tags: DeletedTag[], manifests: Digest[]): void {
  const { sql, parameters } = tagsOfList(tags.map(({ tag, digest }) => ({ tag, digest, reserved: false })));
  batch.require(
    'overtaken',
    `(SELECT count(*) FROM (${sql})) = json_array_length(:listed) AND ${COUNT_OF_MANIFESTS} = json_array_length(:manifests)`,
    { ...parameters, repository, manifests },
  );
}
