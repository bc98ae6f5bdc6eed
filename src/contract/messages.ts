/** The messages about wrong fields: what a field must be, and which name or word was probably meant. */
import type * as z from 'zod';

type Issue = z.core.$ZodRawIssue;

/** The maximum number of unknown names that a message contains, and of characters of each. */
const NAMES_MAX = 5;
const NAME_MAX_LENGTH = 64;

/**
 * Returns a function that writes the message of an issue of zod, for checks that have no message of their own in the schema.
 * @param place the part of the request that is checked: `query`, `body`, or empty for the input of an operation
 */
export function messagesFor(place: string): (issue: Issue) => string | undefined {
  return (issue) => {
    switch (issue.code) {
      case 'unrecognized_keys':
        return unknownNames(issue.keys, namesIn(issue.inst), place === 'query' ? 'parameter' : 'field');
      case 'invalid_value':
        return oneOf(issue.values.map(String), issue.input);
      case 'invalid_type':
        return issue.input === undefined ? `is missing, and must be ${kind(issue)}` : `must be ${kind(issue)}`;
      case 'too_small':
        return atLeast(issue.origin, Number(issue.minimum));
      case 'too_big':
        return upTo(issue.origin, Number(issue.maximum));
      case 'invalid_format':
        return FORMATS[issue.format];
      default:
        return undefined;
    }
  };
}

function namesIn(schema: unknown): string[] {
  const { shape = {} } = (schema as { _zod: { def: { shape?: object } } } | undefined)?._zod.def ?? {};
  return Object.keys(shape);
}

function unknownNames(sent: readonly string[], known: readonly string[], word: string): string {
  const guesses = sent
    .slice(0, NAMES_MAX)
    .map((name) => ({ name: name.slice(0, NAME_MAX_LENGTH), meant: nearest(name, known) }));
  const names = `there is no ${word} ${guesses.map(({ name }) => name).join(', ')}`;
  const meant = guesses.flatMap((guess) => guess.meant ?? []);
  if (meant.length > 0) return `${names}: did you mean ${meant.join(', ')}?`;
  return known.length === 0 ? names : `${names}. There are: ${known.join(', ')}`;
}

/** The message for a value that is not one of the allowed words. It lists all of them, because a shell shows no other list. */
function oneOf(words: readonly string[], sent: unknown): string {
  const meant = typeof sent === 'string' ? nearest(sent, words) : null;
  const list = words.length === 1 ? `must be ${words[0]}` : `must be one of ${words.join(', ')}`;
  if (sent === undefined) return `is missing, and ${list}`;
  return meant === null ? list : `did you mean ${meant}? It ${list}`;
}

const KINDS: Record<string, string> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
};

function kind({ expected }: { expected: string }): string {
  return KINDS[expected] ?? expected;
}

function atLeast(origin: string, minimum: number): string {
  if (origin === 'string' || origin === 'array') {
    return minimum === 1 ? 'must not be empty' : `must have at least ${minimum} ${unitOf(origin)}`;
  }
  return `must be at least ${minimum}`;
}

function upTo(origin: string, maximum: number): string {
  if (origin === 'string' || origin === 'array') return `must have up to ${maximum} ${unitOf(origin)}`;
  return `must be at most ${maximum}`;
}

function unitOf(origin: string): string {
  return origin === 'string' ? 'characters' : 'items';
}

const FORMATS: Record<string, string> = {
  datetime: 'must be a time with its zone, such as 2026-01-31T12:00:00Z',
  date: 'must be a date, such as 2026-01-31',
  url: 'must be a URL',
};

/**
 * The word that the client probably meant. A word is likely if one of the two texts contains the other, or if at most a third
 * of the letters of the word differ. `null` if no word is likely.
 */
export function nearest(sent: string, words: readonly string[]): string | null {
  const text = sent.slice(0, NAME_MAX_LENGTH).toLowerCase();
  const ranked = words
    .map((word) => ({ word, distance: distanceBetween(text, word.toLowerCase()) }))
    .filter(({ word, distance }) => distance <= Math.max(1, Math.floor(word.length / 3)) || isPart(text, word.toLowerCase()))
    .sort((a, b) => a.distance - b.distance);
  return ranked[0]?.word ?? null;
}

/** The minimum number of letters of a contained text. A shorter text could be contained by chance. */
const PART_MIN_LENGTH = 4;

function isPart(one: string, other: string): boolean {
  return Math.min(one.length, other.length) >= PART_MIN_LENGTH && (one.includes(other) || other.includes(one));
}

/** The number of letters to insert, delete, replace or swap to change one text into the other (optimal string alignment). */
function distanceBetween(from: string, to: string): number {
  let [before, last]: [number[], number[]] = [[], Array.from({ length: to.length + 1 }, (_, n) => n)];
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = (last[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      const isSwap = from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      const swapped = isSwap ? (before[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY;
      row.push(Math.min(replaced, (last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, swapped));
    }
    [before, last] = [last, row];
  }
  return last[to.length] ?? 0;
}
