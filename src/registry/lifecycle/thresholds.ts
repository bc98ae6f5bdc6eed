/**
 * Computes the thresholds of rules that count images. The threshold of a rule is the oldest image that the rule keeps. With
 * thresholds, the rules can be applied to a large repository page by page. D1 computes the thresholds, because its CPU time
 * does not count as CPU time of the Worker.
 */
import { type Batch, type Database, type Handle, newBatch } from '../../events/batch.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import type { LifecyclePolicy, Selection } from './policy.ts';

/**
 * The oldest image that a rule keeps. Older images exceed the rule's count. Of images with the same time, those with a greater
 * digest exceed the count.
 */
export interface Threshold {
  time: number;
  digest: Digest;
}

/** The thresholds, by the priority of the rule. A threshold is `null` if there are fewer images than the rule keeps. */
export type Thresholds = Record<number, Threshold | null>;

/** Computes the threshold of each rule that counts images. For each such rule, D1 reads all tags and manifests once. */
export async function findThresholds(
  env: Database,
  repository: RepositoryName,
  { rules }: LifecyclePolicy,
): Promise<Thresholds> {
  const counting = rules.filter(({ selection }) => selection.countType === 'imageCountMoreThan');
  if (counting.length === 0) return {};
  const batch = newBatch(env);
  const found = counting.map(({ rulePriority, selection }) => ({ rulePriority, nth: nthImage(batch, repository, selection) }));
  const results = await batch.commit();
  return Object.fromEntries(found.map(({ rulePriority, nth }) => [rulePriority, results.first(nth)]));
}

/**
 * Adds a query to the batch that yields the oldest image that a rule keeps. The time of an image is that of its newest tag, as
 * in `selecting.ts`.
 */
function nthImage(batch: Batch, repository: RepositoryName, selection: Selection): Handle<Threshold> {
  const { tagStatus, tagPatternList, tagPrefixList = [], countNumber = 0 } = selection;
  const patterns = [...(tagPatternList ?? []), ...tagPrefixList.map((prefix) => `${prefix}*`)];
  const matches = patterns.map((pattern, n) => matching(pattern, n));
  const tagged = `SELECT digest, max(updated_at) AS time FROM tags t WHERE repository_id = ${REPOSITORY_ID}
    AND NOT ${IS_ATTACHED} ${
      matches.length > 0 ? `AND (${matches.join(' OR ')})` : ''
    } GROUP BY digest ${matches.length > 0 ? `HAVING ${matches.map((match) => `max(${match})`).join(' AND ')}` : ''}`;
  const images = { tagged, untagged: UNTAGGED, any: `${tagged} UNION ALL ${UNTAGGED}` }[tagStatus];
  return batch.query<Threshold>(`SELECT time, digest FROM (${images}) ORDER BY time DESC, digest LIMIT 1 OFFSET :count - 1`, {
    repository,
    count: countNumber,
    parts: patterns.map((pattern) => pattern.split('*')),
  });
}

/**
 * SQL condition: the name of tag `t` has the form of an attached tag (of a signature, an attestation, an SBOM or a list of
 * referrers).
 */
export const NAMES_SUBJECT = `t.name GLOB 'sha[25][51][62]-*' AND length(t.name) IN (71, 75, 76)`;
const SUBJECT = "substr(t.name, 1, 6) || ':' || substr(t.name, 8, 64)";
/** SQL condition: tag `t` is attached to the manifest `s` by its name. */
export const IS_SUBJECT = `s.repository_id = t.repository_id AND s.digest >= ${SUBJECT} AND s.digest < ${SUBJECT} || 'g'`;
/** SQL condition: tag `t` is attached to an existing manifest other than the one that it names. */
const IS_ATTACHED = `(${NAMES_SUBJECT} AND EXISTS (SELECT 1 FROM manifests s WHERE ${IS_SUBJECT} AND s.digest <> t.digest))`;

/**
 * SQL query: the untagged manifests that no other manifest references. A manifest that an index lists belongs to the image of
 * the index, so it is not counted.
 */
const UNTAGGED = `SELECT m.digest, m.pushed_at AS time FROM manifests m WHERE m.repository_id = ${REPOSITORY_ID}
  AND NOT EXISTS (SELECT 1 FROM tags t INDEXED BY tags_by_digest WHERE t.repository_id = m.repository_id
    AND t.digest = m.digest)
  AND NOT EXISTS (SELECT 1 FROM manifest_references x CROSS JOIN manifests p
    ON p.repository_id = m.repository_id AND p.digest = x.parent WHERE x.repository_id = m.repository_id AND x.child = m.digest)
  AND NOT EXISTS (SELECT 1 FROM manifests s WHERE s.repository_id = m.repository_id AND s.digest = m.subject)`;

/**
 * Returns an SQL condition: the tag `name` matches pattern number `n` of `:parts`. `:parts` has the patterns, split at each
 * `*`. GLOB is not used, because D1 limits GLOB patterns to 50 bytes. Each literal part must occur after the part before it,
 * and its leftmost occurrence is used.
 */
function matching(pattern: string, n: number): string {
  const parts = pattern.split('*');
  const part = (at: number) => `(:parts ->> '$[${n}][${at}]')`;
  if (parts.length === 1) return `name = ${part(0)}`;
  const last = parts.length - 1;
  const conditions = [`substr(name, 1, length(${part(0)})) = ${part(0)}`];
  let rest = `substr(name, length(${part(0)}) + 1)`;
  for (let at = 1; at < last; at++) {
    if (parts[at] === '') continue;
    conditions.push(`instr(${rest}, ${part(at)}) > 0`);
    rest = `substr(${rest}, instr(${rest}, ${part(at)}) + length(${part(at)}))`;
  }
  if (parts[last] !== '') {
    conditions.push(`length(${rest}) >= length(${part(last)})`, `substr(${rest}, -length(${part(last)})) = ${part(last)}`);
  }
  return `(${conditions.join(' AND ')})`;
}
