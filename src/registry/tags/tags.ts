/** Lists the tags of a repository. `changes.ts` writes them. */
import type { Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { type Page, type PageQuery, pageOf } from '../../oci/page.ts';
import { Refusal } from '../../vocabulary/refusal.ts';

/** end-8. The LEFT JOIN tells an empty repository (one row) from an unknown one (none). @throws repository-unknown */
export async function listTags(env: Database, repository: RepositoryName, { after, limit }: PageQuery): Promise<Page<string>> {
  const { results } = await prepare(
    env,
    `SELECT t.name FROM repositories r
     LEFT JOIN tags t ON t.repository_id = r.id AND t.name > :after
     WHERE r.name = :repository ORDER BY t.name LIMIT :rows`,
    { repository, after, rows: limit + 1 },
  ).all<{ name: string | null }>();
  if (results.length === 0) throw new Refusal('repository-unknown');
  return pageOf(
    results.map((row) => row.name).filter((name) => name !== null),
    limit,
  );
}
