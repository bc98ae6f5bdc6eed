/** Repositories: they appear with their first content, and are listed. */
import type { RepositoryName } from '../oci/name.ts';
import type { Database } from './batch.ts';
import type { Page, PageQuery } from './page.ts';
import { pageOf } from './page.ts';

/** For the batch that stores the first content; does nothing where the repository exists. */
export function createRepository(env: Database, repository: RepositoryName): D1PreparedStatement {
  return env.DB.prepare(
    `INSERT INTO repositories (name, created_at) SELECT ?1, unixepoch()
     WHERE NOT EXISTS (SELECT 1 FROM repositories WHERE name = ?1)`,
  ).bind(repository);
}

/** Names in bytewise order (`_catalog`). */
export async function listRepositories(env: Database, { after, limit }: PageQuery): Promise<Page<string>> {
  const { results } = await env.DB.prepare('SELECT name FROM repositories WHERE name > ?1 ORDER BY name LIMIT ?2')
    .bind(after, limit + 1)
    .all<{ name: string }>();
  return pageOf(
    results.map((row) => row.name),
    limit,
  );
}
