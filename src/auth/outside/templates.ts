/**
 * Templates for the names of repositories and tags, such as `pr-{pull_request}-*` or `{ref_name}`. The placeholders are
 * replaced by claims of a token. Two different values never result in the same name. Otherwise a branch that anybody may create
 * could get access to the image tag of another branch or of a git tag. This module does no I/O.
 */
import { type Claims, type Conditions, claimPatterns, valueIn } from './claims.ts';

/** A placeholder, for example `{ref_name}`. */
export const PLACEHOLDER = /\{(\w+)\}/g;

/** The form of a git ref that contains the number of a pull request or merge request. */
const PULL_REQUEST = /^refs\/(?:pull|merge-requests)\/(\d+)\//;

/** The placeholders whose values are derived from claims, with the names of these claims. */
const DERIVED: Record<string, readonly string[]> = {
  ref_name: ['ref', 'ref_type'],
  ref: ['ref', 'ref_type'],
  pull_request: ['ref', 'ref_path', 'merge_request_iid'],
};

/** The claims that contain the path of a repository. In a repository name, the slashes of their values are kept. */
const PATHS = new Set(['repository', 'project_path', 'namespace_path']);

/**
 * The claims that the platforms compare case-insensitively. Their values are lowered in a repository name. Values of other
 * claims with capital letters cannot be part of a repository name.
 */
const CASELESS = new Set([...PATHS, 'repository_owner', 'actor', 'user_login']);

/** The placeholders whose values are decimal or hexadecimal numbers. So any other character marks the end of the value. */
const CLOSED = /^pull_request$|_(?:id|iid|number|attempt|sha)$|^sha$/;
const CLOSED_VALUE = /^[0-9a-f]+$/;

/** Returns the names of the claims that the placeholders of a pattern read. */
export function namesInPattern(pattern: string): string[] {
  return placeholdersIn(pattern).flatMap((name) => (Object.hasOwn(DERIVED, name) ? (DERIVED[name] ?? []) : [name]));
}

function placeholdersIn(pattern: string): string[] {
  return [...pattern.matchAll(PLACEHOLDER)].map(([, name = '']) => name);
}

/** The kind of git refs to which a statement applies. */
export type RefKind = 'branch' | 'tag';

/**
 * Returns the kind of git refs to which a statement applies. A branch and a git tag may have the same name, but must not get
 * access to each other's image tags. A statement applies to git tags if its conditions admit nothing else, and otherwise to
 * branches.
 * @param conditions the conditions of the rule and those of the statement
 */
export function refKindOf(conditions: readonly Conditions[]): RefKind {
  const isForTags = conditions.some((some) => {
    const all = (name: string, fits: (pattern: string) => boolean) =>
      claimPatterns(some, name).length > 0 && claimPatterns(some, name).every(fits);
    const begins = (pattern: string) => pattern.startsWith('refs/tags/');
    return all('ref_type', (pattern) => pattern === 'tag') || all('ref', begins) || all('ref_path', begins);
  });
  return isForTags ? 'tag' : 'branch';
}

/**
 * Replaces the placeholders of a pattern.
 * @param refs the kind of git refs that `{ref_name}` and `{ref}` accept
 * @returns `null` if a placeholder has no value
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

/** Replaces each placeholder of a pattern by `*`. */
export function widen(pattern: string): string {
  return pattern.replaceAll(PLACEHOLDER, '*');
}

function placeholderOf(name: string, claims: Claims, refs: RefKind): string | null {
  if (name === 'ref_name') return refName(claims, refs);
  if (name === 'ref') return fullRef(claims, refs);
  if (name === 'pull_request') return pullRequest(claims);
  return valueIn(claims, name) || null;
}

/**
 * Returns the name of the git ref if the ref is of this kind, otherwise `null`. GitHub sends full refs (`refs/heads/main`).
 * GitLab sends names, and the kind in `ref_type`.
 */
function refName(claims: Claims, refs: RefKind): string | null {
  const ref = valueIn(claims, 'ref') ?? '';
  const [, full, name = ''] = /^refs\/(heads|tags)\/(.*)$/s.exec(ref) ?? [];
  if (full === undefined) return ref.startsWith('refs/') || kindOf(claims) !== refs ? null : ref || null;
  return (full === 'heads' ? 'branch' : 'tag') === refs ? name || null : null;
}

/** Returns the git ref as the token contains it. A short name is accepted only if the token states that it is of this kind. */
function fullRef(claims: Claims, refs: RefKind): string | null {
  const ref = valueIn(claims, 'ref') ?? '';
  return ref.startsWith('refs/') || kindOf(claims) === refs ? ref || null : null;
}

/** Returns the kind of a short ref name. Issuers that state no kind send branches. */
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

/** Lowers ASCII letters only. Some other letters, such as the Kelvin sign, would become ASCII letters. */
function lowerCaseOf(text: string): string {
  return text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/**
 * Returns the value, or `null` if it is not a valid component of a repository name. Repository names have no escape sequences.
 */
function repositoryTextOf(value: string): string | null {
  return /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/.test(value) ? value : null;
}

/**
 * Encodes a value with the characters that tags allow, so that different values have different results. `/` becomes `..`. Every
 * other byte that a tag cannot contain becomes `...` and its two hex digits. Returns `null` for a value with `..`, `/.` or
 * `//`, which no git ref contains (git-check-ref-format). A dash at the start, at the end or after another dash is encoded as
 * hex, too. So no encoded value contains `--`, which separates a value from the text after it.
 */
function tagTextOf(value: string): string | null {
  if (/\.\.|\.\/|\/\.|\/\/|^[./]|[./]$/.test(value)) return null;
  const hex = (text: string) =>
    [...new TextEncoder().encode(text)].map((byte) => `...${byte.toString(16).padStart(2, '0')}`).join('');
  return value.replaceAll(/[^A-Za-z0-9._/-]|^-|-$|(?<=-)-/gu, hex).replaceAll('/', '..');
}

/**
 * Finds an ambiguity in a template. It must be clear where a value ends in a name. Otherwise one value could match names of
 * another: `{ref_name}-*` for the branch `release` would match tags of the branch `release-1`.
 * @returns a description of the ambiguity, or `null` if there is none
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
      return (
        `${first} and ${second} run into each other, so that one value reaches the names of another: put ` +
        `${separator} between them, as in ${first}${separator}${second}`
      );
    }
  }
  return null;
}

function isSeparated(one: string, other: string, fixed: string[], kind: 'tag' | 'repository'): boolean {
  if (one === '*' && other === '*') return true;
  const separator = separatorOf(one, other, kind);
  return fixed.some((text) => (separator === '-' ? /[^0-9a-f]/.test(text) : text.includes(separator)));
}

/**
 * Returns the separator that two neighbouring parts of a template need. After digits any other character suffices, such as `-`.
 * Other values need a separator that no value contains.
 */
function separatorOf(one: string, other: string, kind: 'tag' | 'repository'): string {
  const open = [one, other].filter((part) => part !== '*' && !CLOSED.test(part.slice(1, -1)));
  if (open.length === 0 || (open.length === 1 && one !== '*' && other !== '*')) return '-';
  return kind === 'tag' ? '--' : '/';
}
