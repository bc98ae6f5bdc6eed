/**
 * What is known of a large repository as a whole before its pages are judged: what counts of images come to, and the highest versions
 * that rules keep. Versions are compared by the program, some hundred tags at a time, so finding them takes pages of its own.
 */
import type { Database } from '../../events/batch.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { VERSIONS_MAX } from '../../vocabulary/lifecycle.ts';
import { HERE } from '../repositories/repositories.ts';
import type { LifecyclePolicy, Rule } from './policy.ts';
import { highestOf, selected, type Whole } from './selecting.ts';
import { findThresholds, type Thresholds } from './thresholds.ts';
import { versionOf } from './versions.ts';

export interface Known {
  thresholds: Thresholds;
  /** The highest versions of what was looked at, by the priority of the rule that keeps them. */
  versions: Record<number, string[]>;
  /** The digest up to whose tags versions were looked for; `null`: all were. */
  scanned: string | null;
}

/** Tags whose versions are looked at at once. */
const TAGS = 700;

const countsVersions = ({ selection: { tagSemverRange, countNumber } }: Rule) =>
  tagSemverRange !== undefined && countNumber !== undefined && countNumber <= VERSIONS_MAX;

/** Of a repository at whose tags nobody has looked yet. */
export async function beginToKnow(env: Database, repository: RepositoryName, policy: LifecyclePolicy): Promise<Known> {
  const thresholds = await findThresholds(env, repository, policy);
  return { thresholds, versions: {}, scanned: policy.rules.some(countsVersions) ? '' : null };
}

/** Looks for versions among some more tags. */
export async function knowMore(
  env: Database,
  repository: RepositoryName,
  { rules }: LifecyclePolicy,
  known: Known,
): Promise<Known> {
  const { tags, next } = await tagsAfter(env, repository, known.scanned ?? '');
  const units = tags.map(({ tag, digest }) => {
    return { tag, digest, version: versionOf(tag), time: 0, pulledOn: null, checkedOn: null, held: false };
  });
  const versions = Object.fromEntries(
    rules.filter(countsVersions).map(({ rulePriority, selection }) => {
      const found = selected(selection, units).flatMap(({ version }) => version ?? []);
      const before = (known.versions[rulePriority] ?? []).flatMap((text) => versionOf(text) ?? []);
      return [rulePriority, highestOf(selection.countNumber ?? 0, [...before, ...found]).map(({ version }) => version)];
    }),
  );
  return { ...known, versions, scanned: next };
}

/** What a rule needs to know of the whole. */
export function wholeFor({ thresholds, versions }: Known, { rulePriority, selection }: Rule): Whole {
  const highest = versions[rulePriority];
  const lowest = highest && highest.length >= (selection.countNumber ?? 0) ? highest.at(-1) : undefined;
  return { threshold: thresholds[rulePriority] ?? null, lowestVersion: lowest === undefined ? null : versionOf(lowest) };
}

interface Row {
  tag: Tag;
  digest: Digest;
}

/** All tags of some images: patterns are about all tags of an image. */
async function tagsAfter(
  env: Database,
  repository: RepositoryName,
  after: string,
): Promise<{ tags: Row[]; next: string | null }> {
  const columns = 'SELECT name AS tag, digest FROM tags INDEXED BY tags_by_digest';
  const { results } = await env.DB.prepare(
    `${columns} WHERE repository_id = ${HERE} AND digest > ?2 ORDER BY digest LIMIT ${TAGS}`,
  )
    .bind(repository, after)
    .all<Row>();
  const last = results.at(-1)?.digest;
  if (results.length < TAGS || last === undefined) return { tags: results, next: null };
  const whole = results.filter(({ digest }) => digest !== last);
  const next = whole.at(-1)?.digest;
  if (next !== undefined) return { tags: whole, next };
  const all = await env.DB.prepare(`${columns} WHERE repository_id = ${HERE} AND digest = ?2`)
    .bind(repository, last)
    .all<Row>();
  return { tags: all.results, next: last };
}
