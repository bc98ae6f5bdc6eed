/** Finds the repositories that take the most space. */
import type { Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { type RepositorySums, SUMS, SUMS_OF } from '../repositories/descriptions.ts';

export interface LargeRepository extends RepositorySums {
  name: RepositoryName;
}

/** The maximum number of repositories that are compared. */
const ROWS_MAX = 2000;

/** Returns the largest repositories, the largest first. @param namespace `null` for all namespaces */
export async function largestRepositories(
  env: Pick<Database, 'DB'>,
  namespace: string | null,
  limit: number,
): Promise<LargeRepository[]> {
  // The character `0` follows the slash in byte order, so the range contains all repositories of the namespace.
  const [start, end] = namespace === null ? ['', '\u{10ffff}'] : [`${namespace}/`, `${namespace}0`];
  const { results } = await prepare(
    env,
    `SELECT r.name, ${SUMS} FROM (SELECT id, name FROM repositories WHERE name >= :start AND name < :end LIMIT ${ROWS_MAX}) r
     ${SUMS_OF} ORDER BY bytes DESC, r.name LIMIT :limit`,
    { start, end, limit },
  ).all<LargeRepository>();
  return results;
}
