/**
 * Lists of what somebody may pull or administer. Where to look is a superset, found by index; then each name is judged by the
 * engine, within the comparisons that one request may make.
 */
import { patternList } from '../oci/pattern.ts';
import type { RepositoryAction } from '../vocabulary/actions.ts';
import type { Authority } from './authority.ts';
import type { Database } from './directory.ts';
import { EVERYONE } from './names.ts';
import { allows, COMPARISONS_MAX } from './policy.ts';
import type { Sourced } from './statement.ts';

/** Where names lie: behind beginnings of them, '' for all, or one by one. Both sorted, and no prefix begins with another. */
export interface Place {
  prefixes: string[];
  names: string[];
}

/** Patterns of the caller's own statements that allow them `action`, or of a limit of their credential. */
export function patternsOf({ statements }: Pick<Authority, 'statements'>, action: RepositoryAction): string[] {
  return statements
    .filter(({ from, statement }) => !from.startsWith('repository:') && statement.effect === 'allow')
    .flatMap(({ statement }) => (statement.actions.includes(action) ? statement.repositories : []));
}

export function pullPatterns(authority: Pick<Authority, 'statements'>): string[] {
  return patternsOf(authority, 'pull');
}

/** Names, and beginnings of names before the first `*`: what an index can find. */
export function reachOf(patterns: readonly string[]): Place {
  const prefixes = patterns.filter((pattern) => pattern.includes('*')).map((pattern) => pattern.slice(0, pattern.indexOf('*')));
  return { prefixes: fewer(withoutCovered(prefixes)), names: sorted(patterns.filter((pattern) => !pattern.includes('*'))) };
}

/** Every step of a list asks the index once for each prefix, so more than these are looked for by what they have in common. */
const PREFIXES_MAX = 50;

/** Of too many, the namespaces that they lie in; of too many of those, all there is. */
function fewer(prefixes: string[]): string[] {
  if (prefixes.length <= PREFIXES_MAX) return prefixes;
  const namespaces = withoutCovered(prefixes.map((prefix) => prefix.slice(0, prefix.indexOf('/') + 1)));
  return namespaces.length <= PREFIXES_MAX ? namespaces : [''];
}

function sorted(texts: readonly string[]): string[] {
  return [...new Set(texts)].sort();
}

/** `acme/` covers `acme/web-`, which follows it in the order of names. */
function withoutCovered(prefixes: readonly string[]): string[] {
  const kept: string[] = [];
  for (const prefix of sorted(prefixes)) {
    const last = kept.at(-1);
    if (last === undefined || !prefix.startsWith(last)) kept.push(prefix);
  }
  return kept;
}

/** Whether a name lies in a place; found by halving. */
export function placeTest({ prefixes, names }: Place): (name: string) => boolean {
  const known = new Set(names);
  return (name) => known.has(name) || isCovered(prefixes, name);
}

/** Only the greatest prefix that is not behind `text` can be its beginning, as none begins with another. */
function isCovered(prefixes: readonly string[], text: string): boolean {
  let [low, high] = [0, prefixes.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((prefixes[middle] as string) <= text) low = middle + 1;
    else high = middle;
  }
  return low > 0 && text.startsWith(prefixes[low - 1] as string);
}

/** What lies in both. */
export function common(one: Place, other: Place): Place {
  const prefixes = [
    ...one.prefixes.filter((prefix) => isCovered(other.prefixes, prefix)),
    ...other.prefixes.filter((prefix) => isCovered(one.prefixes, prefix)),
  ];
  const names = [...one.names.filter(placeTest(other)), ...other.names.filter(placeTest(one))];
  return { prefixes: withoutCovered(prefixes), names: sorted(names) };
}

/** What a repository's own policy says about pulling: to the caller, and whether it lets everybody pull. */
export interface Said {
  allows: boolean;
  denies: boolean;
  isPublic: boolean;
}

/** `null`: one request may not compare more; what comes next is for another. */
export type Judge = (repository: string, said?: Said) => boolean | null;

/**
 * Judges one repository after the other. The caller's own statements are brought together first, so that each of many patterns
 * is compared once for a repository.
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

/** Statements that allow as one, and statements that deny as one. Those that decide in a way of their own stay apart. */
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

/** Bits of `policy_principals.pull`. */
const ALLOWS = 1;
export const DENIES = 2;

/** SQL: the bit of one statement (JSON). Actions are words of a closed list, so comparing their text is enough. */
const bitOf = (statement: string) =>
  `iif(instr(${statement} -> 'actions', '"pull"') > 0, iif(${statement} ->> 'effect' = 'deny', ${DENIES}, ${ALLOWS}), 0)`;

/** SQL: the bits of all statements `s.value` of a group. */
export const PULL_BITS = `max(${bitOf('s.value')} & ${ALLOWS}) + max(${bitOf('s.value')} & ${DENIES})`;

/**
 * Rows that an earlier version of the registry wrote say nothing: the policy does. Most have one statement, for which no table of
 * statements is made. A principal has no character to be escaped.
 */
const PULL = `coalesce(n.pull, (SELECT iif(json_array_length(q.statements) = 1, ${bitOf('(q.statements -> 0)')},
    (SELECT ${PULL_BITS} FROM json_each(q.statements) s WHERE instr(s.value -> 'principals', '"' || n.principal || '"') > 0))
  FROM policies q WHERE q.subject = 'repository:' || n.repository), 0)`;

/**
 * What the own policies of repositories say about pulling to some principals, without reading any policy: each may be as large
 * as a policy gets. Those that name none of them are left out.
 */
export async function pullsSaid(
  env: Pick<Database, 'DB'>,
  principals: readonly string[],
  repositories: readonly string[],
): Promise<Map<string, Said>> {
  const { results } = await env.DB.prepare(
    `SELECT n.repository, n.principal, ${PULL} AS pull FROM policy_principals n
     WHERE n.principal IN (SELECT value FROM json_each(?1)) AND n.repository IN (SELECT value FROM json_each(?2))`,
  )
    .bind(JSON.stringify(principals), JSON.stringify(repositories))
    .all<{ repository: string; principal: string; pull: number }>();
  const said = new Map<string, Said>();
  for (const { repository, principal, pull } of results) {
    const before = said.get(repository);
    said.set(repository, {
      allows: before?.allows === true || (pull & ALLOWS) !== 0,
      denies: before?.denies === true || (pull & DENIES) !== 0,
      isPublic: before?.isPublic === true || (principal === EVERYONE && (pull & ALLOWS) !== 0),
    });
  }
  return said;
}

/** Which of these repositories everybody may pull. */
export async function publicAmong(env: Pick<Database, 'DB'>, repositories: readonly string[]): Promise<Set<string>> {
  const said = await pullsSaid(env, [EVERYONE], repositories);
  return new Set([...said].filter(([, { isPublic }]) => isPublic).map(([repository]) => repository));
}

/** Repositories after `after` whose own policies name the caller, in bytewise order, up to `limit`; from one to the next. */
export async function repositoriesNaming(
  env: Database,
  { principals }: Pick<Authority, 'principals'>,
  { after, limit }: { after: string; limit: number },
): Promise<string[]> {
  const next = (from: string) => `(SELECT min(repository) FROM (SELECT (SELECT repository FROM policy_principals
    WHERE principal = p.value AND repository > ${from} ORDER BY repository LIMIT 1) AS repository FROM json_each(?1) p))`;
  const { results } = await env.DB.prepare(
    `WITH RECURSIVE page(repository) AS (
       SELECT ${next('?2')} UNION ALL SELECT ${next('page.repository')} FROM page WHERE page.repository IS NOT NULL LIMIT ?3)
     SELECT repository FROM page WHERE repository IS NOT NULL`,
  )
    .bind(JSON.stringify(principals), after, limit)
    .all<{ repository: string }>();
  return results.map(({ repository }) => repository);
}
