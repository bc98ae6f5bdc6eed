/**
 * Patterns for the names of repositories and tags, as statements and subscriptions use them. `*` matches any
 * number of any characters.
 */
import { isRepositoryName } from './name.ts';

/** Returns true for a valid pattern of repository names. It may contain `*` anywhere. */
export function isRepositoryPattern(text: string): boolean {
  return text.length <= 255 && /^[a-z0-9._/*-]+$/.test(text) && (text.includes('*') || isRepositoryName(text));
}

/** Returns true for a valid pattern of tags. */
export function isTagPattern(text: string): boolean {
  return text.length <= 128 && /^[A-Za-z0-9_*][A-Za-z0-9._*-]*$/.test(text);
}

/**
 * True if the pattern matches the text. `*` also matches `/`. Most patterns are a name or a prefix, so only the others are
 * compiled.
 */
export function matches(pattern: string, text: string): boolean {
  const star = pattern.indexOf('*');
  if (star < 0) return pattern === text;
  return text.startsWith(pattern.slice(0, star)) && (star === pattern.length - 1 || matcherOf(pattern)(text));
}

/**
 * True if one of the patterns matches the text. A short list is compared without being compiled. A request reads hundreds of
 * short lists and compares most of them once or twice, so compiling them would take ten times as long as comparing them.
 */
export function matchesOne(patterns: readonly string[], text: string): boolean {
  if (patterns.length > SHORT) return patternList(patterns).matches(text);
  return patterns.some((pattern) => matches(pattern, text));
}

/**
 * Compiles a pattern. Each literal part matches at its leftmost position after the previous part, so the matcher never goes
 * back. Its time grows with the sum of the lengths of text and pattern, not with their product.
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

/** A compiled list of patterns, for lists that are compared with many texts. */
interface PatternList {
  /** Returns true if one of the patterns matches. */
  matches(text: string): boolean;
  /** The maximum number of comparisons for one text. Callers use it to limit their work. */
  comparisons: number;
}

const compiled = new WeakMap<readonly string[], PatternList>();

/** Returns the compiled form of a list. It is cached for each array, so the array must not change afterwards. */
export function patternList(patterns: readonly string[]): PatternList {
  const known = compiled.get(patterns);
  if (known) return known;
  const made = compile(patterns);
  compiled.set(patterns, made);
  return made;
}

/**
 * The maximum length of a list that is compiled without lookup sets. Most statements name one repository, for which building a
 * set costs more than it saves.
 */
const SHORT = 4;

/**
 * Compiles a list. In a long list, exact names and prefixes are looked up in sets; only the other patterns
 * are compared one by one.
 */
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

/** Compares the patterns one by one. Each literal part of a pattern counts as one comparison. */
function oneByOne(patterns: readonly string[]): PatternList {
  const matchers = patterns.map(matcherOf);
  return {
    matches: (text) => matchers.some((matcher) => matcher(text)),
    comparisons: patterns.reduce((sum, pattern) => sum + pattern.split('*').length, 0),
  };
}

/** Returns true for a pattern such as `acme/*`, whose only stars are at its end. */
function isPrefix(pattern: string): boolean {
  return /^[^*]*\*+$/.test(pattern);
}
