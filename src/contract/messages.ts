/** Messages about invalid fields: what the field must be, and which name or word the client probably meant. */
import type * as z from 'zod';

type Issue = z.core.$ZodRawIssue;

/** The maximum number of unknown names that a message contains, and of characters of each. */
const NAMES_MAX = 5;
const NAME_MAX_LENGTH = 64;

/**
 * Returns a function that returns the message for an issue of zod. Used for checks whose schema has no message of its own.
 * @param place the part of the request that is checked: `query`, `body`, or the empty string for the input of an operation
 * @param schema the schema of the whole value, from which the range and default of a number are read
 */
export function messagesFor(place: string, schema: z.ZodType): (issue: Issue) => string | undefined {
  return (issue) => {
    switch (issue.code) {
      case 'unrecognized_keys':
        return unknownNames(issue.keys, namesIn(issue.inst), place === 'query' ? 'parameter' : 'field');
      case 'invalid_value':
        return oneOf(issue.values.map(String), issue.input);
      case 'invalid_type':
        return wrongType(issue, schema);
      case 'too_small':
        return numberAt(schema, issue.path) ?? atLeast(issue.origin, Number(issue.minimum));
      case 'too_big':
        return numberAt(schema, issue.path) ?? upTo(issue.origin, Number(issue.maximum));
      case 'invalid_format':
        return FORMATS[issue.format];
      default:
        return undefined;
    }
  };
}

function namesIn(schema: unknown): string[] {
  return Object.keys(defOf(schema).shape ?? {});
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

/**
 * Returns the message for a value that is not one of the allowed words. It lists all of them, because users of a shell see no
 * other list.
 */
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

function wrongType(issue: Issue & { code: 'invalid_type' }, schema: z.ZodType): string {
  const must = numberAt(schema, issue.path) ?? listOf(issue) ?? `must be ${KINDS[issue.expected] ?? issue.expected}`;
  return issue.input === undefined ? `is missing, and ${must}` : must;
}

/**
 * Returns the message for a value that should be a list. It names the allowed words of the list, or repeats the sent value as a
 * list.
 */
function listOf({ expected, inst, input }: Issue & { code: 'invalid_type' }): string | null {
  if (expected !== 'array') return null;
  const item = defOf(defOf(inst).element);
  const isText = typeof input === 'string' && input.length <= NAME_MAX_LENGTH;
  if (item.type === 'string' && isText) return `must be ${KINDS.array}, such as ${JSON.stringify([input])}`;
  const words = wordsOf(item);
  if (words.length === 0) return null;
  const meant = isText ? nearest(input, words) : null;
  const list = `must be ${KINDS.array} of ${words.join(', ')}`;
  return meant === null ? list : `did you mean ["${meant}"]? It ${list}`;
}

/** The parts of zod's schema definitions from which messages are built. */
interface Definition {
  type?: string;
  shape?: Record<string, unknown>;
  element?: unknown;
  valueType?: unknown;
  innerType?: unknown;
  in?: unknown;
  out?: unknown;
  entries?: Record<string, unknown>;
  defaultValue?: unknown;
}

function defOf(schema: unknown): Definition {
  return (schema as { _zod: { def: Definition } } | undefined)?._zod.def ?? {};
}

function wordsOf({ type, entries = {} }: Definition): string[] {
  return type === 'enum' ? Object.values(entries).map(String) : [];
}

/** Returns the message about a number: its range and its default. Returns `null` if the schema has no number at this path. */
function numberAt(schema: unknown, [step, ...rest]: readonly PropertyKey[] = []): string | null {
  const { type, ...def } = defOf(schema);
  const inside = step === undefined ? null : (def.shape?.[String(step)] ?? def.element ?? def.valueType);
  if (inside) return numberAt(inside, rest);
  const path = step === undefined ? [] : [step, ...rest];
  switch (type) {
    case 'number':
      return range(schema as z.ZodNumber);
    case 'optional':
      return numberAt(def.innerType, path);
    case 'nullable':
      return orNull(numberAt(def.innerType, path));
    case 'default':
      return withDefault(numberAt(def.innerType, path), def.defaultValue);
    case 'pipe':
      return numberAt(defOf(def.in).type === 'transform' ? def.out : def.in, path);
    default:
      return null;
  }
}

function range({ minValue, maxValue, format }: z.ZodNumber): string {
  const kind = format === 'safeint' ? KINDS.int : KINDS.number;
  const [least, most] = [minValue, maxValue].map((limit) => limit !== null && Math.abs(limit) < Number.MAX_SAFE_INTEGER);
  if (least && most) return `must be ${kind} from ${minValue} to ${maxValue}`;
  if (least) return `must be ${kind}, at least ${minValue}`;
  return most ? `must be ${kind}, at most ${maxValue}` : `must be ${kind}`;
}

function orNull(must: string | null): string | null {
  return must && `${must}, or null`;
}

function withDefault(must: string | null, value: unknown): string | null {
  return must && `${must}. Without it: ${value}`;
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
 * Returns the word that the client probably meant, or `null`. A word is likely if it contains the sent text or is contained in
 * it, or if at most a third of its letters differ.
 * @param parts false if containing or being contained must not count
 */
export function nearest(
  sent: string,
  words: readonly string[],
  { parts }: { parts: boolean } = { parts: true },
): string | null {
  const text = sent.slice(0, NAME_MAX_LENGTH).toLowerCase();
  const ranked = words
    .map((word) => ({ word, distance: distanceBetween(text, word.toLowerCase()) }))
    .filter(
      ({ word, distance }) =>
        distance <= Math.max(1, Math.floor(word.length / 3)) || (parts && isPart(text, word.toLowerCase())),
    )
    .sort((a, b) => a.distance - b.distance);
  return ranked[0]?.word ?? null;
}

/** The minimum number of letters of a contained text. A shorter text could be contained by accident. */
const PART_MIN_LENGTH = 4;

function isPart(one: string, other: string): boolean {
  return Math.min(one.length, other.length) >= PART_MIN_LENGTH && (one.includes(other) || other.includes(one));
}

/**
 * Returns the number of letters to insert, delete, replace or swap to change one text into the other (optimal string
 * alignment).
 */
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
