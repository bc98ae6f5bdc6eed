/**
 * Lists the repositories that a caller may pull or administer. An index yields candidates, which can be more than the caller
 * may see. The policy engine then decides on each candidate, within the number of comparisons that one request may make.
 */
import type { Database } from '../events/batch.ts';
import { prepare } from '../events/sql.ts';
import { patternList } from '../oci/pattern.ts';
import type { RepositoryAction } from '../vocabulary/actions.ts';
import { EVERYONE } from '../vocabulary/names.ts';
import type { Authority } from './authority.ts';
import { applies } from './conditions.ts';
import { allows, COMPARISONS_MAX } from './policy.ts';
import { appliesTo, type Sourced, type Statement } from './statement.ts';

/**
 * A set of repository names: all names that begin with one of the prefixes, and the single names. The prefix '' stands for all
 * names. Both lists are sorted, and no prefix begins with another prefix.
 */
export interface Place {
  prefixes: string[];
  names: string[];
}

/**
 * Returns the repository patterns of statements that allow `action`. The statements are the caller's own, or a limit of the
 * credential.
 */
export function repositoryPatterns({ statements }: Pick<Authority, 'statements'>, action: RepositoryAction): string[] {
  return statements
    .filter(({ from, statement }) => !from.startsWith('repository:') && statement.effect === 'allow')
    .flatMap(({ statement }) => (statement.actions.includes(action) ? statement.repositories : []));
}

export function pullPatterns(authority: Pick<Authority, 'statements'>): string[] {
  return repositoryPatterns(authority, 'pull');
}

/**
 * Returns the names and prefixes by which an index can find the repositories that match the patterns. A prefix
 * ends before the first `*`.
 */
export function reachOf(patterns: readonly string[]): Place {
  const prefixes = patterns.filter((pattern) => pattern.includes('*')).map((pattern) => pattern.slice(0, pattern.indexOf('*')));
  return { prefixes: fewer(withoutCovered(prefixes)), names: sorted(patterns.filter((pattern) => !pattern.includes('*'))) };
}

/** The maximum number of prefixes. Each page of a list queries the index once for each prefix. */
const PREFIXES_MAX = 50;

/**
 * Replaces the prefixes by their namespaces if there are too many, and by the prefix of all names if there
 * are too many namespaces.
 */
function fewer(prefixes: string[]): string[] {
  if (prefixes.length <= PREFIXES_MAX) return prefixes;
  const namespaces = withoutCovered(prefixes.map((prefix) => prefix.slice(0, prefix.indexOf('/') + 1)));
  return namespaces.length <= PREFIXES_MAX ? namespaces : [''];
}

function sorted(texts: readonly string[]): string[] {
  return [...new Set(texts)].sort();
}

/**
 * Removes each prefix that another prefix covers. For example, `acme/` covers `acme/web-`, which comes later in sorted order.
 */
function withoutCovered(prefixes: readonly string[]): string[] {
  const kept: string[] = [];
  for (const prefix of sorted(prefixes)) {
    const last = kept.at(-1);
    if (last === undefined || !prefix.startsWith(last)) kept.push(prefix);
  }
  return kept;
}

/** Returns a function that tests whether a name is in the set. It uses binary search for the prefixes. */
export function placeTest({ prefixes, names }: Place): (name: string) => boolean {
  const known = new Set(names);
  return (name) => known.has(name) || isCovered(prefixes, name);
}

/**
 * Returns true if one of the prefixes covers the text. Only the last prefix that is not greater than the text can cover it,
 * because no prefix begins with another prefix.
 */
function isCovered(prefixes: readonly string[], text: string): boolean {
  let [low, high] = [0, prefixes.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((prefixes[middle] as string) <= text) low = middle + 1;
    else high = middle;
  }
  return low > 0 && text.startsWith(prefixes[low - 1] as string);
}

/** Returns the intersection of two sets of names. */
export function common(one: Place, other: Place): Place {
  const prefixes = [
    ...one.prefixes.filter((prefix) => isCovered(other.prefixes, prefix)),
    ...other.prefixes.filter((prefix) => isCovered(one.prefixes, prefix)),
  ];
  const names = [...one.names.filter(placeTest(other)), ...other.names.filter(placeTest(one))];
  return { prefixes: withoutCovered(prefixes), names: sorted(names) };
}

/**
 * What the policy of a repository says about pulling: whether it allows the caller to pull, whether it denies that, and whether
 * everybody may pull.
 */
export interface Said {
  allows: boolean;
  denies: boolean;
  isPublic: boolean;
}

/** Decides on a repository. Returns `null` if the request has no pattern comparisons left. */
export type Judge = (repository: string, said?: Said) => boolean | null;

/**
 * Returns a function that decides on one repository after the other. The caller's own statements are merged first, so that each
 * pattern is compared only once per repository.
 */
export function judgeOf(authority: Authority, action: RepositoryAction): Judge {
  const own = together(
    authority.statements.filter(({ from }) => !from.startsWith('repository:')),
    action,
  );
  const bounds = authority.bounds.map((bound) => together(bound, action));
  const each = [own, ...bounds].flat().reduce((sum, { statement }) => sum + patternList(statement.repositories).comparisons, 1);
  let spent = 0;
  return (repository, said) => {
    if (spent > 0 && spent + each > COMPARISONS_MAX) return null;
    spent += each;
    return allows({ ...authority, statements: [...own, ...sourced(repository, action, said)], bounds }, action, repository);
  };
}

/**
 * Merges the allow statements into one, and the deny statements into one. Statements with tags, statements of roles, and those
 * of policies that could not be read are kept as they are.
 */
function together(statements: readonly Sourced[], action: RepositoryAction): Sourced[] {
  const relevant = statements.filter(({ statement }) => statement.actions.includes(action));
  const isPlain = ({ standing, unread, statement: { tags } }: Sourced) => !standing && !unread && !tags;
  const merged = (['allow', 'deny'] as const).map((effect): Sourced => {
    const same = relevant.filter((one) => one.statement.effect === effect && isPlain(one));
    const repositories = same.flatMap(({ statement }) => statement.repositories);
    return { from: 'own', statement: { effect, actions: [action], repositories } };
  });
  return [...merged.filter(({ statement }) => statement.repositories.length > 0), ...relevant.filter((one) => !isPlain(one))];
}

function sourced(repository: string, action: RepositoryAction, said: Said | undefined): Sourced[] {
  const effects = [said?.allows && ('allow' as const), said?.denies && ('deny' as const)].filter((effect) => !!effect);
  return effects.map((effect) => ({
    from: `repository:${repository}`,
    statement: { effect, actions: [action], repositories: [repository] },
  }));
}

/** The bits of the column `policy_principals.pull`. `DEPENDS`: conditions or exceptions decide, so the policy is read. */
const ALLOWS = 1;
export const DENIES = 2;
export const DEPENDS = 4;

/**
 * Returns an SQL expression: the bit for one statement (JSON). The actions are words of a closed list, so a text search finds
 * them.
 */
const bitOf = (statement: string) =>
  `iif(instr(${statement} -> 'actions', '"pull"') > 0, iif(coalesce(${statement} -> 'conditions', ${statement} -> 'except')
    IS NOT NULL, ${DEPENDS}, iif(${statement} ->> 'effect' = 'deny', ${DENIES}, ${ALLOWS})), 0)`;

/** SQL: the bits that together say what the statements `s.value` in a group of rows say about pulling. */
export const PULL_BITS = [ALLOWS, DENIES, DEPENDS].map((bit) => `max(${bitOf('s.value')} & ${bit})`).join(' + ');

/**
 * SQL expression: the bits of an index row. A row that an earlier version of the registry wrote has no bits; they are then
 * computed from the policy. For a policy with one statement, which is usual, this avoids `json_each`. The text search is
 * possible because no character of a principal needs escaping in JSON.
 */
export const PULL = `coalesce(n.pull, (SELECT iif(json_array_length(q.statements) = 1, ${bitOf('(q.statements -> 0)')},
    (SELECT ${PULL_BITS} FROM json_each(q.statements) s WHERE instr(s.value -> 'principals', '"' || n.principal || '"') > 0))
  FROM policies q WHERE q.subject = 'repository:' || n.repository), 0)`;

/**
 * Reads what the policies of repositories say about pulling by some principals. Reads the index instead of the policies, which
 * may be long. The result has no entry for a repository whose policy names none of the principals.
 */
export async function pullsSaid(
  env: Pick<Database, 'DB'>,
  asker: Pick<Authority, 'principals' | 'circumstances' | 'subject'>,
  repositories: readonly string[],
): Promise<Map<string, Said>> {
  const { principals } = asker;
  const { results } = await prepare(
    env,
    `SELECT n.repository, n.principal, ${PULL} AS pull FROM policy_principals n
     WHERE n.principal IN (SELECT value FROM json_each(:principals))
       AND n.repository IN (SELECT value FROM json_each(:repositories))`,
    { principals, repositories },
  ).all<PullRow>();
  return saidBy(env, asker, results);
}

/** A principal that the policy of a repository names, with the bits of what the policy says about it. */
export interface PullRow {
  repository: string;
  principal: string;
  pull: number;
}

/** Sums up what the rows say, by repository. Reads the policies whose conditions or exceptions decide. */
export async function saidBy(
  env: Pick<Database, 'DB'>,
  asker: Pick<Authority, 'principals' | 'circumstances' | 'subject'>,
  rows: readonly PullRow[],
): Promise<Map<string, Said>> {
  const said = new Map<string, Said>();
  const depending = rows.filter(({ pull }) => (pull & DEPENDS) !== 0).map(({ repository }) => repository);
  for (const [repository, statements] of await dependingPolicies(env, [...new Set(depending)]))
    said.set(repository, saidIn(statements, asker));
  for (const { repository, principal, pull } of rows) {
    const before = said.get(repository);
    said.set(repository, {
      allows: before?.allows === true || (pull & ALLOWS) !== 0,
      denies: before?.denies === true || (pull & DENIES) !== 0,
      isPublic: before?.isPublic === true || (principal === EVERYONE && (pull & ALLOWS) !== 0),
    });
  }
  return said;
}

/** The maximum number of bytes of the policies that are read because the index cannot say what they allow. */
const DEPENDING_MAX_BYTES = 512 * 1024;

/** Reads policies. The result has `null` for a policy that does not fit into the limit: it might deny anything. */
async function dependingPolicies(
  env: Pick<Database, 'DB'>,
  repositories: readonly string[],
): Promise<Map<string, Statement[] | null>> {
  if (repositories.length === 0) return new Map();
  const { results } = await prepare(
    env,
    `SELECT substr(subject, 12) AS repository, iif(sum(octet_length(statements)) OVER (ORDER BY subject)
       <= ${DEPENDING_MAX_BYTES}, statements, NULL) AS statements
     FROM policies WHERE subject IN (SELECT 'repository:' || value FROM json_each(:repositories))`,
    { repositories },
  ).all<{ repository: string; statements: string | null }>();
  return new Map(results.map((row) => [row.repository, row.statements === null ? null : JSON.parse(row.statements)]));
}

/** What the statements with conditions or exceptions say about a caller. The index has the others. */
function saidIn(
  statements: readonly Statement[] | null,
  { principals, circumstances, subject }: Pick<Authority, 'principals' | 'circumstances' | 'subject'>,
): Said {
  if (statements === null) return { allows: false, denies: true, isPublic: false };
  const applying = statements.filter(
    (one) =>
      (one.conditions ?? one.except) !== undefined &&
      one.actions.includes('pull') &&
      appliesTo(one, principals) &&
      applies(one, circumstances ?? null, subject),
  );
  const says = (effect: Statement['effect']) => applying.some((one) => one.effect === effect);
  return { allows: says('allow'), denies: says('deny'), isPublic: false };
}

/** Returns those of the repositories that everybody may pull. */
export async function publicAmong(env: Pick<Database, 'DB'>, repositories: readonly string[]): Promise<Set<string>> {
  const said = await pullsSaid(env, { principals: [EVERYONE], subject: '' }, repositories);
  return new Set([...said].filter(([, { isPublic }]) => isPublic).map(([repository]) => repository));
}
