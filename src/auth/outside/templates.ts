/**
 * Patterns of repositories and tags into which a token's claims are put: `pr-{pull_request}-*`, `{ref_name}`. Two values never give
 * one name: a branch that anybody may make must not reach the tag of another branch, or of a git tag. Pure.
 */
import { type Claims, type Conditions, patternsOf, valueIn } from './claims.ts';

/** `{ref_name}`; any name that a program could have. */
export const PLACEHOLDER = /\{(\w+)\}/g;

/** Where the number of a pull request or merge request may stand, besides a claim of its own. */
const PULL_REQUEST = /^refs\/(?:pull|merge-requests)\/(\d+)\//;

/** Placeholders that are not a claim itself, and the claims that they are made of. */
const DERIVED: Record<string, readonly string[]> = {
  ref_name: ['ref', 'ref_type'],
  ref: ['ref', 'ref_type'],
  pull_request: ['ref', 'ref_path', 'merge_request_iid'],
};

/** Claims that hold the path of a repository: their slashes are the platform's and stay in a repository's name. */
const PATHS = new Set(['repository', 'project_path', 'namespace_path']);

/** Names that the platforms compare without case. Others are left out of a repository's name where they have capital letters. */
const CASELESS = new Set([...PATHS, 'repository_owner', 'actor', 'user_login']);

/** Values that are digits, or hex: they end where something else begins. */
const CLOSED = /^pull_request$|_(?:id|iid|number|attempt|sha)$|^sha$/;
const CLOSED_VALUE = /^[0-9a-f]+$/;

/** The claims that a pattern's placeholders look at. */
export function namesInPattern(pattern: string): string[] {
  return placeholdersIn(pattern).flatMap((name) => (Object.hasOwn(DERIVED, name) ? (DERIVED[name] ?? []) : [name]));
}

function placeholdersIn(pattern: string): string[] {
  return [...pattern.matchAll(PLACEHOLDER)].map(([, name = '']) => name);
}

/** Which refs a statement is for, as its conditions say. */
export type RefKind = 'branch' | 'tag';

/**
 * A branch and a git tag may have one name, and whoever makes the one must not reach the image tags of the other. A statement is
 * for branches, or for git tags where its conditions admit nothing else.
 * @param conditions those of the rule and those of the statement
 */
export function refKindOf(conditions: readonly Conditions[]): RefKind {
  const isForTags = conditions.some((some) => {
    const all = (name: string, fits: (pattern: string) => boolean) =>
      patternsOf(some, name).length > 0 && patternsOf(some, name).every(fits);
    const begins = (pattern: string) => pattern.startsWith('refs/tags/');
    return all('ref_type', (pattern) => pattern === 'tag') || all('ref', begins) || all('ref_path', begins);
  });
  return isForTags ? 'tag' : 'branch';
}

/**
 * The pattern with values in its placeholders; `null` where one has none.
 * @param refs which refs `{ref_name}` means: a branch and a git tag may have one name
 */
export function substitute(pattern: string, kind: 'tag' | 'repository', claims: Claims, refs: RefKind): string | null {
  let complete = true;
  const text = pattern.replaceAll(PLACEHOLDER, (_, name: string) => {
    const value = placeholderOf(name, claims, refs);
    const written = value === null || (CLOSED.test(name) && !CLOSED_VALUE.test(value)) ? null : inName(name, kind, value);
    complete &&= written !== null;
    return written ?? '';
  });
  return complete ? text : null;
}

/** The pattern with anything in its placeholders. */
export function widen(pattern: string): string {
  return pattern.replaceAll(PLACEHOLDER, '*');
}

function placeholderOf(name: string, claims: Claims, refs: RefKind): string | null {
  if (name === 'ref_name') return refName(claims, refs);
  if (name === 'ref') return fullRef(claims, refs);
  if (name === 'pull_request') return pullRequest(claims);
  return valueIn(claims, name) || null;
}

/** GitHub's refs are full (`refs/heads/main`), GitLab's are names, and `ref_type` says of what. */
function refName(claims: Claims, refs: RefKind): string | null {
  const ref = valueIn(claims, 'ref') ?? '';
  const [, full, name = ''] = /^refs\/(heads|tags)\/(.*)$/s.exec(ref) ?? [];
  if (full === undefined) return ref.startsWith('refs/') || kindOf(claims) !== refs ? null : ref || null;
  return (full === 'heads' ? 'branch' : 'tag') === refs ? name || null : null;
}

/** As the token has it: of a name alone, what it is the name of must be plain. */
function fullRef(claims: Claims, refs: RefKind): string | null {
  const ref = valueIn(claims, 'ref') ?? '';
  return ref.startsWith('refs/') || kindOf(claims) === refs ? ref || null : null;
}

/** An issuer that does not say it has branches. */
function kindOf(claims: Claims): string {
  return valueIn(claims, 'ref_type') ?? 'branch';
}

function pullRequest(claims: Claims): string | null {
  const [, number] =
    PULL_REQUEST.exec(valueIn(claims, 'ref') ?? '') ?? PULL_REQUEST.exec(valueIn(claims, 'ref_path') ?? '') ?? [];
  return number ?? /^\d+$/.exec(valueIn(claims, 'merge_request_iid') ?? '')?.[0] ?? null;
}

function inName(name: string, kind: 'tag' | 'repository', value: string): string | null {
  if (kind === 'tag') return tagTextOf(value);
  const parts = PATHS.has(name) ? value.split('/') : [value];
  const written = parts.map((part) => repositoryTextOf(CASELESS.has(name) ? lowerCaseOf(part) : part));
  return written.every((part) => part !== null) ? written.join('/') : null;
}

/** Of ASCII alone: there are letters beyond it whose lower case is within, as the Kelvin sign's. */
function lowerCaseOf(text: string): string {
  return text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** A component of a repository's name has nothing to write other characters with: a value that has some is left out. */
function repositoryTextOf(value: string): string | null {
  return /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/.test(value) ? value : null;
}

/**
 * A value in the alphabet of tags, each in one way of its own: `feature/x` is `feature..x`, and every other byte that a tag cannot
 * have `...` and its hex. No ref of git has `..`, `/.` or `//` (git-check-ref-format), so neither can be mistaken for a part of
 * one; a value that has them is left out. A dash that begins or ends a value, or follows another dash, is written in hex too: so no
 * value has `--`, which separates a value from what follows it.
 */
function tagTextOf(value: string): string | null {
  if (/\.\.|\.\/|\/\.|\/\/|^[./]|[./]$/.test(value)) return null;
  const hex = (text: string) =>
    [...new TextEncoder().encode(text)].map((byte) => `...${byte.toString(16).padStart(2, '0')}`).join('');
  return value.replaceAll(/[^A-Za-z0-9._/-]|^-|-$|(?<=-)-/gu, hex).replaceAll('/', '..');
}

/**
 * What is wrong with a template, or `null`: which part of a name is the value must be plain from the name, or one value reaches the
 * names of another. `{ref_name}-*` of the branch `release` would reach the tags of the branch `release-1`.
 */
export function ambiguityIn(pattern: string, kind: 'tag' | 'repository'): string | null {
  const parts = pattern.split(/(\{\w+\}|\*)/);
  const variable = parts.flatMap((_, at) => (at % 2 === 1 ? [at] : []));
  for (const [n, at] of variable.entries()) {
    for (const other of variable.slice(n + 1)) {
      const fixed = parts.slice(at + 1, other).filter((_, index) => index % 2 === 0);
      const [first = '', second = ''] = [parts[at], parts[other]];
      if (isSeparated(first, second, fixed, kind)) continue;
      const separator = separatorOf(first, second, kind);
      return `${first} and ${second} run into each other, so that one value reaches the names of another: put ${separator} between them, as in ${first}${separator}${second}`;
    }
  }
  return null;
}

function isSeparated(one: string, other: string, fixed: string[], kind: 'tag' | 'repository'): boolean {
  if (one === '*' && other === '*') return true;
  const separator = separatorOf(one, other, kind);
  return fixed.some((text) => (separator === '-' ? /[^0-9a-f]/.test(text) : text.includes(separator)));
}

/** Digits and hex end where anything else begins. Of the other values a separator is needed that none of them has. */
function separatorOf(one: string, other: string, kind: 'tag' | 'repository'): string {
  const open = [one, other].filter((part) => part !== '*' && !CLOSED.test(part.slice(1, -1)));
  if (open.length === 0 || (open.length === 1 && one !== '*' && other !== '*')) return '-';
  return kind === 'tag' ? '--' : '/';
}
