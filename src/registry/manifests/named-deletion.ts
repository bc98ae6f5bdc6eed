/**
 * Moves tags and manifests that a client names to the trash: one of them by the OCI API, or several by the management API. A
 * deletion is one batch, so it deletes everything that was named or nothing.
 */
import type { Env, Vars } from '../../env.ts';
import { type Batch, type Database, newBatch } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { type Parameters, prepare } from '../../events/sql.ts';
import type { Condition } from '../../oci/condition.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Reference, Tag } from '../../oci/reference.ts';
import { type Particulars, Refusal } from '../../vocabulary/refusal.ts';
import { forgetManifests } from '../known-manifests.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { type DeletedTag, deleteTags, type TagSelection, tagsNamed, tagsNaming, tagsWithoutSubject } from '../tags/changes.ts';
import { requireCondition } from '../tags/guards.ts';
import { type Judgement, requireMutable, withMutabilityRule } from '../tags/mutability.ts';
import { type DeletedContent, IS_UNREFERENCED, referencesIn, requireDeletion } from './deletion.ts';
import { type AttachedTag, attachedBelow, type ReferencingManifest, trashManifests } from './drop.ts';
import { unknownManifest } from './manifests.ts';

type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars;

/** Content that a client wants to delete. */
export interface NamedContent {
  tags: Tag[];
  digests: Digest[];
  /**
   * The manifests in `digests` that the client did not name. They are deleted only if no tag or manifest outside this deletion
   * needs them.
   */
  orphans?: Digest[];
}

interface NamedDeletion {
  by: Actor;
  /** The If-Match or If-None-Match condition of a request about one tag or manifest. */
  condition?: Condition | null;
  /** The tags that the client saw in a preview and expects to be deleted. `null` if the client expects nothing. */
  expected?: DeletedTag[] | null;
}

/**
 * Endpoint end-9: deletes a tag, or a manifest with its tags.
 * @param condition the condition of the request: which digest the tag must name, or that the manifest must exist
 * @throws manifest-unknown, content-referenced, deletion-disabled, tag-immutable, condition-failed
 */
export async function deleteManifest(
  env: Stores,
  repository: RepositoryName,
  { tag, digest }: Reference,
  condition: Condition | null,
  by: Actor,
): Promise<DeletedContent> {
  const named = { tags: tag === undefined ? [] : [tag], digests: digest === undefined ? [] : [digest] };
  return deleteNamed(env, repository, named, { condition, by });
}

/**
 * Deletes tags and manifests. A manifest is deleted with its tags and with the signatures, attestations and SBOMs that are
 * attached to it by a tag.
 * @throws manifest-unknown, content-referenced, deletion-disabled, tag-immutable, condition-failed; version-mismatch if the
 * tags are not those expected; conflict if a tag or manifest outside this deletion needs an orphan by now
 */
export async function deleteNamed(
  env: Stores,
  repository: RepositoryName,
  named: NamedContent,
  deletion: NamedDeletion,
): Promise<DeletedContent> {
  requireDeletion(env);
  await requireShortDocuments(env, repository, named.digests);
  const manifests = named.digests.length === 0 ? [] : await referencesIn(env, repository, named.digests);
  const [only] = named.digests;
  if (manifests.length === 0 && only !== undefined) throw unknownManifest(repository, { digest: only });
  requireFewReferences(manifests);
  const attached = await findAttached(env, repository, named.digests);
  return withMutabilityRule(env, repository, (judgement) =>
    deleteOnce(env, repository, { named, manifests, attached, judgement }, deletion),
  );
}

/** The maximum number of bytes of documents that one request reads from R2 to find the references of manifests. */
const DOCUMENTS_MAX_BYTES = 16 * 1024 * 1024;

/** @throws too-much-work if the documents of several manifests are too long to read in one request */
export async function requireShortDocuments(env: Database, repository: RepositoryName, digests: Digest[]): Promise<void> {
  if (digests.length <= 1) return;
  const bytes = await prepare(
    env,
    `SELECT total(m.size) AS bytes FROM json_each(:digests) d CROSS JOIN manifests m
     ON m.repository_id = ${REPOSITORY_ID} AND m.digest = d.value WHERE m.object_key IS NOT NULL`,
    { repository, digests },
  ).first<number>('bytes');
  if ((bytes ?? 0) > DOCUMENTS_MAX_BYTES) throw tooMuch();
}

function tooMuch(): Refusal {
  return new Refusal('too-much-work', {
    message: 'these images consist of too many parts to delete them at once. Nothing was deleted: name fewer of them',
  });
}

/**
 * The maximum number of bytes of digests that the manifests of one deletion may reference. Each million bytes takes several SQL
 * statements.
 */
const REFERENCES_MAX_BYTES = 2_000_000;

/** @throws too-much-work if several manifests have too many references for one request */
function requireFewReferences(manifests: ReferencingManifest[]): void {
  const bytes = manifests.reduce((sum, { references }) => sum + references.reduce((all, { length }) => all + length + 3, 0), 0);
  if (manifests.length <= 1 || bytes <= REFERENCES_MAX_BYTES) return;
  throw tooMuch();
}

interface Found {
  named: NamedContent;
  manifests: ReferencingManifest[];
  attached: AttachedLevel[];
  judgement: Judgement;
}

async function deleteOnce(
  env: Stores,
  repository: RepositoryName,
  { named, manifests, attached, judgement }: Found,
  { by, condition = null, expected = null }: NamedDeletion,
): Promise<DeletedContent> {
  const { tags, digests, orphans = [] } = named;
  const [ofNames, ofManifests] = [tagsNamed(tags, digests), tagsNaming(digests)];
  const changing = { sql: `${ofNames.sql} UNION ALL ${ofManifests.sql}`, parameters: ofNames.parameters };
  const names = judgement.rule === '' || digests.length === 0 ? tags : await namesOf(env, repository, changing);
  const batch = newBatch(env);
  requireUnheld(batch, repository, orphans, named);
  requireUnreferenced(batch, env, repository, digests);
  // If the tag does not exist, the answer is 404, even if the request has a condition (RFC 9110, 13.2.1). So this precondition
  // comes first.
  requirePresent(batch, env, repository, named, condition !== null);
  requireCondition(batch, env, { repository, digest: digests[0] ?? null, tags, condition });
  if (expected !== null) requireExpected(batch, repository, changing, expected);
  requireMutable(batch, env, repository, changing, { judgement, names }, { instead: 'Nothing was deleted: keep the tag' });
  const deletion = { by, reason: null };
  const deleted = tags.length === 0 ? [] : [deleteTags(batch, repository, ofNames, deletion, { toTrash: true })];
  const moved = [];
  if (manifests.length > 0) {
    const moveToTrash = trashManifests(batch, repository, manifests, deletion, 'TRUE');
    deleted.push(deleteTags(batch, repository, ofManifests, deletion, { toTrash: false }));
    moved.push(moveToTrash());
  }
  for (const level of attached) {
    deleted.push(deleteTags(batch, repository, tagsWithoutSubject(level.tags), deletion, { toTrash: true }));
    moved.push(trashManifests(batch, repository, level.manifests, deletion, IS_UNREFERENCED)());
  }
  const results = await batch.commit().finally(() => forgetManifests(env));
  return {
    tags: deleted.flatMap((handle) => results.of(handle)),
    manifests: moved.flatMap((handle) => results.of(handle).map(({ digest }) => digest)),
  };
}

async function namesOf(
  env: Database,
  repository: RepositoryName,
  { sql, parameters }: Pick<TagSelection, 'sql' | 'parameters'>,
) {
  const { results } = await prepare(env, `SELECT name FROM (${sql})`, { ...parameters, repository }).all<{ name: Tag }>();
  return results.map(({ name }) => name);
}

/**
 * SQL condition on the digest `d.value`: something outside the deletion needs this manifest. That is a tag that is not in
 * `:named`, a manifest that is not in `:gone` and references it, or an existing subject that is not in `:gone`.
 */
export const IS_HELD = `(EXISTS (SELECT 1 FROM tags t INDEXED BY tags_by_digest WHERE t.repository_id = ${REPOSITORY_ID}
    AND t.digest = d.value AND t.name NOT IN (SELECT value FROM json_each(:named)))
  OR EXISTS (SELECT 1 FROM manifest_references x WHERE x.repository_id = ${REPOSITORY_ID} AND x.child = d.value
    AND x.parent NOT IN (SELECT value FROM json_each(:gone)))
  OR EXISTS (SELECT 1 FROM manifests o CROSS JOIN manifests s ON s.repository_id = o.repository_id AND s.digest = o.subject
    WHERE o.repository_id = ${REPOSITORY_ID} AND o.digest = d.value
      AND s.digest NOT IN (SELECT value FROM json_each(:gone))))`;

/**
 * Adds a precondition to the batch: no tag or manifest outside the deletion needs one of the orphans. Otherwise the batch fails
 * with `conflict`.
 */
function requireUnheld(batch: Batch, repository: RepositoryName, orphans: Digest[], { tags, digests }: NamedContent): void {
  if (orphans.length === 0) return;
  batch.require(
    'conflict',
    `NOT EXISTS (SELECT 1 FROM json_each(:orphans) d WHERE ${IS_HELD})`,
    { repository, orphans, named: tags, gone: digests },
    { message: 'somebody came to use an image that was to go with the others. Nothing was deleted: look at it again' },
  );
}

/** SQL query: pairs of a manifest of `:gone` and a manifest outside `:gone` that references it. */
export const HOLDERS = `SELECT x.child, x.parent FROM json_each(:gone) d
  CROSS JOIN manifest_references x ON x.repository_id = ${REPOSITORY_ID} AND x.child = d.value
  WHERE x.parent NOT IN (SELECT value FROM json_each(:gone))`;

/**
 * Adds a precondition to the batch: no manifest outside the deletion references one of these manifests. Otherwise the batch
 * fails with `content-referenced`.
 */
function requireUnreferenced(batch: Batch, env: Database, repository: RepositoryName, digests: Digest[]): void {
  if (digests.length === 0) return;
  const parameters = { repository, gone: digests };
  batch.require('content-referenced', `NOT EXISTS (${HOLDERS})`, parameters, async () => {
    const { results } = await prepare(env, `${HOLDERS} LIMIT 10`, parameters).all<{ child: Digest; parent: Digest }>();
    const [first] = results;
    if (first === undefined) return null;
    const parents = results.filter(({ child }) => child === first.child).map(({ parent }) => parent);
    return { detail: { digest: first.child, referencedBy: parents } };
  });
}

/**
 * SQL query: the tags of `:named` and the manifests of `:gone` that do not exist. If `:stored` is true, a manifest whose
 * document is missing counts as absent.
 */
const ABSENT = `SELECT value AS name FROM json_each(:named)
    WHERE NOT EXISTS (SELECT 1 FROM tags WHERE repository_id = ${REPOSITORY_ID} AND name = value)
  UNION ALL SELECT value FROM json_each(:gone) WHERE NOT EXISTS (SELECT 1 FROM manifests
    WHERE repository_id = ${REPOSITORY_ID} AND digest = value AND (NOT :stored OR object_key IS NOT ''))`;

/** Adds a precondition to the batch: all named tags and manifests exist. Otherwise the batch fails with `manifest-unknown`. */
function requirePresent(
  batch: Batch,
  env: Database,
  repository: RepositoryName,
  { tags, digests }: NamedContent,
  stored: boolean,
): void {
  const parameters: Parameters = { repository, named: tags, gone: digests, stored };
  const [tag] = tags;
  const [digest] = digests;
  const single: Particulars = tag === undefined ? { detail: { digest } } : { message: noTag(tag, repository), detail: { tag } };
  batch.require('manifest-unknown', `NOT EXISTS (${ABSENT})`, parameters, async () => {
    if (tags.length + digests.length === 1) return single;
    const { results } = await prepare(env, ABSENT, parameters).all<{ name: string }>();
    return results.length === 0 ? null : absent(results.map(({ name }) => name));
  });
}

function noTag(tag: Tag, repository: RepositoryName): string {
  return `there is no tag ${tag} in ${repository}`;
}

/**
 * Returns the message and detail of a refusal because named content does not exist.
 * @param names the tags and digests that do not exist
 */
export function absent(names: string[]): Particulars {
  const one = `${names[0]} does not exist in this repository`;
  const many = `${names.length} of these do not exist in this repository, ${names[0]} among them`;
  return { message: `${names.length === 1 ? one : many}. Nothing was deleted`, detail: names.slice(0, 10) };
}

/**
 * Adds a precondition to the batch: the tags to delete are the expected ones. Otherwise the batch fails with
 * `version-mismatch`.
 */
function requireExpected(
  batch: Batch,
  repository: RepositoryName,
  { sql, parameters }: Pick<TagSelection, 'sql' | 'parameters'>,
  expected: DeletedTag[],
): void {
  const found = `SELECT name, digest FROM (${sql})`;
  const listed = `SELECT value ->> 'tag', value ->> 'digest' FROM json_each(:expected)`;
  batch.require('version-mismatch', `NOT EXISTS (${found} EXCEPT ${listed}) AND NOT EXISTS (${listed} EXCEPT ${found})`, {
    ...parameters,
    repository,
    expected,
  });
}

export interface AttachedLevel {
  tags: AttachedTag[];
  /** The manifests that the attached tags name. */
  manifests: ReferencingManifest[];
}

/**
 * Finds the tags that are attached to the given manifests by their name, and the manifests that these tags name, level by
 * level.
 */
export async function findAttached(env: Stores, repository: RepositoryName, digests: Digest[]): Promise<AttachedLevel[]> {
  if (digests.length === 0) return [];
  const levels = await attachedBelow(env, repository, digests);
  if (levels.length === 0) return [];
  const manifests = await referencesIn(env, repository, [...new Set(levels.flat().map((tag) => tag.digest))]);
  return levels.map((tags) => ({
    tags,
    manifests: manifests.filter((manifest) => tags.some((tag) => tag.digest === manifest.digest)),
  }));
}
