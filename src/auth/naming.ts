/** Finds the repositories whose policies name a caller, by an index. */
import type { Database } from '../events/batch.ts';
import { prepare } from '../events/sql.ts';
import type { Authority } from './authority.ts';
import { PULL, type PullRow } from './visibility.ts';

/**
 * Returns up to `limit` repositories after `after` whose policies name one of the caller's principals, in byte order, with a
 * row for each principal. Each step of the recursion finds the next repository in the index.
 */
export async function repositoriesNaming(
  env: Database,
  { principals }: Pick<Authority, 'principals'>,
  { after, limit }: { after: string; limit: number },
): Promise<PullRow[]> {
  return (await prepare(env, `${NAMING}${ROWS_OF_NAMING}`, { principals, after, limit }).all<PullRow>()).results;
}

/** As `repositoriesNaming`, but returns only the names: for a search that most of these repositories do not match. */
export async function namesNaming(
  env: Database,
  { principals }: Pick<Authority, 'principals'>,
  { after, limit }: { after: string; limit: number },
): Promise<string[]> {
  const sql = `${NAMING} SELECT repository FROM page WHERE repository IS NOT NULL`;
  const { results } = await prepare(env, sql, { principals, after, limit }).all<{ repository: string }>();
  return results.map(({ repository }) => repository);
}

const nextNaming = (from: string) => `(SELECT min(repository) FROM (SELECT (SELECT repository FROM policy_principals
    WHERE principal = p.value AND repository > ${from} ORDER BY repository LIMIT 1) AS repository
      FROM json_each(:principals) p))`;

/** The beginning of an SQL query: a table `page` of the next repositories whose policies name one of `:principals`. */
const NAMING = `WITH RECURSIVE page(repository) AS (
    SELECT ${nextNaming(':after')} UNION ALL
    SELECT ${nextNaming('page.repository')} FROM page WHERE page.repository IS NOT NULL LIMIT :limit)`;

const ROWS_OF_NAMING = ` SELECT n.repository, n.principal, ${PULL} AS pull FROM page CROSS JOIN policy_principals n
    ON n.repository = page.repository AND n.principal IN (SELECT value FROM json_each(:principals))
  WHERE page.repository IS NOT NULL ORDER BY 1`;
