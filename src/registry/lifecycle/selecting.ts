/** Which tags and untagged manifests a rule is about, and which of those its count is over. Pure. */
import type SemVer from 'semver/classes/semver.js';
import type { Digest } from '../../oci/digest.ts';
import { matcherOf } from '../../oci/pattern.ts';
import type { Tag } from '../../oci/reference.ts';
import type { Selection } from './policy.ts';
import { notAmongNewest, tooMany, tooOld, unused } from './reasons.ts';
import type { Threshold } from './thresholds.ts';
import type { Use } from './uses.ts';
import { descending, parseRange } from './versions.ts';

/** Seconds. */
const DAY = 24 * 60 * 60;

/** What a rule decides about: a tag, or a manifest without one; with the last use of its image. */
export interface Unit extends Use {
  /** `null`: an untagged manifest. */
  tag: Tag | null;
  /** What the tag is as a version; `null`: none, or no rule asks for it. */
  version: SemVer | null;
  digest: Digest;
  /** Seconds since the epoch: when it was pushed. */
  time: number;
  /** An untagged one that another manifest holds. */
  held: boolean;
}

/** Those that meet the selection's requirement on tags. */
export function selected(selection: Selection, units: readonly Unit[]): Unit[] {
  const { tagStatus, tagPatternList, tagPrefixList, tagSemverRange } = selection;
  if (tagStatus === 'any') return [...units];
  if (tagStatus === 'untagged') return units.filter(({ tag }) => tag === null);
  const tests = [
    ...(tagPatternList ?? []).map(matcherOf),
    ...(tagPrefixList ?? []).map((prefix) => (tag: string) => tag.startsWith(prefix)),
  ];
  const listed = tests.length > 0 ? matchingAll(tests, units) : units.filter(({ tag }) => tag !== null);
  const range = tagSemverRange === undefined ? null : parseRange(tagSemverRange);
  return range ? listed.filter(({ version }) => version !== null && range.test(version)) : listed;
}

/** ECR: an image must match all entries of a list, by whichever of its tags. Of its tags, those that match any are meant. */
function matchingAll(tests: ((tag: string) => boolean)[], units: readonly Unit[]): Unit[] {
  const met = new Map<Digest, Set<number>>();
  const hits = units.filter(({ tag, digest }) => {
    if (tag === null) return false;
    const passed = tests.flatMap((test, n) => (test(tag) ? [n] : []));
    const ofImage = met.get(digest) ?? new Set<number>();
    for (const n of passed) ofImage.add(n);
    met.set(digest, ofImage);
    return passed.length > 0;
  });
  return hits.filter(({ digest }) => met.get(digest)?.size === tests.length);
}

/** What is known of a whole repository to whom only a part of it is shown. */
export interface Whole {
  /** The last image that the rule's count keeps; `null`: there are not so many. */
  threshold: Threshold | null;
  /** The lowest of the highest versions that the rule keeps; `null`: it keeps all of its range. */
  lowestVersion: SemVer | null;
}

/**
 * Of those selected, the ones that the count lets go, each with why: in words where somebody asks.
 * @param whole `null`: the units are all there are
 */
export function overCount(
  selection: Selection,
  units: readonly Unit[],
  now: number,
  whole: Whole | null,
): Map<Unit, () => string> {
  const { countType, countNumber = 0 } = selection;
  if (countType === 'imageCountMoreThan') {
    return whole ? beyondThreshold(selection, units, whole) : beyondNewest(selection, units);
  }
  const before = now - countNumber * DAY;
  if (countType === 'sinceImagePushed') {
    const old = units.filter(({ time }) => time < before);
    return new Map(old.map((unit) => [unit, () => tooOld(countNumber, unit.time)]));
  }
  const idle = units.filter((unit) => lastUse(unit).used < before);
  return new Map(idle.map((unit) => [unit, () => unused(countNumber, lastUse(unit))]));
}

/** Only the day of a pull or check is known: the end of it counts. A push since then counts as use as well. */
function lastUse({ time, pulledOn, checkedOn }: Unit): { used: number; pulled: boolean } {
  const day = Math.max(pulledOn ?? -1, checkedOn ?? -1);
  return { used: Math.max(time, (day + 1) * DAY - 1), pulled: day >= 0 };
}

/** An image is as young as the youngest of its units. */
function timesOf(units: readonly Unit[]): Map<Digest, number> {
  const newest = new Map<Digest, number>();
  for (const { digest, time } of units) newest.set(digest, Math.max(time, newest.get(digest) ?? 0));
  return newest;
}

/** Images that come after the last one of those that are kept. */
function beyondThreshold(selection: Selection, units: readonly Unit[], { threshold }: Whole): Map<Unit, () => string> {
  if (!threshold) return new Map();
  const newest = timesOf(units);
  const isOver = ({ digest }: Unit) => {
    const time = newest.get(digest) ?? 0;
    return time < threshold.time || (time === threshold.time && digest > threshold.digest);
  };
  return new Map(units.filter(isOver).map((unit) => [unit, () => notAmongNewest(selection)]));
}

/** Counts images, youngest first. */
function beyondNewest(selection: Selection, units: readonly Unit[]): Map<Unit, () => string> {
  const newest = timesOf(units);
  const order = [...newest].sort(([a, timeOfA], [b, timeOfB]) => timeOfB - timeOfA || (a < b ? -1 : 1));
  const rank = new Map(order.map(([digest], n) => [digest, n + 1]));
  const over = units.map((unit) => ({ unit, nth: rank.get(unit.digest) ?? 0 }));
  const words = tooMany(selection);
  return new Map(over.filter(({ nth }) => nth > (selection.countNumber ?? 0)).map(({ unit, nth }) => [unit, () => words(nth)]));
}

/** What a rule keeps, of those selected. */
export function keptBy(selection: Selection, units: readonly Unit[], now: number, whole: Whole | null): Unit[] {
  const { countType, countNumber, tagSemverRange } = selection;
  if (tagSemverRange !== undefined && countNumber !== undefined) {
    return whole ? atLeast(whole.lowestVersion, units) : highest(countNumber, units);
  }
  if (countType === undefined) return [...units];
  // A manifest that an index holds is part of that image, and no image of its own.
  const counted = countType === 'imageCountMoreThan' ? units.filter(({ held }) => !held) : units;
  const over = overCount(selection, counted, now, whole);
  return counted.filter((unit) => !over.has(unit));
}

function atLeast(lowest: SemVer | null, units: readonly Unit[]): Unit[] {
  return units.filter(({ version }) => version && (lowest === null || descending(version, lowest) <= 0));
}

function highest(count: number, units: readonly Unit[]): Unit[] {
  const kept = new Set(
    highestOf(
      count,
      units.flatMap(({ version }) => version ?? []),
    ).map(({ version }) => version),
  );
  return units.filter(({ version }) => version && kept.has(version.version));
}

/** The highest first. Two tags of one version count once. */
export function highestOf(count: number, versions: readonly SemVer[]): SemVer[] {
  return [...new Map(versions.map((version) => [version.version, version])).values()].sort(descending).slice(0, count);
}
