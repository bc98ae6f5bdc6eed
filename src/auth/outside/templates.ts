/**
 * Templates of repositories and tags with a token's claims as placeholders: `pr-{pull_request}-*`, `{ref_name}`. Two values
 * never result in the same name: a branch that anybody may create must not reach the tag of another branch, or of a git tag.
 * Pure.
 */
import { type Claims, type Conditions, claimPatterns, valueIn } from './claims.ts';

/** A placeholder such as `{ref_name}`. */
export const PLACEHOLDER = /\{(\w+)\}/g;

/** A ref with the number of a pull request or merge request. */
const PULL_REQUEST = /^refs\/(?:pull|merge-requests)\/(\d+)\//;

/** Placeholders that are derived from claims, and these claims. */
const DERIVED: Record<string, readonly string[]> = {
  ref_name: ['ref', 'ref_type'],
  ref: ['ref', 'ref_type'],
  pull_request: ['ref', 'ref_path', 'merge_request_iid'],
};

/** Claims with a repository path, whose slashes stay in a repository name. */
const PATHS = new Set(['repository', 'project_path', 'namespace_path']);

/**
 * Claims that the platforms compare case-insensitively. Other claims with capital letters do not fit into a repository name.
 */
const CASELESS = new Set([...PATHS, 'repository_owner', 'actor', 'user_login']);

/** Claims whose values are decimal or hexadecimal digits, so that any other character ends them. */
const CLOSED = /^pull_request$|_(?:id|iid|number|attempt|sha)$|^sha$/;
const CLOSED_VALUE = /^[0-9a-f]+$/;

/** The claims that a pattern's placeholders read. */
export function namesInPattern(pattern: string): string[] {
  return placeholdersIn(pattern).flatMap((name) => (Object.hasOwn(DERIVED, name) ? (DERIVED[name] ?? []) : [name]));
}

function placeholdersIn(pattern: string): string[] {
  return [...pattern.matchAll(PLACEHOLDER)].map(([, name = '']) => name);
}

/** The kind of refs that a statement is for. */
export type RefKind = 'branch' | 'tag';

/**
 * A branch and a git tag may have the same name, and must not reach each other's image tags. A statement is for git tags if its
 * conditions admit nothing else, and for branches otherwise.
 * @param conditions those of the rule and those of the statement
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
 * Fills in the placeholders of a pattern. `null` if one has no value.
 * @param refs the kind of refs that `{ref_name}` accepts
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

/** GitHub has full refs (`refs/heads/main`); GitLab has names, with the kind in `ref_type`. */
function refName(claims: Claims, refs: RefKind): string | null {
  const ref = valueIn(claims, 'ref') ?? '';
  const [, full, name = ''] = /^refs\/(heads|tags)\/(.*)$/s.exec(ref) ?? [];
  if (full === undefined) return ref.startsWith('refs/') || kindOf(claims) !== refs ? null : ref || null;
  return (full === 'heads' ? 'branch' : 'tag') === refs ? name || null : null;
}

/** The ref as the token has it. A short name is accepted only if it is known to be of the right kind. */
function fullRef(claims: Claims, refs: RefKind): string | null {
  const ref = valueIn(claims, 'ref') ?? '';
  return ref.startsWith('refs/') || kindOf(claims) === refs ? ref || null : null;
}

/** The kind of a short ref; `branch` for an issuer that does not say. */
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

/** ASCII only: the lower case of some other letters, such as the Kelvin sign, is an ASCII letter. */
function lowerCaseOf(text: string): string {
  return text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** `null` for a value that is no valid component of a repository name, which has no escape sequence. */
function repositoryTextOf(value: string): string | null {
  return /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/.test(value) ? value : null;
}

/**
 * Encodes a value with the characters of tags, without collisions: `/` becomes `..`, and every other byte that a tag cannot
 * have becomes `...` and its hex. No git ref contains `..`, `/.` or `//` (git-check-ref-format); a value that does gets `null`.
 * A dash at the start or the end, or after a dash, becomes hex too, so that no value contains `--`, which separates a value
 * from what follows.
 */
function tagTextOf(value: string): string | null {
  if (/\.\.|\.\/|\/\.|\/\/|^[./]|[./]$/.test(value)) return null;
  const hex = (text: string) =>
    [...new TextEncoder().encode(text)].map((byte) => `...${byte.toString(16).padStart(2, '0')}`).join('');
  return value.replaceAll(/[^A-Za-z0-9._/-]|^-|-$|(?<=-)-/gu, hex).replaceAll('/', '..');
}

/**
 * Finds an ambiguity in a template; `null`: none. It must be clear where a value ends in a name, or one value reaches the names
 * of another: `{ref_name}-*` of the branch `release` would reach the tags of the branch `release-1`.
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

/** Any other character ends digits. Other values need a separator that no value contains. */
function separatorOf(one: string, other: string, kind: 'tag' | 'repository'): string {
  const open = [one, other].filter((part) => part !== '*' && !CLOSED.test(part.slice(1, -1)));
  if (open.length === 0 || (open.length === 1 && one !== '*' && other !== '*')) return '-';
  return kind === 'tag' ? '--' : '/';
}
