/** Tags as versions (semver.org), and the ranges of them that rules name, in npm's notation. */
import Range from 'semver/classes/range.js';
import type SemVer from 'semver/classes/semver.js';
import compare from 'semver/functions/compare.js';
import parse from 'semver/functions/parse.js';
import { VERSION_RANGE_MAX } from '../../vocabulary/lifecycle.ts';

/** `null` for text that is no range. */
export function parseRange(text: string): Range | null {
  if (text.length > VERSION_RANGE_MAX) return null;
  try {
    return new Range(text);
  } catch {
    return null;
  }
}

/** The version that a tag is, with a leading `v` or without; `null` where it is none. A partial one, as `1.2`, is none. */
export function versionOf(tag: string): SemVer | null {
  return parse(tag);
}

/** For sorting: the highest first. */
export function descending(a: SemVer, b: SemVer): number {
  return compare(b, a);
}
