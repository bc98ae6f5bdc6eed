/**
 * Preconditions of batches that change tags: the caller has the rights to the tags, and the request's `If-Match` and
 * `If-None-Match` conditions hold.
 */
import type { Batch, Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { Condition } from '../../oci/condition.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import type { Particulars } from '../../vocabulary/refusal.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import type { TagSelection } from './changes.ts';

/** The rights that the caller lacks, among the tags that a request would make name a manifest. */
interface TagRights {
  /** The tags that the caller may not create. */
  notToMake: Tag[];
  /** The tags that the caller may not move to another manifest. */
  notToMove: Tag[];
}

/** What a request's condition is about: the tags, or the manifest if `tags` is empty. */
interface Conditional {
  repository: RepositoryName;
  /** The digest of the manifest, or `null` if the condition is only about tags. */
  digest: Digest | null;
  tags: Tag[];
  condition: Condition | null;
}

export interface TagPut extends TagRights, Conditional {
  digest: Digest;
}

/** SQL query: the tags in `:tags` that name another digest than `:digest`. */
export const MOVING_TAGS = `SELECT name, digest FROM tags
  WHERE repository_id = ${REPOSITORY_ID} AND name IN (SELECT value FROM json_each(:tags)) AND digest <> :digest`;

/** SQL query: the tags in `:tags` that do not exist. */
const ABSENT_TAGS = `SELECT value AS name FROM json_each(:tags)
  WHERE NOT EXISTS (SELECT 1 FROM tags WHERE repository_id = ${REPOSITORY_ID} AND name = value)`;

/**
 * SQL query: the tags in `:tags` that name another digest than `:digest`, or that were deleted and are reserved for another
 * digest.
 */
const TAGS_HELD_BY_OTHERS = `SELECT value AS name, coalesce(t.digest, h.previous) AS digest FROM json_each(:tags)
  LEFT JOIN tags t ON t.repository_id = ${REPOSITORY_ID} AND t.name = value
  LEFT JOIN tag_history h ON t.name IS NULL AND h.repository_id = ${REPOSITORY_ID} AND h.tag = value AND h.reserved
    AND h.point = (SELECT max(point) FROM tag_history l WHERE l.repository_id = ${REPOSITORY_ID} AND l.tag = value)
  WHERE coalesce(t.digest, h.previous) <> :digest`;

/** Selects the tags that cannot be made to name `digest` if they are immutable. */
export function tagsHeldByOthers(tags: Tag[], digest: Digest): Pick<TagSelection, 'sql' | 'parameters'> {
  return { sql: TAGS_HELD_BY_OTHERS, parameters: { tags, digest } };
}

/**
 * Adds a precondition to the batch: it does not move or create a tag to which the caller lacks the right. Otherwise the batch
 * fails with `forbidden`. Most callers have the rights to all tags; then nothing is added.
 * @param says returns the message and detail of the refusal. `moving` is true if the tags exist and would be moved
 */
export function requireTagRights(
  batch: Batch,
  env: Database,
  { repository, digest, notToMake, notToMove }: TagPut,
  says: (denied: { moving: boolean; tags: unknown[] }) => Particulars,
): void {
  const moving = { repository, digest, tags: notToMove };
  const creating = { repository, tags: notToMake };
  const particulars = async () => {
    const moved = (await prepare(env, MOVING_TAGS, moving).all()).results;
    if (moved.length > 0) return says({ moving: true, tags: moved });
    const absent = (await prepare(env, ABSENT_TAGS, creating).all()).results;
    return absent.length > 0 ? says({ moving: false, tags: absent }) : null;
  };
  if (notToMove.length > 0) batch.require('forbidden', `NOT EXISTS (${MOVING_TAGS})`, moving, particulars);
  if (notToMake.length === 0) return;
  batch.require('forbidden', `NOT EXISTS (${ABSENT_TAGS})`, creating, notToMove.length > 0 ? undefined : particulars);
}

/**
 * SQL query: the digest that each tag in `:tags` names, or '' if the tag does not exist. If `:tags` is empty, the query yields
 * one row for the manifest `:digest`. Its digest is '' if the manifest or its document does not exist.
 */
const CURRENT_DIGESTS = `SELECT value AS name, coalesce(t.digest, '') AS current FROM json_each(:tags)
    LEFT JOIN tags t ON t.repository_id = ${REPOSITORY_ID} AND t.name = value
  UNION ALL SELECT '', coalesce(
      (SELECT digest FROM manifests WHERE repository_id = ${REPOSITORY_ID} AND digest = :digest AND object_key IS NOT ''), '')
    WHERE json_array_length(:tags) = 0`;

/**
 * Adds a precondition to the batch: the tags, or the manifest, meet the condition of the request. Otherwise the batch fails
 * with `reason`.
 */
export function requireCondition(
  batch: Batch,
  env: Database,
  { repository, digest, tags, condition }: Conditional,
  reason: 'condition-failed' | 'version-mismatch' = 'condition-failed',
): void {
  if (condition === null) return;
  const { match, noneMatch } = condition;
  const failing = `SELECT name, current FROM (${CURRENT_DIGESTS}) WHERE ${unmetBy(condition)}`;
  const parameters = { repository, digest, tags, match, noneMatch };
  batch.require(reason, `NOT EXISTS (${failing})`, parameters, async () => {
    const first = await prepare(env, `${failing} LIMIT 1`, parameters).first<{ name: string; current: string }>();
    return first && failedCondition(first);
  });
}

/** Returns an SQL condition: a row of CURRENT_DIGESTS does not meet the condition of the request. */
function unmetBy({ match, noneMatch }: Condition): string {
  const unmet = [
    ...(match === '*' ? ["current = ''"] : match ? ['current NOT IN (SELECT value FROM json_each(:match))'] : []),
    ...(noneMatch === '*' ? ["current <> ''"] : noneMatch ? ['current IN (SELECT value FROM json_each(:noneMatch))'] : []),
  ];
  return unmet.length > 0 ? `(${unmet.join(' OR ')})` : 'FALSE';
}

function failedCondition({ name, current }: { name: string; current: string }): Particulars {
  const what = name === '' ? 'this manifest' : `the tag ${name}`;
  const state = current === '' ? 'does not exist' : name === '' ? 'exists' : `names ${current}`;
  return {
    message: `the condition of this request does not hold: ${what} ${state}. Nothing was changed`,
    detail: name === '' ? undefined : { tag: name, digest: current || null },
  };
}
