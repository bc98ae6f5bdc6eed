/**
 * Warns about patterns such as `acme` in statements. Such a pattern matches only the repository named `acme`. A user who writes
 * the name of an organization or user usually means its repositories, `acme/*`.
 */
import { queryAccounts } from '../auth/people/accounts.ts';
import { allows } from '../auth/policy.ts';
import { viewerOf } from '../auth/rights/viewer.ts';
import type { Statement } from '../auth/statement.ts';
import { newBatch } from '../events/batch.ts';
import { queryRepositories } from '../registry/repositories/repositories.ts';
import { nameOf } from '../vocabulary/names.ts';
import type { Call } from './call.ts';

/** The maximum number of names that are checked. */
const NAMES_MAX = 20;

/** Returns the names that are probably a mistake. @param statements the statements of a user, team, robot, trust rule or key */
export async function bareNames(
  call: Pick<Call, 'env' | 'authority'>,
  statements: readonly Pick<Statement, 'repositories'>[],
): Promise<string[]> {
  const patterns = statements.flatMap(({ repositories }) => repositories);
  const names = [...new Set(patterns)].filter((pattern) => !/[/*]/.test(pattern)).slice(0, NAMES_MAX);
  if (names.length === 0) return [];
  const isMeant = await repositoriesMeant(call, names);
  return names
    .filter((name) => !isMeant(name))
    .map((name) => `${name} means the one repository of that name: for all repositories in ${name}/, write ${name}/*`);
}

/**
 * Returns a function that returns true if a name is probably meant as a repository. For administrators this depends on what
 * exists. Other callers must not learn from the warnings which repositories and accounts exist, so for them it depends only on
 * their own names and rights.
 */
async function repositoriesMeant({ env, authority }: Pick<Call, 'env' | 'authority'>, names: readonly string[]) {
  const { administrator, subject, belongsTo } = viewerOf(authority);
  if (!administrator) {
    const own = new Set([...belongsTo, nameOf(subject)]);
    return (name: string) => !own.has(name) && allows(authority, 'pull', name);
  }
  const batch = newBatch(env);
  const accounts = queryAccounts(
    batch,
    names.flatMap((name) => [`organization:${name}`, `user:${name}`]),
  );
  const repositories = queryRepositories(batch, names);
  const results = await batch.commit();
  const taken = new Set(results.of(accounts).map((one) => nameOf(one.subject)));
  const existing = new Set(results.of(repositories).map((one) => one.name));
  return (name: string) => existing.has(name) && !taken.has(name);
}
