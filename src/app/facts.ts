/** What webhooks need to know from other modules: how repositories are described, and who may administer them. */
import { mayAdminister } from '../auth/rights/administering.ts';
import { publicAmong } from '../auth/visibility.ts';
import type { Database } from '../events/batch.ts';
import type { RepositoryName } from '../oci/name.ts';
import { describeRepositories } from '../registry/repositories/descriptions.ts';
import type { RepositoryFacts } from '../webhooks/formats/format.ts';
import type { Standing } from '../webhooks/standing.ts';

/** Repositories that do not exist are left out. */
export async function factsOf(env: Database, repositories: RepositoryName[]): Promise<Map<string, RepositoryFacts>> {
  const pages = await describeRepositories(env, repositories);
  const open = await publicAmong(env, repositories);
  return new Map(pages.map(({ name, description, createdAt }) => [name, { description, createdAt, isPublic: open.has(name) }]));
}

/** Tells whether the owners of webhooks may still administer what the webhooks listen to. */
export function standingIn(env: Database): Standing {
  return (questions) => mayAdminister(env, questions);
}
