/** Asks the database about somebody: one statement, whatever they showed, and for questions about others. */
import { type Authority, ofAccount, ofJob, ofRepositories, ofUnread, onIdentity, stranger } from './authority.ts';
import { BOOTSTRAP, createBootstrapAdministrator, type Database, type Loaded, loadSubjects, NOTHING } from './directory.ts';
import { EVERYONE } from './names.ts';
import type { World } from './occasion.ts';
import { authorityOfJob, authorityOfOutside } from './outside/jobs.ts';
import { findRule } from './outside/trust-rules.ts';
import type { Proof } from './proof.ts';

/**
 * `null` where what was shown does not count any more, or never did.
 * @throws unauthenticated where it is right, and there is more to say of why it does not count
 * @param proof `null`: a stranger
 * @param repositories whose own statements are wanted
 */
export async function loadAuthority(
  env: Database,
  proof: Proof | null,
  repositories: readonly string[],
  world: World,
): Promise<Authority | null> {
  if (proof === null && repositories.length === 0) return stranger(NOTHING);
  const load = () => loadOrBegin(env, proof, repositories);
  if (proof === null) return stranger(await load());
  if (proof.kind === 'outside') return authorityOfOutside(env, proof, repositories, world, load);
  const job = proof.kind === 'token' ? proof.via.job : undefined;
  if (proof.kind === 'token' && job) return authorityOfJob(env, proof, job, repositories, world, load);
  return ofAccount(proof, await load());
}

async function loadOne(env: Database, proof: Proof | null, repositories: readonly string[]): Promise<Loaded> {
  const token = proof?.kind === 'token' ? proof : null;
  const subject = proof?.kind === 'password' ? BOOTSTRAP : (token?.subject ?? null);
  const key = proof?.kind === 'key' ? proof.key : (token?.via.key ?? null);
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
  return all.flatMap((loaded) => ofAccount({ kind: 'password', mark: '' }, loaded) ?? []);
}

/** The owner of a key, within its limits. `null` where it has ended. */
export async function authorityOfKey(env: Database, key: string, repositories: readonly string[]): Promise<Authority | null> {
  const [loaded] = await loadSubjects(env, [null], repositories, { key, login: null });
  return loaded ? ofAccount({ kind: 'key', key, name: null }, loaded) : null;
}

/** Somebody of whom only this is known: a stranger, or any member of a team or an organization. */
export async function authorityOfGroup(env: Database, principal: string, repositories: readonly string[]): Promise<Authority> {
  const [loaded = NOTHING] = await loadSubjects(env, [principal], repositories, {
    key: null,
    login: null,
  });
  const own = loaded.policies.filter(({ subject }) => subject === principal && !subject.startsWith('repository:'));
  return {
    ...stranger(loaded),
    principals: [...new Set([principal, EVERYONE])],
    statements: [
      ...own.flatMap((policy) => onIdentity(policy.subject, policy.statements)),
      ...ofUnread(loaded.unread.filter((subject) => subject === principal)),
      ...ofRepositories(loaded),
    ],
  };
}

/** The bootstrap administrator's account is made when its password is first used. */
async function loadOrBegin(env: Database, proof: Proof | null, repositories: readonly string[]): Promise<Loaded> {
  const loaded = await loadOne(env, proof, repositories);
  if (proof?.kind !== 'password' || loaded.account) return loaded;
  await createBootstrapAdministrator(env);
  return loadOne(env, proof, repositories);
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
  return ofJob({ claims: assumed, omitted: [], audiences: [], at: 0, since: 0 }, [found], found.subject, loaded);
}
