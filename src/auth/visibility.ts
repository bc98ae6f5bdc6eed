/**
 * Where to look for what somebody may pull. A superset, found by index: `policy.ts` is asked about each repository before its
 * name is shown.
 */
import type { Authority } from './authority.ts';
import type { Database } from './directory.ts';

/** Where names lie: behind beginnings of them, '' for all, or one by one. */
export interface Place {
  prefixes: string[];
  names: string[];
}

/** Patterns of the caller's own statements that let them pull, or of a limit of their credential. */
export function pullPatterns({ statements }: Pick<Authority, 'statements'>): string[] {
  return statements
    .filter(({ from, statement }) => !from.startsWith('repository:') && statement.effect === 'allow')
    .flatMap(({ statement }) => (statement.actions.includes('pull') ? statement.repositories : []));
}

/** Names, and beginnings of names before the first `*`: what an index can find. */
export function reachOf(patterns: readonly string[]): Place {
  const prefixes = patterns.filter((pattern) => pattern.includes('*')).map((pattern) => pattern.slice(0, pattern.indexOf('*')));
  return { prefixes: withoutCovered(prefixes), names: patterns.filter((pattern) => !pattern.includes('*')) };
}

/** `acme/` covers `acme/web-`. */
function withoutCovered(prefixes: string[]): string[] {
  const sorted = [...new Set(prefixes)].sort();
  return sorted.filter((prefix, n) => !sorted.slice(0, n).some((shorter) => prefix.startsWith(shorter)));
}

export function liesIn({ prefixes, names }: Place, name: string): boolean {
  return prefixes.some((prefix) => name.startsWith(prefix)) || names.includes(name);
}

/** What lies in both. */
export function common(one: Place, other: Place): Place {
  const prefixes = one.prefixes.flatMap((prefix) =>
    other.prefixes.flatMap((second) => (prefix.startsWith(second) ? [prefix] : second.startsWith(prefix) ? [second] : [])),
  );
  const names = [...one.names.filter((name) => liesIn(other, name)), ...other.names.filter((name) => liesIn(one, name))];
  return { prefixes: withoutCovered(prefixes), names: [...new Set(names)] };
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
