/** Patterns of names of repositories and tags, in statements and subscriptions: `*` matches any run of characters. */
import { isRepositoryName } from './name.ts';

/** The name of a repository, with `*` anywhere. */
export function isRepositoryPattern(text: string): boolean {
  return text.length <= 255 && /^[a-z0-9._/*-]+$/.test(text) && (text.includes('*') || isRepositoryName(text));
}

/** The same for tags. */
export function isTagPattern(text: string): boolean {
  return text.length <= 128 && /^[A-Za-z0-9_*][A-Za-z0-9._*-]*$/.test(text);
}

/**
 * `*` matches any run of characters, including `/`. For one comparison; use `patternList` for a list that is used several
 * times.
 */
export function matches(pattern: string, text: string): boolean {
  return matcherOf(pattern)(text);
}

/**
 * Compiles a pattern. Each literal part matches at the leftmost position after the part before it, so the matcher never goes
 * back. Its time grows with the length of the text and of the pattern, not with their product.
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
  /** True if one of them matches. */
  matches(text: string): boolean;
  /** Comparisons that one text takes at most. Callers limit their work by it. */
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

/** Lists up to this length are tried one by one. Most statements name one repository, and building a set would cost more. */
const SHORT = 4;

/** In a long list, names and prefixes are looked up in sets; only the other patterns are tried one by one. */
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

/** The literal parts of a pattern: each is a comparison. */
function oneByOne(patterns: readonly string[]): PatternList {
  const matchers = patterns.map(matcherOf);
  return {
    matches: (text) => matchers.some((matcher) => matcher(text)),
    comparisons: patterns.reduce((sum, pattern) => sum + pattern.split('*').length, 0),
  };
}

/** `acme/*`: the only stars are at the end. */
function isPrefix(pattern: string): boolean {
  return /^[^*]*\*+$/.test(pattern);
}
