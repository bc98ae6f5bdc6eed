/**
 * What a trust rule makes of an outside token's claims: conditions that hold or do not, and patterns into which values are
 * put. Pure. What a claim says is chosen by whoever names a branch, so a value never means more than its own characters.
 */
import { matches } from '../../oci/pattern.ts';

/** As text: numbers and truth values too. */
export type Claims = Record<string, string>;

/** A claim's name and what it must match: one pattern, or one of several. */
export type Conditions = Record<string, string | string[]>;

/** `{ref_name}`; any name that a program could have. */
export const PLACEHOLDER = /\{(\w+)\}/g;

/** Where the number of a pull request or merge request may stand, besides a claim of its own. */
const PULL_REQUEST = /^refs\/(?:pull|merge-requests)\/(\d+)\//;

/** Placeholders that are not a claim itself, and the claims that they are made of. */
const DERIVED: Record<string, readonly string[]> = {
  ref_name: ['ref'],
  pull_request: ['ref', 'ref_path', 'merge_request_iid'],
};

/**
 * Both forms of GitHub's subject (GitHub Docs, "OpenID Connect reference"): repositories made after July 2026 have their ids
 * in it.
 */
const SUBJECT = /^repo:([^@:/]+)(?:@(\d+))?\/([^@:/]+)(?:@(\d+))?:(.*)$/s;

/** Claims that hold the path of a repository: their slashes are the platform's and stay in a repository's name. */
const PATHS = new Set(['repository', 'project_path', 'namespace_path']);

/**
 * Claims that say what set a job off. Whoever opens a pull request writes what it runs, or, with pull_request_target, what
 * a trusted job works on (GitHub Docs, "Secure use reference").
 */
const FROM_OUTSIDE: Record<string, RegExp> = {
  event_name: /^pull_request/,
  pipeline_source: /^(?:merge_request|external_pull_request)_event$/,
};

/** Asked of every token, whatever its rule says. */
export const ALWAYS_READ: readonly string[] = ['iss', 'sub', 'ref', 'ref_type', ...Object.keys(FROM_OUTSIDE)];

/** Claims that are text, a number or a truth value; others have no text to compare. */
export function claimsOf(payload: Record<string, unknown>): Claims {
  const comparable = ['string', 'number', 'boolean'];
  const found = Object.entries(payload).filter(([, value]) => comparable.includes(typeof value));
  return Object.fromEntries(found.map(([name, value]) => [name, String(value)]));
}

export function pick(claims: Claims, names: ReadonlySet<string>): Claims {
  return Object.fromEntries(Object.entries(claims).filter(([name]) => names.has(name)));
}

/** The claims that conditions look at. */
export function namesIn(conditions: Conditions): string[] {
  const names = Object.keys(conditions);
  return names.includes('sub') ? [...names, 'repository_owner_id', 'repository_id'] : names;
}

/** The claims that a pattern's placeholders look at. */
export function namesInPattern(pattern: string): string[] {
  return [...pattern.matchAll(PLACEHOLDER)].flatMap(([, name = '']) => (isDerived(name) ? (DERIVED[name] ?? []) : [name]));
}

/** An absent claim matches nothing. */
export function allHold(conditions: Conditions, claims: Claims): boolean {
  return Object.entries(conditions).every(([name, patterns]) => {
    const texts = name === 'sub' ? subjectsOf(claims) : [valueIn(claims, name)];
    return [patterns].flat().some((pattern) => texts.some((text) => text !== undefined && matches(pattern, text)));
  });
}

function valueIn(claims: Claims, name: string): string | undefined {
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}

/** A subject in each of its forms; none where the ids in it are not those of the claims. */
function subjectsOf(claims: Claims): string[] {
  const subject = valueIn(claims, 'sub');
  if (subject === undefined) return [];
  const [ownerId, repositoryId] = [valueIn(claims, 'repository_owner_id'), valueIn(claims, 'repository_id')];
  const [, owner, ownerInIt, name, repositoryInIt, rest] = SUBJECT.exec(subject) ?? [];
  if (owner === undefined || ownerId === undefined || repositoryId === undefined) return [subject];
  if ((ownerInIt ?? ownerId) !== ownerId || (repositoryInIt ?? repositoryId) !== repositoryId) return [];
  return [`repo:${owner}/${name}:${rest}`, `repo:${owner}@${ownerId}/${name}@${repositoryId}:${rest}`];
}

/** Whether conditions name what set the job off, where that may be a stranger's pull request. */
export function admitsOrigin(conditions: Conditions, claims: Claims): boolean {
  return Object.entries(FROM_OUTSIDE).every(
    ([name, outside]) => !outside.test(valueIn(claims, name) ?? '') || Object.hasOwn(conditions, name),
  );
}

/** The pattern with values in its placeholders; `null` where one has none. */
export function substitute(pattern: string, kind: 'tag' | 'repository', claims: Claims): string | null {
  let complete = true;
  const text = pattern.replaceAll(PLACEHOLDER, (_, name: string) => {
    const value = placeholderOf(name, claims);
    complete &&= value !== '';
    return kind === 'tag' ? harmless(value) : inName(name, value);
  });
  return complete ? text : null;
}

/** The pattern with anything in its placeholders. */
export function widen(pattern: string): string {
  return pattern.replaceAll(PLACEHOLDER, '*');
}

function isDerived(name: string): boolean {
  return Object.hasOwn(DERIVED, name);
}

/** Empty where there is no value. */
function placeholderOf(name: string, claims: Claims): string {
  if (name === 'ref_name') return refName(valueIn(claims, 'ref') ?? '');
  if (name === 'pull_request') return pullRequest(claims);
  return valueIn(claims, name) ?? '';
}

/** GitHub's refs are full (`refs/heads/main`), GitLab's are names. */
function refName(ref: string): string {
  const name = ref.replace(/^refs\/(?:heads|tags)\//, '');
  return name.startsWith('refs/') && name === ref ? '' : name;
}

function pullRequest(claims: Claims): string {
  const [, number] =
    PULL_REQUEST.exec(valueIn(claims, 'ref') ?? '') ?? PULL_REQUEST.exec(valueIn(claims, 'ref_path') ?? '') ?? [];
  return number ?? /^\d+$/.exec(valueIn(claims, 'merge_request_iid') ?? '')?.[0] ?? '';
}

/** In the alphabet of tags, which no pattern's `*` is in. */
function harmless(value: string): string {
  return value.replaceAll(/[^A-Za-z0-9._-]/g, '-');
}

/** The same in lower case, afterwards: there are letters beyond ASCII whose lower case is within. */
function inName(name: string, value: string): string {
  const parts = PATHS.has(name) ? value.split('/') : [value];
  return parts.map((part) => harmless(part).toLowerCase()).join('/');
}
