/** Tags as versions (semver.org), and ranges of versions in the notation of npm. */
import Range from 'semver/classes/range.js';
import type SemVer from 'semver/classes/semver.js';
import compare from 'semver/functions/compare.js';
import parse from 'semver/functions/parse.js';
import { VERSION_RANGE_MAX } from '../../vocabulary/lifecycle.ts';

/** Returns `null` if the text is not a range. */
export function parseRange(text: string): Range | null {
  if (text.length > VERSION_RANGE_MAX) return null;
  try {
    return new Range(text);
  } catch {
    return null;
  }
}

/** The version that a tag is, with or without a leading `v`; `null`: none. A partial version such as `1.2` is none. */
export function versionOf(tag: string): SemVer | null {
  return parse(tag);
}

/** Sorts the highest version first. */
export function descending(a: SemVer, b: SemVer): number {
  return compare(b, a);
}
