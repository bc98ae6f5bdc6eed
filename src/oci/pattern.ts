/** Patterns of names of repositories and tags, as statements and subscriptions have them: `*` for any run of characters. */
import { isRepositoryName } from './name.ts';

/** A repository's name, or one with `*`, which may stand anywhere. */
export function isRepositoryPattern(text: string): boolean {
  return text.length <= 255 && /^[a-z0-9._/*-]+$/.test(text) && (text.includes('*') || isRepositoryName(text));
}

/** The same for tags. */
export function isTagPattern(text: string): boolean {
  return text.length <= 128 && /^[A-Za-z0-9_*][A-Za-z0-9._*-]*$/.test(text);
}

/** `*` stands for any run of characters, `/` included. For one comparison; `patternList` is for a list that is asked again. */
export function matches(pattern: string, text: string): boolean {
  return matcherOf(pattern)(text);
}

/**
 * Compiles a pattern. Each literal part takes the leftmost place behind the one before it, so the matcher never goes back: its
 * time grows with the length of the text and of the pattern, not with their product.
 */
export function matcherOf(pattern: string): (text: string) => boolean {
  const [first = '', ...parts] = pattern.split('*');
  const last = parts.pop();
  if (last === undefined) return (text) => text === pattern;
  const middle = parts.filter((part) => part !== '');
  return (text) => {
    if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false;
    const end = text.length - last.length;
    let from = first.length;
    for (const part of middle) {
      const at = text.indexOf(part, from);
      if (at < 0 || at + part.length > end) return false;
      from = at + part.length;
    }
    return true;
  };
}

/** A list of patterns, compiled. */
interface PatternList {
  /** Whether one of them matches. */
  matches(text: string): boolean;
  /** Comparisons that one text takes at most: what callers count their work in. */
  comparisons: number;
}

const compiled = new WeakMap<readonly string[], PatternList>();

/** The compiled form of a list, made once for each array. The array must not change afterwards. */
export function patternList(patterns: readonly string[]): PatternList {
  const known = compiled.get(patterns);
  if (known) return known;
  const made = compile(patterns);
  compiled.set(patterns, made);
  return made;
}

/** Lists up to this length are tried one by one: most statements name one repository, and sets cost more to make than to ask. */
const SHORT = 4;

/** Of a long list, names and beginnings of names are looked up; only the other patterns are tried one by one. */
function compile(patterns: readonly string[]): PatternList {
  if (patterns.length <= SHORT) return oneByOne(patterns);
  const names = new Set(patterns.filter((pattern) => !pattern.includes('*')));
  const starred = [...new Set(patterns.filter((pattern) => pattern.includes('*')))];
  const beginnings = starred.filter(isPrefix).map((pattern) => pattern.slice(0, pattern.indexOf('*')));
  const lookups = [...Map.groupBy(beginnings, ({ length }) => length)].map(([length, some]) => ({
    length,
    some: new Set(some),
  }));
  const others = oneByOne(starred.filter((pattern) => !isPrefix(pattern)));
  return {
    matches: (text) =>
      names.has(text) ||
      lookups.some(({ length, some }) => text.length >= length && some.has(text.slice(0, length))) ||
      others.matches(text),
    comparisons: Number(names.size > 0) + lookups.length + others.comparisons,
  };
}

/** Each literal part of a pattern counts as a comparison. */
function oneByOne(patterns: readonly string[]): PatternList {
  const matchers = patterns.map(matcherOf);
  return {
    matches: (text) => matchers.some((matcher) => matcher(text)),
    comparisons: patterns.reduce((sum, pattern) => sum + pattern.split('*').length, 0),
  };
}

/** `acme/*`: stars at its end alone. */
function isPrefix(pattern: string): boolean {
  return /^[^*]*\*+$/.test(pattern);
}
