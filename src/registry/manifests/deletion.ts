/**
 * Moves the tags and manifests that a lifecycle rule has chosen to the trash. Each deletion is one batch, which requires that
 * the facts on which it is based are unchanged.
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

/** Refuses if the registry's settings forbid deletions. @throws deletion-disabled */
export function requireDeletion(env: Vars): void {
  if (settings(env).deletion) return;
  throw new Refusal('deletion-disabled');
}

/** Returns those manifests of `digests` that exist, with the digests that their documents reference. */
export async function referencesIn(env: Stores, repository: RepositoryName, digests: Digest[]): Promise<ReferencingManifest[]> {
  const { results } = await prepare(
    env,
    `SELECT m.digest, m.object_key, ${INLINE_REFERENCES} FROM json_each(:digests) d
     CROSS JOIN manifests m ON m.repository_id = ${REPOSITORY_ID} AND m.digest = d.value`,
    { repository, digests },
  ).all<DocumentRow>();
  const manifests: ReferencingManifest[] = [];
  // One after the other: several long documents at once could use up the memory of the isolate.
  for (const row of results) {
    const references = (await referencesOf(env, row)) ?? (await referencesByRow(env, repository, row.digest));
    manifests.push({ digest: row.digest, references });
  }
  return manifests;
}

/**
 * Returns the references of a manifest whose document is missing. Reads all references of the repository, because the case is
 * too rare for an index.
 */
async function referencesByRow(env: Database, repository: RepositoryName, parent: Digest): Promise<Digest[]> {
  const { results } = await prepare(
    env,
    `SELECT child FROM manifest_references WHERE repository_id = ${REPOSITORY_ID} AND parent = :parent`,
    { repository, parent },
  ).all<{ child: Digest }>();
  return results.map(({ child }) => child);
}

/** Content to delete, as a lifecycle rule has chosen it. */
export interface ExpiredContent {
  /** The rule on immutable tags at the time of the choice. If the repository has another rule now, nothing is deleted. */
  rule: string;
  /**
   * The tags to delete. A tag that names another digest now is kept. `reserved` is true for an immutable tag, whose name stays
   * reserved for its digest.
   */
  tags: { tag: Tag; digest: Digest; reserved: boolean }[];
  /**
   * The manifests to delete, in levels. Each level is deleted after the one before it, so parents precede their children, and
   * subjects precede their referrers.
   */
  levels: Digest[][];
  /**
   * Tags that are attached to these manifests by their name. Each is deleted after its subject, and only if the subject was
   * deleted.
   */
  attached?: AttachedTag[];
}

/** An SQL condition on a manifest `m`: no tag names it, no manifest references it, and its subject does not exist. */
export const IS_UNREFERENCED = `NOT EXISTS (
    SELECT 1 FROM tags INDEXED BY tags_by_digest WHERE repository_id = ${REPOSITORY_ID} AND digest = m.digest)
  AND NOT EXISTS (SELECT 1 FROM manifest_references WHERE repository_id = ${REPOSITORY_ID} AND child = m.digest)
  AND NOT EXISTS (SELECT 1 FROM manifests s WHERE s.repository_id = ${REPOSITORY_ID} AND s.digest = m.subject)`;

/** An SQL condition on a manifest `m`: it is unreferenced, and no lease protects it. */
const IS_DELETABLE = `${IS_UNREFERENCED} AND m.leased_until <= unixepoch()`;

export interface DeletedContent {
  tags: DeletedTag[];
  manifests: Digest[];
}

/**
 * Deletes expired content in one batch.
 * @param options.reason the lifecycle rule, as text for people
 * @param options.whole true if nothing may be deleted when any part of the content has changed since it was chosen
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
  // This fails if one of the manifests was kept because something references it now.
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

/** Refuses the batch with `overtaken` unless each tag still names the same digest and each manifest exists. */
function requireUnchanged(batch: Batch, repository: RepositoryName, tags: DeletedTag[], manifests: Digest[]): void {
  const { sql, parameters } = tagsOfList(tags.map(({ tag, digest }) => ({ tag, digest, reserved: false })));
  batch.require(
    'overtaken',
    `(SELECT count(*) FROM (${sql})) = json_array_length(:listed) AND ${COUNT_OF_MANIFESTS} = json_array_length(:manifests)`,
    { ...parameters, repository, manifests },
  );
}
