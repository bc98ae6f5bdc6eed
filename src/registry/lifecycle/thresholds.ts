/**
 * What rules that count need to know of a whole repository, so that the rest of it can be looked at page by page: of each rule, the
 * image after which the others are too many. The database finds it, as its CPU is not the Worker's. Of rules that keep the highest
 * versions, those are found here (`known.ts`).
 */
import type { Database } from '../../events/batch.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { HERE } from '../repositories/repositories.ts';
import type { LifecyclePolicy, Selection } from './policy.ts';

/** The last image that a count keeps: what is older is too many, or as old and behind it by its digest. */
export interface Threshold {
  time: number;
  digest: Digest;
}

/** By the priority of the rule; `null`: there are not so many images. */
export type Thresholds = Record<number, Threshold | null>;

/** Of every rule that counts images. Reads all tags and manifests of the repository, once for each such rule. */
export async function findThresholds(
  env: Database,
  repository: RepositoryName,
  { rules }: LifecyclePolicy,
): Promise<Thresholds> {
  const counting = rules.filter(({ selection }) => selection.countType === 'imageCountMoreThan');
  if (counting.length === 0) return {};
  const results = await env.DB.batch<Threshold>(counting.map(({ selection }) => nthImage(env, repository, selection)));
  return Object.fromEntries(counting.map(({ rulePriority }, n) => [rulePriority, results[n]?.results[0] ?? null]));
}

/** Each image with the time of its youngest unit, as the chooser counts them. */
function nthImage(env: Database, repository: RepositoryName, selection: Selection): D1PreparedStatement {
  const { tagStatus, tagPatternList, tagPrefixList = [], countNumber = 0 } = selection;
  const patterns = [...(tagPatternList ?? []), ...tagPrefixList.map((prefix) => `${prefix}*`)];
  const matches = patterns.map((pattern, n) => matching(pattern, n));
  const tagged = `SELECT digest, max(updated_at) AS time FROM tags t WHERE repository_id = ${HERE} AND NOT ${ATTACHED} ${
    matches.length > 0 ? `AND (${matches.join(' OR ')})` : ''
  } GROUP BY digest ${matches.length > 0 ? `HAVING ${matches.map((match) => `max(${match})`).join(' AND ')}` : ''}`;
  const images = { tagged, untagged: UNTAGGED, any: `${tagged} UNION ALL ${UNTAGGED}` }[tagStatus];
  return env.DB.prepare(
    `SELECT time, digest FROM (${images}) ORDER BY time DESC, digest LIMIT 1 OFFSET ?3 - 1 + 0 * json_array_length(?2)`,
  ).bind(repository, JSON.stringify(patterns.flatMap((pattern) => [pattern.split('*')])), countNumber);
}

/** SQL: tag `t` is named as those are that belong to another manifest: signatures, attestations, SBOMs and lists of referrers. */
export const NAMES_SUBJECT = `t.name GLOB 'sha[25][51][62]-*' AND length(t.name) IN (71, 75, 76)`;
const SUBJECT = "substr(t.name, 1, 6) || ':' || substr(t.name, 8, 64)";
/** SQL: manifest `s` is the one that tag `t` belongs to by its name. */
export const IS_SUBJECT = `s.repository_id = t.repository_id AND s.digest >= ${SUBJECT} AND s.digest < ${SUBJECT} || 'g'`;
/** SQL: tag `t` belongs to another manifest that is there, and is no image of its own. */
const ATTACHED = `(${NAMES_SUBJECT} AND EXISTS (SELECT 1 FROM manifests s WHERE ${IS_SUBJECT} AND s.digest <> t.digest))`;

/** Untagged manifests that nothing holds: what is listed by an index is part of that image, and none of its own. */
const UNTAGGED = `SELECT m.digest, m.pushed_at AS time FROM manifests m WHERE m.repository_id = ${HERE}
  AND NOT EXISTS (SELECT 1 FROM tags t INDEXED BY tags_by_digest WHERE t.repository_id = m.repository_id AND t.digest = m.digest)
  AND NOT EXISTS (SELECT 1 FROM manifest_references x CROSS JOIN manifests p
    ON p.repository_id = m.repository_id AND p.digest = x.parent WHERE x.repository_id = m.repository_id AND x.child = m.digest)
  AND NOT EXISTS (SELECT 1 FROM manifests s WHERE s.repository_id = m.repository_id AND s.digest = m.subject)`;

/**
 * SQL: the tag `name` matches the pattern that is at place `n` of ?2, cut at its stars. Not by GLOB, whose patterns D1 limits to 50
 * bytes. Each literal part takes the leftmost place behind the one before it.
 */
function matching(pattern: string, n: number): string {
  const parts = pattern.split('*');
  const part = (at: number) => `(?2 ->> '$[${n}][${at}]')`;
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
