/**
 * Moves manifests and their references to the trash. Finds the tags that are attached to manifests by their name, such as the
 * tag `sha256-….sig` of a signature.
 */
import type { Batch, Database, Handle } from '../../events/batch.ts';
import { recordImageEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import { tagsAttachableTo } from '../../oci/attachment.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { causeOf, type Deletion } from '../tags/changes.ts';
import { rebalanceManifests } from '../usage/counting.ts';
import { rebalanceSums } from '../usage/sums.ts';

export interface ReferencingManifest {
  digest: Digest;
  /** The digests that the manifest's document references. */
  references: Digest[];
}

/** The maximum number of bytes of one JSON list of references. D1 accepts parameters of up to 2 MB. */
const LIST_MAX_BYTES = 1_000_000;

/**
 * Adds the statements to the batch that delete the manifests.
 * @returns a handle of the deleted manifests
 */
type MoveToTrash = () => Handle<{ digest: Digest }>;

/**
 * Adds statements to the batch that create trash entries for manifests of the repository. A trash entry stores the names of the
 * manifest's tags, so the tags must still exist. The caller then deletes the tags and calls the returned function, which adds
 * the other statements.
 * @param condition an SQL condition that each manifest `m` must meet until it is moved; it may use `:repository`
 */
export function trashManifests(
  batch: Batch,
  repository: RepositoryName,
  manifests: ReferencingManifest[],
  { by, reason }: Deletion,
  condition: string,
): MoveToTrash {
  const digests = manifests.map(({ digest }) => digest);
  const parameters = { repository, digests };
  const addRemainder = rebalanceManifests(batch, { id: REPOSITORY_ID, parameters: { repository } }, digests);
  batch.run(
    `INSERT OR REPLACE INTO trash (repository_id, kind, name, repository, tags, reason, actor, key_id, deleted_at)
     ${chosen(
       `${REPOSITORY_ID}, 'manifest', m.digest, :repository, (${TAG_NAMES}), :reason, :actor, :key, unixepoch()`,
       condition,
     )}`,
    { ...parameters, reason, actor: by.subject, key: by.key ?? null },
  );
  return () => {
    recordImageEvent(batch, {
      about: repository,
      by,
      cause: causeOf({ reason }),
      select: chosen(
        `'manifest.deleted' AS type,
        json_patch(json_object('digest', m.digest, 'mediaType', m.media_type), json_object('reason', :reason)) AS target`,
        condition,
      ),
      parameters: { ...parameters, reason },
    });
    const addSums = rebalanceAll(batch, repository, manifests);
    copyDocuments(batch, parameters, condition);
    const lists = listsOf(manifests);
    copyReferences(batch, { repository, digests, lists }, condition);
    const moved = batch.query<{ digest: Digest }>(
      `DELETE FROM manifests WHERE repository_id = ${REPOSITORY_ID} AND digest IN (${chosen('m.digest', condition)}) ` +
        `RETURNING digest`,
      parameters,
    );
    deleteReferences(batch, repository, lists);
    addRemainder();
    addSums();
    return moved;
  };
}

/** The maximum number of digests in one SQL parameter. D1 accepts parameters of up to 2 MB. */
const CHILDREN = 12_000;

/**
 * Adds statements to the batch that subtract manifests and their blobs from the stored totals of the repository. The caller
 * then deletes the manifests and calls the returned function, which adds the remaining totals again.
 */
function rebalanceAll(batch: Batch, repository: RepositoryName, manifests: ReferencingManifest[]): () => void {
  const children = [...new Set(manifests.flatMap(({ references }) => references))];
  const closings: (() => void)[] = [];
  for (let from = 0; from === 0 || from < children.length; from += CHILDREN) {
    const parameters = { repository, children: children.slice(from, from + CHILDREN) };
    const touched = { id: REPOSITORY_ID, children: 'SELECT value AS child FROM json_each(:children)', parameters };
    closings.push(rebalanceSums(batch, touched, from === 0 ? manifests.map(({ digest }) => digest) : []));
  }
  return () => closings.forEach((close) => void close());
}

/** Adds statements to the batch that copy the manifests to the trash. They must run before the manifests are deleted. */
function copyDocuments(batch: Batch, parameters: { repository: RepositoryName; digests: Digest[] }, condition: string): void {
  // The trash may already have a manifest with the same digest. That copy is replaced, so the R2 object of its document needs a
  // tombstone.
  batch.run(
    `INSERT OR IGNORE INTO tombstones (object_key, made_at)
     SELECT x.object_key, unixepoch() FROM (${chosen('m.digest, m.object_key', condition)}) c
     CROSS JOIN trashed_manifests x ON x.repository_id = ${REPOSITORY_ID} AND x.digest = c.digest
     WHERE x.object_key > '' AND x.object_key IS NOT c.object_key`,
    parameters,
  );
  batch.run(
    `INSERT OR REPLACE INTO trashed_manifests
       (repository_id, digest, media_type, artifact_type, subject, size, pushed_at, attempt, object_key, content, content_size,
       platform)
     ${chosen(
       `m.repository_id, m.digest, m.media_type, m.artifact_type, m.subject, m.size, m.pushed_at, m.attempt, m.object_key,
       m.content, m.content_size, m.platform`,
       condition,
     )}`,
    parameters,
  );
}

/** Returns an SQL query: the manifests `m` in `:digests` that exist and meet the condition. */
function chosen(columns: string, condition: string): string {
  return `SELECT ${columns} FROM json_each(:digests) CROSS JOIN manifests m
    ON m.repository_id = ${REPOSITORY_ID} AND m.digest = value WHERE ${condition}`;
}

/** SQL query: the names of the tags of manifest `m`. It includes the tags in an older trash entry of the same manifest. */
const TAG_NAMES = `SELECT json_group_array(name) FROM (
  SELECT t.name FROM tags t INDEXED BY tags_by_digest WHERE t.repository_id = ${REPOSITORY_ID} AND t.digest = m.digest
  UNION SELECT o.value FROM trash e, json_each(e.tags) o
    WHERE e.repository_id = ${REPOSITORY_ID} AND e.kind = 'manifest' AND e.name = m.digest)`;

/** SQL join: each manifest `d` in the list `:manifests` with each of its references `r`. */
const PAIRS = `json_each(:manifests) d CROSS JOIN json_each(d.value ->> 'references') r`;

interface References {
  repository: RepositoryName;
  digests: Digest[];
  /** JSON lists of manifests with their references. Each list fits into one SQL parameter. */
  lists: string[];
}

/**
 * Adds statements to the batch that copy the references of the manifests to the trash. They must run before the manifests are
 * deleted.
 */
function copyReferences(batch: Batch, { repository, digests, lists }: References, condition: string): void {
  for (const manifests of lists) {
    batch.run(
      `INSERT OR IGNORE INTO trashed_references (child, repository_id, parent)
       SELECT x.child, x.repository_id, x.parent FROM ${PAIRS} CROSS JOIN manifest_references x
         ON x.repository_id = ${REPOSITORY_ID} AND x.child = r.value AND x.parent = d.value ->> 'digest'
       WHERE d.value ->> 'digest' IN (${chosen('m.digest', condition)})`,
      { repository, digests, manifests },
    );
  }
}

/**
 * Adds statements to the batch that delete the references of the deleted manifests. They must run last. If the references of a
 * parent were deleted earlier, its child would count as unreferenced and would be deleted without a trash entry.
 */
function deleteReferences(batch: Batch, repository: RepositoryName, lists: string[]): void {
  for (const manifests of lists) {
    batch.run(
      `DELETE FROM manifest_references WHERE repository_id = ${REPOSITORY_ID} AND (child, parent) IN (
         SELECT r.value, d.value ->> 'digest' FROM ${PAIRS}
         WHERE NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = ${REPOSITORY_ID}
           AND m.digest = d.value ->> 'digest'))`,
      { repository, manifests },
    );
  }
}

/** Splits the manifests into JSON lists, each short enough for one SQL parameter. */
function listsOf(manifests: ReferencingManifest[]): string[] {
  const lists: string[][] = [];
  let bytes = LIST_MAX_BYTES;
  for (const manifest of manifests) {
    const text = JSON.stringify(manifest);
    if (bytes + text.length > LIST_MAX_BYTES) {
      lists.push([]);
      bytes = 0;
    }
    lists.at(-1)?.push(text);
    bytes += text.length + 1;
  }
  return lists.map((texts) => `[${texts.join()}]`);
}

export interface AttachedTag {
  tag: Tag;
  /** The digest that the tag names. */
  digest: Digest;
  subject: Digest;
}

/** The maximum depth of attached tags, for example of signatures of signatures. Deeper tags are treated as ordinary tags. */
const LEVELS_MAX = 10;

/**
 * Finds the tags attached to some manifests, then the tags attached to the manifests that these tags name, level by level. Each
 * manifest is visited once. If there are no attached tags, this takes one query.
 */
export async function attachedBelow(
  env: Database,
  repository: RepositoryName,
  roots: readonly Digest[],
): Promise<AttachedTag[][]> {
  const levels: AttachedTag[][] = [];
  const seen = new Set<Digest>(roots);
  let subjects: readonly Digest[] = roots;
  while (subjects.length > 0 && levels.length < LEVELS_MAX) {
    const names = subjects.flatMap((subject) => tagsAttachableTo(subject).map((tag) => ({ tag, subject })));
    const { results } = await prepare(
      env,
      `SELECT t.name AS tag, t.digest, value ->> 'subject' AS subject FROM json_each(:names)
       CROSS JOIN tags t ON t.repository_id = ${REPOSITORY_ID} AND t.name = value ->> 'tag'
         AND t.digest <> value ->> 'subject'`,
      { repository, names },
    ).all<AttachedTag>();
    const level = results.filter(({ digest }) => !roots.includes(digest));
    if (level.length > 0) levels.push(level);
    subjects = [...new Set(level.map(({ digest }) => digest))].filter((digest) => !seen.has(digest));
    for (const digest of subjects) seen.add(digest);
  }
  return levels;
}
