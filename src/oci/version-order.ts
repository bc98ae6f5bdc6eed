/**
 * Sorts tags by version for display: `v1.10.0`, `1.9`, `1.9-rc.1`, `1.9-alpine`, and then all other tags by name. This module
 * does no I/O.
 */

const VERSION = /^v?(\d+(?:\.\d+)*)(?:[-+_.](.+))?$/i;

/**
 * Characters in a sort key that follow the numbers of a version. They make a longer version greater than a shorter one, and a
 * version with a suffix smaller than the same version without one.
 */
const SUFFIX = '1';
const END = '2';
const LONGER = '3';

/** Returns the tags sorted, with the highest version first. Equal versions, such as `v1` and `1`, are sorted by name. */
export function byVersion<T extends string>(tags: readonly T[]): T[] {
  const keyed = tags.map((tag) => ({ tag, key: keyOf(tag) }));
  return keyed.sort(compareKeyed).map(({ tag }) => tag);
}

/** Returns true if the tag comes after the other one in the order of `byVersion`. */
export function isBehind(tag: string, other: string): boolean {
  return compareKeyed({ tag, key: keyOf(tag) }, { tag: other, key: keyOf(other) }) > 0;
}

interface Keyed {
  tag: string;
  /** The sort key of the version, or the empty string if the tag is not a version. */
  key: string;
}

function compareKeyed(a: Keyed, b: Keyed): number {
  if (a.key !== b.key) return a.key < b.key ? 1 : -1;
  return a.tag < b.tag ? -1 : a.tag > b.tag ? 1 : 0;
}

function keyOf(tag: string): string {
  const [, numbers, suffix] = VERSION.exec(tag) ?? [];
  if (numbers === undefined) return '';
  const end = suffix === undefined ? END : SUFFIX + suffix.replaceAll(/\d+/g, (digits) => `0${comparable(digits)}`);
  return numbers.split('.').map(comparable).join(LONGER) + end;
}

/**
 * Converts digits to a text that sorts like the number. The text begins with a character for the number of digits. A tag has at
 * most 128 characters, so such a character exists for every number in a tag.
 */
function comparable(digits: string): string {
  const plain = digits.replace(/^0+(?=\d)/, '');
  return String.fromCharCode(200 + plain.length) + plain;
}
