/** Asks the database about somebody: one statement, whatever they showed, and for questions about others. */
import { type Authority, anonymous, fromAccount, onIdentity, repositoryStatements, unreadDenials } from '../authority.ts';
import type { Credential } from '../credential.ts';
import { BOOTSTRAP, createBootstrapAdministrator, type Database, type Loaded, loadSubjects, NOTHING } from '../directory.ts';
import { EVERYONE } from '../names.ts';
import { authorityOfJob, authorityOfOutside, fromTrustRules } from '../outside/jobs.ts';
import { findRule } from '../outside/trust-rules.ts';
import type { Runtime } from '../runtime.ts';

/**
 * `null` where what was shown does not count any more, or never did.
 * @throws unauthenticated where it is right, and there is more to say of why it does not count
 * @param credential `null`: a stranger
 * @param repositories whose own statements are wanted
 */
export async function loadAuthority(
  env: Database,
  credential: Credential | null,
  repositories: readonly string[],
  runtime: Runtime,
): Promise<Authority | null> {
  if (credential === null && repositories.length === 0) return anonymous(NOTHING);
  const load = () => loadOrBegin(env, credential, repositories);
  if (credential === null) return anonymous(await load());
  if (credential.kind === 'outside') return authorityOfOutside(env, credential, repositories, runtime, load);
  const job = credential.kind === 'token' ? credential.via.job : undefined;
  if (credential.kind === 'token' && job) return authorityOfJob(env, credential, job, repositories, runtime, load);
  return fromAccount(credential, await load());
}

async function loadOne(env: Database, credential: Credential | null, repositories: readonly string[]): Promise<Loaded> {
  const token = credential?.kind === 'token' ? credential : null;
  const subject = credential?.kind === 'password' ? BOOTSTRAP : (token?.subject ?? null);
  const key = credential?.kind === 'key' ? credential.key : (token?.via.key ?? null);
  const login = token?.login?.id ?? null;
  const [loaded] = await loadSubjects(env, [subject], repositories, { key, login });
  return loaded ?? NOTHING;
}

/**
 * As they would be with a credential that is not narrowed, without one being shown: for questions about others. One statement.
 * Who is disabled or not there is left out.
 * @param subjects users and robots
 */
export async function authoritiesOf(
  env: Database,
  subjects: readonly string[],
  repositories: readonly string[],
): Promise<Authority[]> {
  const all = await loadSubjects(env, subjects, repositories, { key: null, login: null });
  return all.flatMap((loaded) => fromAccount({ kind: 'password', mark: '' }, loaded) ?? []);
}

/** The owner of a key, within its limits. `null` where it has ended. */
export async function authorityOfKey(env: Database, key: string, repositories: readonly string[]): Promise<Authority | null> {
  const [loaded] = await loadSubjects(env, [null], repositories, { key, login: null });
  return loaded ? fromAccount({ kind: 'key', key, name: null }, loaded) : null;
}

/** Somebody of whom only this is known: a anonymous, or any member of a team or an organization. */
export async function authorityOfGroup(env: Database, principal: string, repositories: readonly string[]): Promise<Authority> {
  const [loaded = NOTHING] = await loadSubjects(env, [principal], repositories, {
    key: null,
    login: null,
  });
  const own = loaded.policies.filter(({ subject }) => subject === principal && !subject.startsWith('repository:'));
  return {
    ...anonymous(loaded),
    principals: [...new Set([principal, EVERYONE])],
    statements: [
      ...own.flatMap((policy) => onIdentity(policy.subject, policy.statements)),
      ...unreadDenials(loaded.unread.filter((subject) => subject === principal)),
      ...repositoryStatements(loaded),
    ],
  };
}

/** The bootstrap administrator's account is made when its password is first used. */
async function loadOrBegin(env: Database, credential: Credential | null, repositories: readonly string[]): Promise<Loaded> {
  const loaded = await loadOne(env, credential, repositories);
  if (credential?.kind !== 'password' || loaded.account) return loaded;
  await createBootstrapAdministrator(env);
  return loadOne(env, credential, repositories);
}

/**
 * Whoever a trust rule takes a token with these claims for; conditions of the rule that only one value meets are taken as met.
 * `null` where there is no such rule.
 */
export async function authorityOfRule(
  env: Database,
  rule: string,
  claims: Record<string, string>,
  repositories: readonly string[],
): Promise<Authority | null> {
  const [[loaded = NOTHING], found] = await Promise.all([
    loadSubjects(env, [''], repositories, { key: null, login: null }),
    findRule(env, rule),
  ]);
  if (!found || found.disabled) return null;
  const exact = Object.entries(found.claims).filter(([, pattern]) => typeof pattern === 'string' && !pattern.includes('*'));
  const assumed = { ...(Object.fromEntries(exact) as Record<string, string>), ...claims, iss: found.issuer };
  return fromTrustRules({ claims: assumed, omitted: [], audiences: [], at: 0, since: 0 }, [found], found.subject, loaded);
}
