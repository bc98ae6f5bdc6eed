/** What webhooks need to know that other rooms know: what repositories are like, and who may still administer them. */
import { mayAdminister } from './auth/rights/administering.ts';
import { publicAmong } from './auth/visibility.ts';
import type { Database } from './events/batch.ts';
import type { RepositoryName } from './oci/name.ts';
import { describeRepositories } from './registry/repositories/descriptions.ts';
import type { RepositoryFacts } from './webhooks/formats/format.ts';
import type { Standing } from './webhooks/standing.ts';

/** Those that are not there are left out. */
export async function factsOf(env: Database, repositories: RepositoryName[]): Promise<Map<string, RepositoryFacts>> {
  const pages = await describeRepositories(env, repositories);
  const open = await publicAmong(env, repositories);
  return new Map(pages.map(({ name, description, createdAt }) => [name, { description, createdAt, isPublic: open.has(name) }]));
}

/** Whether the owners of webhooks may still administer what these listen to. */
export function standingIn(env: Database): Standing {
  return (questions) => mayAdminister(env, questions);
}
