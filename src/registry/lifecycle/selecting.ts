/**
 * Selects the candidates to which a rule applies, and of these the ones that exceed the rule's count or age. This module does
 * no I/O.
 */
import type SemVer from 'semver/classes/semver.js';
import type { Digest } from '../../oci/digest.ts';
import { matcherOf } from '../../oci/pattern.ts';
import type { Tag } from '../../oci/reference.ts';
import type { Use } from './inventory.ts';
import { descending, parseRange, type Selection } from './policy.ts';
import { notAmongNewest, tooMany, tooOld, unused } from './reasons.ts';
import type { Threshold } from './thresholds.ts';

/** The number of seconds in a day. */
const DAY = 24 * 60 * 60;

/** A tag or an untagged manifest that a rule may delete, with the last use of its image. */
export interface Candidate extends Use {
  /** The tag, or `null` for an untagged manifest. */
  tag: Tag | null;
  /** The version that the tag states. `null` if it states none, or if no rule compares versions. */
  version: SemVer | null;
  digest: Digest;
  /** The time of the last push, in seconds since the epoch. */
  time: number;
  /** True for an untagged manifest that another manifest holds. */
  held: boolean;
}

/** Returns the candidates that meet the tag condition of a rule. */
export function selected(selection: Selection, candidates: readonly Candidate[]): Candidate[] {
  const { tagStatus, tagPatternList, tagPrefixList, tagSemverRange } = selection;
  if (tagStatus === 'any') return [...candidates];
  if (tagStatus === 'untagged') return candidates.filter(({ tag }) => tag === null);
  const tests = [
    ...(tagPatternList ?? []).map(matcherOf),
    ...(tagPrefixList ?? []).map((prefix) => (tag: string) => tag.startsWith(prefix)),
  ];
  const listed = tests.length > 0 ? matchingAll(tests, candidates) : candidates.filter(({ tag }) => tag !== null);
  const range = tagSemverRange === undefined ? null : parseRange(tagSemverRange);
  return range ? listed.filter(({ version }) => version !== null && range.test(version)) : listed;
}

/**
 * Selects tags as ECR does. An image is selected if each entry of the rule's list matches at least one tag of the image. The
 * result contains the tags of a selected image that match any entry.
 */
function matchingAll(tests: ((tag: string) => boolean)[], candidates: readonly Candidate[]): Candidate[] {
  const met = new Map<Digest, Set<number>>();
  const hits = candidates.filter(({ tag, digest }) => {
    if (tag === null) return false;
    const passed = tests.flatMap((test, n) => (test(tag) ? [n] : []));
    const ofImage = met.get(digest) ?? new Set<number>();
    for (const n of passed) ofImage.add(n);
    met.set(digest, ofImage);
    return passed.length > 0;
  });
  return hits.filter(({ digest }) => met.get(digest)?.size === tests.length);
}

/**
 * The bounds of a rule that keeps a number of images, computed from the whole repository. They are needed if only a page of the
 * repository was read.
 */
export interface CountBounds {
  /** The oldest image that the rule keeps, or `null` if there are fewer images than the rule keeps. */
  threshold: Threshold | null;
  /** The lowest version that the rule keeps, or `null` if the rule keeps its whole range. */
  lowestVersion: SemVer | null;
}

/**
 * Returns the candidates that exceed the rule's count or age, each with a function that returns the reason.
 * @param now seconds since the epoch
 * @param whole the bounds of the rule, or `null` if `candidates` contains the whole repository
 */
export function overCount(
  selection: Selection,
  candidates: readonly Candidate[],
  now: number,
  whole: CountBounds | null,
): Map<Candidate, () => string> {
  const { countType, countNumber = 0 } = selection;
  if (countType === 'imageCountMoreThan') {
    return whole ? beyondThreshold(selection, candidates, whole) : beyondNewest(selection, candidates);
  }
  const before = now - countNumber * DAY;
  if (countType === 'sinceImagePushed') {
    const old = candidates.filter(({ time }) => time < before);
    return new Map(old.map((candidate) => [candidate, () => tooOld(countNumber, candidate.time)]));
  }
  const idle = candidates.filter((candidate) => lastUse(candidate).used < before);
  return new Map(idle.map((candidate) => [candidate, () => unused(countNumber, lastUse(candidate))]));
}

/**
 * Returns the time of the last use, in seconds since the epoch. Only the day of a pull or HEAD request is stored, so the end of
 * that day is returned. A later push counts as a use, too.
 */
function lastUse({ time, pulledOn, checkedOn }: Candidate): { used: number; pulled: boolean } {
  const day = Math.max(pulledOn ?? -1, checkedOn ?? -1);
  return { used: Math.max(time, (day + 1) * DAY - 1), pulled: day >= 0 };
}

/** Returns the time of each image. The time of an image is that of its newest candidate. */
function timesOf(candidates: readonly Candidate[]): Map<Digest, number> {
  const newest = new Map<Digest, number>();
  for (const { digest, time } of candidates) newest.set(digest, Math.max(time, newest.get(digest) ?? 0));
  return newest;
}

/** Returns the candidates whose image is older than the threshold. */
function beyondThreshold(
  selection: Selection,
  candidates: readonly Candidate[],
  { threshold }: CountBounds,
): Map<Candidate, () => string> {
  if (!threshold) return new Map();
  const newest = timesOf(candidates);
  const isOver = ({ digest }: Candidate) => {
    const time = newest.get(digest) ?? 0;
    return time < threshold.time || (time === threshold.time && digest > threshold.digest);
  };
  return new Map(candidates.filter(isOver).map((candidate) => [candidate, () => notAmongNewest(selection)]));
}

/** Returns the candidates of images that are not among the newest `countNumber` images. */
function beyondNewest(selection: Selection, candidates: readonly Candidate[]): Map<Candidate, () => string> {
  const newest = timesOf(candidates);
  const order = [...newest].sort(([a, timeOfA], [b, timeOfB]) => timeOfB - timeOfA || (a < b ? -1 : 1));
  const rank = new Map(order.map(([digest], n) => [digest, n + 1]));
  const over = candidates.map((candidate) => ({ candidate, nth: rank.get(candidate.digest) ?? 0 }));
  const words = tooMany(selection);
  return new Map(
    over.filter(({ nth }) => nth > (selection.countNumber ?? 0)).map(({ candidate, nth }) => [candidate, () => words(nth)]),
  );
}

/** Returns the selected candidates that a rule keeps. */
export function keptBy(
  selection: Selection,
  candidates: readonly Candidate[],
  now: number,
  whole: CountBounds | null,
): Candidate[] {
  const { countType, countNumber, tagSemverRange } = selection;
  if (tagSemverRange !== undefined && countNumber !== undefined) {
    return whole ? atLeast(whole.lowestVersion, candidates) : highest(countNumber, candidates);
  }
  if (countType === undefined) return [...candidates];
  // Rules count images. A manifest that an index lists is a part of that image, so it is not counted.
  const counted = countType === 'imageCountMoreThan' ? candidates.filter(({ held }) => !held) : candidates;
  const over = overCount(selection, counted, now, whole);
  return counted.filter((candidate) => !over.has(candidate));
}

function atLeast(lowest: SemVer | null, candidates: readonly Candidate[]): Candidate[] {
  return candidates.filter(({ version }) => version && (lowest === null || descending(version, lowest) <= 0));
}

function highest(count: number, candidates: readonly Candidate[]): Candidate[] {
  const kept = new Set(
    highestOf(
      count,
      candidates.flatMap(({ version }) => version ?? []),
    ).map(({ version }) => version),
  );
  return candidates.filter(({ version }) => version && kept.has(version.version));
}

/** Returns the highest versions, in descending order. Equal versions are counted once. */
export function highestOf(count: number, versions: readonly SemVer[]): SemVer[] {
  return [...new Map(versions.map((version) => [version.version, version])).values()].sort(descending).slice(0, count);
}
