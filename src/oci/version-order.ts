/** Orders tags by version, for people: `v1.10.0`, `1.9`, `1.9-alpine`, `1.9-rc.1`, and then all other tags by name. Pure. */

const VERSION = /^v?(\d+(?:\.\d+)*)(?:[-+_.](.+))?$/i;

/** Marks behind the numbers of a version. A longer version is higher, and one with a suffix lower than the same without. */
const SUFFIX = '1';
const END = '2';
const LONGER = '3';

/** The highest version first. Equal versions, like `v1` and `1`, are ordered by name. */
export function byVersion<T extends string>(tags: readonly T[]): T[] {
  const keyed = tags.map((tag) => ({ tag, key: keyOf(tag) }));
  return keyed.sort(compareKeyed).map(({ tag }) => tag);
}

/** True if the tag comes behind the other one in that order. */
export function isBehind(tag: string, other: string): boolean {
  return compareKeyed({ tag, key: keyOf(tag) }, { tag: other, key: keyOf(other) }) > 0;
}

interface Keyed {
  tag: string;
  /** Versions compare as their keys do; '' for other tags. */
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

/** Digits that compare as text like the number: behind a character for their count. A tag has at most 128. */
function comparable(digits: string): string {
  const plain = digits.replace(/^0+(?=\d)/, '');
  return String.fromCharCode(200 + plain.length) + plain;
}
