/** Tags of a repository: listed here; changed in `changes.ts`, with a manifest or by themselves. */

import type { Database } from '../../events/batch.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { type Page, type PageQuery, pageOf } from '../../oci/page.ts';
import { Refusal } from '../../vocabulary/refusal.ts';

/** end-8. One statement also tells an empty repository from an unknown one. @throws repository-unknown */
export async function listTags(env: Database, repository: RepositoryName, { after, limit }: PageQuery): Promise<Page<string>> {
  const { results } = await env.DB.prepare(
    `SELECT t.name FROM repositories r
     LEFT JOIN tags t ON t.repository_id = r.id AND t.name > ?2
     WHERE r.name = ?1 ORDER BY t.name LIMIT ?3`,
  )
    .bind(repository, after, limit + 1)
    .all<{ name: string | null }>();
  if (results.length === 0) throw new Refusal('repository-unknown');
  return pageOf(
    results.map((row) => row.name).filter((name) => name !== null),
    limit,
  );
}
