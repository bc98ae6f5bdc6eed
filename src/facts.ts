/** What webhooks say of repositories beside what happened: it is put together here, as two rooms know a part of it each. */
import { publicAmong } from './auth/visibility.ts';
import type { Database } from './events/batch.ts';
import type { RepositoryName } from './oci/name.ts';
import { describeRepositories } from './registry/repositories/pages.ts';
import type { RepositoryFacts } from './webhooks/formats/format.ts';

/** Those that are not there are left out. */
export async function factsOf(env: Database, repositories: RepositoryName[]): Promise<Map<string, RepositoryFacts>> {
  const pages = await describeRepositories(env, repositories);
  const open = await publicAmong(env, repositories);
  return new Map(pages.map(({ name, description, createdAt }) => [name, { description, createdAt, isPublic: open.has(name) }]));
}
