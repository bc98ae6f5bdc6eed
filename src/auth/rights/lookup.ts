/**
 * Loads the authority of a caller by its credential, and the authority of others for questions about them, in one D1 call. Also
 * decides who may administer a repository, an organization or the registry. This decision is also needed for webhooks, because
 * the creator of a webhook may lose the right.
 */
import type { Assumption, Database, JoinedReads } from '../../events/batch.ts';
import { isAboutRepository, organizationAbout } from '../../events/event.ts';
import { EVERYONE } from '../../vocabulary/names.ts';
import { type Authority, anonymous, fromAccount, onIdentity, statementsOnRepositories, unreadDenials } from '../authority.ts';
import type { Circumstances } from '../conditions.ts';
import type { Credential } from '../credential.ts';
import { BOOTSTRAP, createBootstrapAdministrator, knownRights, loadSubjects } from '../directory.ts';
import { inCircumstances, type LoadedRights, NOTHING_LOADED } from '../loaded-rights.ts';
import { authorityOfJob, authorityOfOutside, fromTrustRules, widestStatements } from '../outside/jobs.ts';
import { findRule } from '../outside/trust-rules.ts';
import { allows, isUnscopedUser } from '../policy.ts';
import type { Runtime } from '../runtime.ts';

/**
 * Loads the authority of a caller.
 * @param credential `null` for an anonymous caller
 * @param repositories the repositories whose policies are loaded
 * @param joined reads of other modules that become part of the D1 call
 * @returns `null` if the credential is invalid, has expired or was revoked
 * @throws unauthenticated with the reason if the token of a CI job is genuine but no trust rule admits it
 */
export async function loadAuthority(
  env: Database,
  credential: Credential | null,
  repositories: readonly string[],
  runtime: Runtime,
  joined: JoinedReads | null = null,
): Promise<Authority | null> {
  if (credential === null && repositories.length === 0 && joined === null) return anonymous(NOTHING_LOADED);
  const circumstances = circumstancesOf(runtime);
  const load = () => loadOrBegin(env, credential, { repositories, joined, circumstances });
  const authority = await authorityBy(env, credential, repositories, runtime, load);
  return authority && { ...authority, circumstances };
}

async function authorityBy(
  env: Database,
  credential: Credential | null,
  repositories: readonly string[],
  runtime: Runtime,
  load: () => Promise<LoadedRights>,
): Promise<Authority | null> {
  if (credential === null) return anonymous(await load());
  if (credential.kind === 'outside') return authorityOfOutside(env, credential, repositories, runtime, load);
  const job = credential.kind === 'token' ? credential.credentialOrigin.job : undefined;
  if (credential.kind === 'token' && job) return authorityOfJob(env, credential, job, repositories, runtime, load);
  return fromAccount(credential, await load());
}

function circumstancesOf({ clientAddress, now }: Pick<Runtime, 'clientAddress' | 'now'>): Circumstances {
  return { address: clientAddress ?? (() => null), now };
}

interface Load {
  repositories: readonly string[];
  joined: JoinedReads | null;
  circumstances: Circumstances;
}

/**
 * Returns the authority of a caller with an access token as this isolate remembers it. It is no proof of a right: a change that
 * is decided by it must add the assumption to its batch.
 * @returns `null` if it is not remembered, and for the tokens of CI jobs, whose trust rules are not remembered
 */
export function rememberedAuthority(
  env: Database,
  credential: Credential | null,
  repositories: readonly string[],
  runtime: Pick<Runtime, 'clientAddress' | 'now'>,
): { authority: Authority; assumption: Assumption } | null {
  if (credential?.kind !== 'token' || !credential.access || credential.credentialOrigin.job) return null;
  const { subject, credentialOrigin } = credential;
  const known = knownRights(env, subject, repositories, { key: credentialOrigin.key ?? null, login: null });
  const circumstances = circumstancesOf(runtime);
  const authority = known && fromAccount(credential, inCircumstances(known.loaded, circumstances));
  return authority && { authority: { ...authority, circumstances }, assumption: known.assumption };
}

async function loadOne(
  env: Database,
  credential: Credential | null,
  { repositories, joined, circumstances }: Load,
): Promise<LoadedRights> {
  const token = credential?.kind === 'token' ? credential : null;
  const subject = credential?.kind === 'password' ? BOOTSTRAP : (token?.subject ?? null);
  const key = credential?.kind === 'key' ? credential.key : (token?.credentialOrigin.key ?? null);
  const login = token?.login?.id ?? null;
  const [loaded] = await loadSubjects(env, [subject], repositories, { key, login }, joined, circumstances);
  return loaded ?? NOTHING_LOADED;
}

/**
 * Returns the authority that users and robots have with a credential that is not narrowed. Used to answer questions about
 * others. Accounts that are disabled or do not exist are left out.
 */
export async function authoritiesOf(
  env: Database,
  subjects: readonly string[],
  repositories: readonly string[],
): Promise<Authority[]> {
  const all = await loadSubjects(env, subjects, repositories, { key: null, login: null });
  return all.flatMap(activeAuthority);
}

/** Returns the authority of an account with a credential that is not narrowed, or an empty list if the account is disabled. */
function activeAuthority(loaded: LoadedRights): Authority[] {
  return [fromAccount({ kind: 'password', mark: '' }, loaded) ?? []].flat();
}

/**
 * Returns the authority of a key, which is its owner's authority within the limits of the key. @returns `null` if the key is no
 * longer valid
 */
export async function authorityOfKey(env: Database, key: string, repositories: readonly string[]): Promise<Authority | null> {
  const [loaded] = await loadSubjects(env, [null], repositories, { key, login: null });
  return loaded ? fromAccount({ kind: 'key', key, name: null }, loaded) : null;
}

/** Returns the authority that a team, an organization or everyone has by itself. */
export async function authorityOfGroup(env: Database, principal: string, repositories: readonly string[]): Promise<Authority> {
  const [loaded = NOTHING_LOADED] = await loadSubjects(env, [principal], repositories, {
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
      ...statementsOnRepositories(loaded),
    ],
  };
}

/**
 * Loads the rights of the caller. Creates the account of the first administrator when its password is used for the first time.
 */
async function loadOrBegin(env: Database, credential: Credential | null, load: Load): Promise<LoadedRights> {
  const loaded = await loadOne(env, credential, load);
  if (credential?.kind !== 'password' || loaded.account) return loaded;
  await createBootstrapAdministrator(env);
  return loadOne(env, credential, { ...load, joined: null });
}

/**
 * Returns the authority of a job that a trust rule admits.
 * @param claims claims of the job's token. A condition of the rule that accepts exactly one value counts as met
 * @returns `null` if the rule does not exist or is disabled
 */
export async function authorityOfRule(
  env: Database,
  rule: string,
  claims: Record<string, string>,
  repositories: readonly string[],
): Promise<Authority | null> {
  const [[loaded = NOTHING_LOADED], found] = await Promise.all([
    loadSubjects(env, [''], repositories, { key: null, login: null }),
    findRule(env, rule),
  ]);
  if (!found || found.disabled) return null;
  const exact = Object.entries(found.claims).filter(([, pattern]) => typeof pattern === 'string' && !pattern.includes('*'));
  const assumed = { ...(Object.fromEntries(exact) as Record<string, string>), ...claims, iss: found.issuer };
  return fromTrustRules({ claims: assumed, omitted: [], audiences: [], at: 0, since: 0 }, [found], found.subject, loaded);
}

/**
 * Returns true if the caller may administer a repository, an organization or the registry.
 * @param about the name of a repository, `organization:acme`, or the empty string for the registry
 */
export function administers(authority: Authority, about: string): boolean {
  if (isAboutRepository(about)) return allows(authority, 'admin', about);
  return (
    isUnscopedUser(authority) &&
    (authority.administrator || (about !== '' && authority.owns.includes(organizationAbout(about))))
  );
}

/**
 * Decides for several pairs whether the subject may administer the repository, organization or registry now. The subjects count
 * as having a credential that is not narrowed.
 */
export async function mayAdminister(
  env: Database,
  questions: readonly { subject: string; about: string }[],
): Promise<boolean[]> {
  const subjects = [...new Set(questions.map(({ subject }) => subject))];
  const repositories = [...new Set(questions.map(({ about }) => about).filter(isAboutRepository))];
  const accounts = subjects.filter((subject) => !subject.startsWith('ci:'));
  const rules = subjects.filter((subject) => subject.startsWith('ci:'));
  const loaded = accounts.length > 0 ? await loadSubjects(env, accounts, repositories, { key: null, login: null }) : [];
  const authorities = new Map(loaded.flatMap(activeAuthority).map((authority) => [authority.subject, authority]));
  for (const rule of rules) {
    const about = questions.flatMap((question) => (question.subject === rule ? question.about : [])).filter(isAboutRepository);
    const authority = await widestAuthorityOfRule(env, rule, [...new Set(about)]);
    if (authority) authorities.set(rule, authority);
  }
  // The first administrator has no row in D1 until the password is used for the first time.
  const isAbsent = !loaded.some(({ account }) => account?.subject === BOOTSTRAP);
  return questions.map(({ subject, about }) => {
    const authority = authorities.get(subject);
    return authority ? administers(authority, about) : subject === BOOTSTRAP && isAbsent;
  });
}

/**
 * Returns an authority that allows what the trust rule allows to at least one of its jobs. @returns `null` if the rule does not
 * exist or is disabled
 */
async function widestAuthorityOfRule(env: Database, rule: string, repositories: readonly string[]): Promise<Authority | null> {
  const [[loaded = NOTHING_LOADED], found] = await Promise.all([
    loadSubjects(env, [''], repositories, { key: null, login: null }),
    findRule(env, rule),
  ]);
  if (!found || found.disabled) return null;
  return {
    ...anonymous(loaded),
    subject: rule,
    principals: [rule, EVERYONE],
    statements: [...onIdentity(rule, widestStatements(found)), ...statementsOnRepositories(loaded)],
    credentialKind: 'ci',
  };
}
