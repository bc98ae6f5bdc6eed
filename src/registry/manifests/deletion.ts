/**
 * Moves tags and manifests to the trash, on the request of a client or by a lifecycle rule. Each deletion is one batch, which
 * requires that the facts on which it is based are unchanged.
 */
import { type Env, settings, type Vars } from '../../env.ts';
import { type Batch, type Database, newBatch } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { prepare } from '../../events/sql.ts';
import type { Condition } from '../../oci/condition.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Reference, Tag } from '../../oci/reference.ts';
import { isRefusal, Refusal } from '../../vocabulary/refusal.ts';
import { requireUnreferenced } from '../blobs.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import {
  type DeletedTag,
  type Deletion,
  deleteTags,
  type TagSelection,
  tagNamed,
  tagsNaming,
  tagsOfList,
  tagsWithoutSubject,
} from '../tags/changes.ts';
import { requireCondition } from '../tags/guards.ts';
import { MUTABILITY_RULE, requireMutable, withMutabilityRule } from '../tags/mutability.ts';
import { type AttachedTag, attachedBelow, type ReferencingManifest, trashManifests } from './drop.ts';
import { type DocumentRow, INLINE_REFERENCES, referencesOf, unknownManifest } from './manifests.ts';

type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars;

/** Refuses if the registry's settings forbid deletions. @throws deletion-disabled */
export function requireDeletion(env: Vars): void {
  if (settings(env).deletion) return;
  throw new Refusal('deletion-disabled');
}

/**
 * Endpoint end-9: deletes a tag, or a manifest with its tags.
 * @param condition the condition of the request: which digest the tag must name, or that the manifest must exist
 * @throws manifest-unknown, content-referenced, deletion-disabled, tag-immutable, condition-failed
 */
export async function deleteManifest(
  env: Stores,
  repository: RepositoryName,
  reference: Reference,
  condition: Condition | null,
  by: Actor,
): Promise<void> {
  requireDeletion(env);
  if (reference.digest !== undefined) await deleteByDigest(env, { repository, digest: reference.digest, condition, by });
  else await deleteTag(env, { repository, tag: reference.tag, condition, by });
}

interface TagDeletion {
  repository: RepositoryName;
  tag: Tag;
  condition: Condition | null;
  by: Actor;
}

async function deleteTag(env: Database, { repository, tag, condition, by }: TagDeletion): Promise<void> {
  const selected = tagNamed(tag);
  await withMutabilityRule(env, repository, async (judgement) => {
    const batch = newBatch(env);
    // For a tag that does not exist, the answer is 404, even if the request has a condition (RFC 9110, 13.2.1).
    batch.require(
      'manifest-unknown',
      `EXISTS (${selected.sql})`,
      { ...selected.parameters, repository },
      {
        message: `there is no tag ${tag} in ${repository}`,
        detail: { tag },
      },
    );
    requireCondition(batch, env, { repository, digest: null, tags: [tag], condition });
    requireMutable(batch, env, repository, selected, { judgement, names: [tag] });
    deleteTags(batch, repository, selected, { by, reason: null }, { toTrash: true });
    await batch.commit();
  });
}

interface ManifestDeletion {
  repository: RepositoryName;
  digest: Digest;
  condition: Condition | null;
  by: Actor;
}

async function deleteByDigest(env: Stores, { repository, digest, condition, by }: ManifestDeletion): Promise<void> {
  const selected = tagsNaming(digest);
  const deletion = { by, reason: null };
  const manifests = await referencesIn(env, repository, [digest]);
  if (manifests.length === 0) throw unknownManifest(repository, { digest });
  const attached = await findAttached(env, repository, digest);
  await withMutabilityRule(env, repository, async (judgement) => {
    const names = judgement.rule === '' ? [] : await namesOf(env, repository, selected);
    const batch = newBatch(env);
    requireUnreferenced(batch, env, repository, digest);
    batch.require(
      'manifest-unknown',
      `EXISTS (SELECT 1 FROM manifests WHERE repository_id = ${REPOSITORY_ID} AND digest = :digest
        ${condition ? "AND object_key IS NOT ''" : ''})`,
      { repository, digest },
      { detail: { digest } },
    );
    requireCondition(batch, env, { repository, digest, tags: [], condition });
    requireMutable(batch, env, repository, selected, { judgement, names });
    const moveToTrash = trashManifests(batch, repository, manifests, deletion, 'TRUE');
    deleteTags(batch, repository, selected, deletion, { toTrash: false });
    moveToTrash();
    for (const level of attached) deleteAttached(batch, repository, level, deletion);
    await batch.commit();
  });
}

interface AttachedLevel {
  tags: AttachedTag[];
  /** The manifests that these tags name. */
  manifests: ReferencingManifest[];
}

/** Finds the tags that are attached to a manifest by their name, and the manifests that they name, level by level. */
async function findAttached(env: Stores, repository: RepositoryName, digest: Digest): Promise<AttachedLevel[]> {
  const levels = await attachedBelow(env, repository, digest);
  if (levels.length === 0) return [];
  const manifests = await referencesIn(env, repository, [...new Set(levels.flat().map((tag) => tag.digest))]);
  return levels.map((tags) => ({
    tags,
    manifests: manifests.filter((manifest) => tags.some((tag) => tag.digest === manifest.digest)),
  }));
}

/**
 * Adds the steps that delete attached tags, and the manifests that they name unless these are still referenced. The subject of
 * the tags is deleted at this point.
 */
function deleteAttached(
  batch: Batch,
  repository: RepositoryName,
  { tags, manifests }: AttachedLevel,
  deletion: Deletion,
): void {
  deleteTags(batch, repository, tagsWithoutSubject(tags), deletion, { toTrash: true });
  trashManifests(batch, repository, manifests, deletion, IS_UNREFERENCED)();
}

async function namesOf(env: Database, repository: RepositoryName, { sql, parameters }: TagSelection): Promise<Tag[]> {
  const { results } = await prepare(env, `SELECT name FROM (${sql})`, { ...parameters, repository }).all<{ name: Tag }>();
  return results.map(({ name }) => name);
}

/** Returns those manifests of `digests` that exist, with the digests that their documents reference. */
async function referencesIn(env: Stores, repository: RepositoryName, digests: Digest[]): Promise<ReferencingManifest[]> {
  const { results } = await prepare(
    env,
    `SELECT m.digest, m.object_key, ${INLINE_REFERENCES} FROM json_each(:digests) d
     CROSS JOIN manifests m ON m.repository_id = ${REPOSITORY_ID} AND m.digest = d.value`,
    { repository, digests },
  ).all<DocumentRow>();
  return Promise.all(
    results.map(async (row) => ({
      digest: row.digest,
      references: (await referencesOf(env, row)) ?? (await referencesByRow(env, repository, row.digest)),
    })),
  );
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
const IS_UNREFERENCED = `NOT EXISTS (
    SELECT 1 FROM tags INDEXED BY tags_by_digest WHERE repository_id = ${REPOSITORY_ID} AND digest = m.digest)
  AND NOT EXISTS (SELECT 1 FROM manifest_references WHERE repository_id = ${REPOSITORY_ID} AND child = m.digest)
  AND NOT EXISTS (SELECT 1 FROM manifests s WHERE s.repository_id = ${REPOSITORY_ID} AND s.digest = m.subject)`;

/** An SQL condition on a manifest `m`: it is unreferenced, and no lease protects it. */
const IS_DELETABLE = `${IS_UNREFERENCED} AND m.leased_until <= unixepoch()`;

interface DeletedContent {
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
    const results = await batch.commit();
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
