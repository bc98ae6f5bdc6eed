/** What webhooks say of repositories beside what happened: it is put together here, as two rooms know a part of it each. */
import { getPolicies, isPublic } from './auth/policies.ts';
import type { Database } from './events/batch.ts';
import type { RepositoryName } from './oci/name.ts';
import { describeRepositories } from './registry/repositories/pages.ts';
import type { RepositoryFacts } from './webhooks/formats/format.ts';

/** Those that are not there are left out. */
export async function factsOf(env: Database, repositories: RepositoryName[]): Promise<Map<string, RepositoryFacts>> {
  const pages = await describeRepositories(env, repositories);
  const policies = await getPolicies(
    env,
    repositories.map((name) => `repository:${name}`),
  );
  return new Map(
    pages.map(({ name, description, createdAt }) => [
      name,
      { description, createdAt, isPublic: isPublic(policies.get(`repository:${name}`) ?? []) },
    ]),
  );
}
