/**
 * The survey of a large repository is the first stage of a lifecycle run. It collects what rules need to know about the whole
 * repository before they can be applied page by page: the thresholds of rules that count images, and the highest versions that
 * rules keep. Versions are compared in TypeScript, some hundred tags per call, so the survey itself takes several calls.
 */
import type { Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { VERSIONS_MAX } from '../../vocabulary/lifecycle.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { type LifecyclePolicy, type Rule, versionOf } from './policy.ts';
import { type CountBounds, highestOf, selected } from './selecting.ts';
import { findThresholds, type Thresholds } from './thresholds.ts';

export interface Survey {
  thresholds: Thresholds;
  /** The highest versions found up to now, by the priority of the rule that keeps them. */
  versions: Record<number, string[]>;
  /** The last digest whose tags were compared, or `null` if the survey is complete. */
  scanned: string | null;
}

/** The number of tags that one call of `continueSurvey` reads. */
const TAGS = 700;

const countsVersions = ({ selection: { tagSemverRange, countNumber } }: Rule) =>
  tagSemverRange !== undefined && countNumber !== undefined && countNumber <= VERSIONS_MAX;

/** Starts the survey of a repository. */
export async function beginSurvey(env: Database, repository: RepositoryName, policy: LifecyclePolicy): Promise<Survey> {
  const thresholds = await findThresholds(env, repository, policy);
  return { thresholds, versions: {}, scanned: policy.rules.some(countsVersions) ? '' : null };
}

/** Continues the survey: compares the versions of the next tags. */
export async function continueSurvey(
  env: Database,
  repository: RepositoryName,
  { rules }: LifecyclePolicy,
  known: Survey,
): Promise<Survey> {
  const { tags, next } = await tagsAfter(env, repository, known.scanned ?? '');
  const candidates = tags.map(({ tag, digest }) => {
    return { tag, digest, version: versionOf(tag), time: 0, pulledOn: null, checkedOn: null, held: false };
  });
  const versions = Object.fromEntries(
    rules.filter(countsVersions).map(({ rulePriority, selection }) => {
      const found = selected(selection, candidates).flatMap(({ version }) => version ?? []);
      const before = (known.versions[rulePriority] ?? []).flatMap((text) => versionOf(text) ?? []);
      return [rulePriority, highestOf(selection.countNumber ?? 0, [...before, ...found]).map(({ version }) => version)];
    }),
  );
  return { ...known, versions, scanned: next };
}

/** Returns the bounds of a rule that keeps a number of images: the oldest image and the lowest version that it keeps. */
export function boundsFor({ thresholds, versions }: Survey, { rulePriority, selection }: Rule): CountBounds {
  const highest = versions[rulePriority];
  const lowest = highest && highest.length >= (selection.countNumber ?? 0) ? highest.at(-1) : undefined;
  return { threshold: thresholds[rulePriority] ?? null, lowestVersion: lowest === undefined ? null : versionOf(lowest) };
}

interface Row {
  tag: Tag;
  digest: Digest;
}

/** Reads the next tags. All tags of an image are read together, because patterns apply to all tags of an image. */
async function tagsAfter(
  env: Database,
  repository: RepositoryName,
  after: string,
): Promise<{ tags: Row[]; next: string | null }> {
  const columns = 'SELECT name AS tag, digest FROM tags INDEXED BY tags_by_digest';
  const { results } = await prepare(
    env,
    `${columns} WHERE repository_id = ${REPOSITORY_ID} AND digest > :after ORDER BY digest LIMIT ${TAGS}`,
    { repository, after },
  ).all<Row>();
  const last = results.at(-1)?.digest;
  if (results.length < TAGS || last === undefined) return { tags: results, next: null };
  const whole = results.filter(({ digest }) => digest !== last);
  const next = whole.at(-1)?.digest;
  if (next !== undefined) return { tags: whole, next };
  const all = await prepare(env, `${columns} WHERE repository_id = ${REPOSITORY_ID} AND digest = :last`, {
    repository,
    last,
  }).all<Row>();
  return { tags: all.results, next: last };
}
