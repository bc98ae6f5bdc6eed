/**
 * The authority of CI jobs that log in with tokens of their CI service. Decides which trust rules apply to a job in a request,
 * or why none applies. The rules are those of the repository's organization. They apply for the lifetime that they state, and
 * only if they were not changed after the job logged in.
 *
 * podman, crane and kaniko send their password again for each token that they need, even after the password has expired. So the
 * registry stores the first use of an outside token that was valid when it was used as a password. That login is accepted for
 * the lifetime that the trust rule states, like the refresh token that docker gets.
 */
import { decodeJwt } from 'jose';
import type { Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import { EVERYONE, namespaceOf, organizationOf } from '../../vocabulary/names.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { type Authority, anonymous, onIdentity, statementsOnRepositories } from '../authority.ts';
import type { CiJob, Credential, OutsideLogin } from '../credential.ts';
import type { LoadedRights } from '../loaded-rights.ts';
import type { Runtime } from '../runtime.ts';
import type { Statement } from '../statement.ts';
import { mismatches, statementsOf, type Told, type TrustRule, toldBy, verifyToken } from './oidc.ts';
import { type RuleSelection, type SavedRule, selectRules } from './selection.ts';
import { namesInPattern, widen } from './templates.ts';

/**
 * The subject of a job to which rules of several organizations apply, in a request that concerns none of these organizations.
 */
const SOME_JOB = 'ci';

/** The number of seconds for which a login is valid if not all rules could be read. */
const UNKNOWN_LIFETIME = 300;

type Outside = Extract<Credential, { kind: 'outside' }>;
type Token = Extract<Credential, { kind: 'token' }>;

/**
 * Returns the authority of a caller with an outside token.
 * @returns `null` if the signature is wrong, or if no rule trusts the issuer
 * @throws unauthenticated with the reason if the signature is right but the token is invalid or no rule applies;
 * issuer-unreachable
 */
export async function authorityOfOutside(
  env: Database,
  { token, issuer }: Outside,
  repositories: readonly string[],
  runtime: Runtime,
  load: () => Promise<LoadedRights>,
): Promise<Authority | null> {
  const told = toldBy(token, issuer);
  const login = told && (await outsideLoginId(token));
  const selecting = told && selectRules(env, { issuer, claims: told.claims, login }, organizationsOf(repositories));
  const [loaded, selection] = await Promise.all([load(), selecting]);
  if (!told || !login || !selection?.trusted) return null;
  const now = Math.floor(runtime.now / 1000);
  // An expired token whose first use was stored was verified then. It is found by its hash and not verified again, because the
  // issuer may have other keys now.
  const job = hasEnded(token, runtime.now) ? selection.seen && { ...told, ...selection.seen } : null;
  if (job) return authorityIn(env, job, { repositories, now, loaded, selection });
  const genuine = await verifyToken(token, issuer, runtime);
  if (!genuine) return null;
  if (genuine.refused !== null) throw refused(genuine.refused);
  const begun = { ...genuine.told, at: now, since: selection.newest };
  const authority = await authorityIn(env, begun, { repositories, now, loaded, selection });
  return {
    ...authority,
    unseen: selection.seen ? null : { id: login, at: now, since: selection.newest, until: authority.until ?? now },
  };
}

/** Returns the authority of a caller with a token that this registry issued to a CI job. Reads the present rules. */
export async function authorityOfJob(
  env: Database,
  credential: Token,
  job: CiJob,
  repositories: readonly string[],
  runtime: Runtime,
  load: () => Promise<LoadedRights>,
): Promise<Authority | null> {
  const issuer = job.claims.iss ?? '';
  const selecting = selectRules(env, { issuer, claims: job.claims, login: null }, organizationsOf(repositories));
  const [loaded, selection] = await Promise.all([load(), selecting]);
  const refresh = credential.login ?? null;
  if (refresh && (!loaded.login || loaded.login.ended)) return null;
  // An access token is valid for minutes, so the present rules apply to it. To longer logins, only rules that were not changed
  // after the login apply.
  const known = credential.access ? { ...job, since: selection.newest } : job;
  const authority = await authorityIn(env, known, { repositories, now: Math.floor(runtime.now / 1000), loaded, selection });
  // The expiry of a login password limits the tokens that are issued for it. A refresh token sets no limit, because each use
  // returns a new one.
  const bound = refresh ? (credential.credentialOrigin.until ?? null) : credential.until;
  const until = Math.min(authority.until ?? Number.POSITIVE_INFINITY, bound ?? Number.POSITIVE_INFINITY);
  return {
    ...authority,
    until,
    credentialOrigin: { ...authority.credentialOrigin, ...(bound === null ? {} : { until: bound }) },
    login: refresh && loaded.login ? { ...refresh, current: loaded.login.generation === refresh.generation } : null,
  };
}

/** A request of a job, and the rows that were loaded for it. */
interface Use {
  repositories: readonly string[];
  /** The time of the request, in seconds since the epoch. */
  now: number;
  loaded: LoadedRights;
  selection: RuleSelection;
}

/**
 * Returns the authority that the rules of the repository's organization give to the job. If none of them applies but a rule of
 * another organization does, the job is authenticated but may do only what everybody may do.
 * @throws unauthenticated with the reason if no rule applies at all
 */
async function authorityIn(env: Database, job: CiJob, { repositories, now, loaded, selection }: Use): Promise<Authority> {
  const rules = rankRules(
    selection.rules.filter((rule) => counts(rule, job, now)),
    repositories,
  );
  if (rules.length > 0) return fromTrustRules(job, rules, nameIn(rules, repositories), loaded);
  const asked = { issuer: job.claims.iss ?? '', claims: job.claims, login: null };
  const all = repositories.length === 0 ? selection : await selectRules(env, asked, null);
  const elsewhere = all.rules.filter((rule) => counts(rule, job, now));
  if (elsewhere.length === 0 && !all.cut) throw refused(reasonFor(job, [...selection.rules, ...all.rules], now));
  const ends = elsewhere.map(({ lifetime }) => job.at + lifetime);
  const until = ends.length === 0 ? now + UNKNOWN_LIFETIME : Math.max(...ends);
  return { ...fromTrustRules(job, [], SOME_JOB, loaded), until };
}

/**
 * Returns the authority that trust rules give to a job.
 * @param subject the subject of the job. `actingAs` replaces it by the subject of the rule that allows an action
 */
export function fromTrustRules(job: CiJob, rules: readonly TrustRule[], subject: string, loaded: LoadedRights): Authority {
  return {
    ...anonymous(loaded),
    subject,
    principals: [...rules.map((rule) => rule.subject), EVERYONE],
    statements: [
      ...rules.flatMap((rule) => onIdentity(rule.subject, statementsOf(rule, job.claims))),
      ...statementsOnRepositories(loaded),
    ],
    credentialOrigin: { epoch: 0, job },
    until: Math.max(job.at, ...rules.map(({ lifetime }) => job.at + lifetime)),
    credentialKind: 'ci',
  };
}

/**
 * Returns statements that allow what the rule allows to at least one of its jobs. A deny statement is included only if it
 * applies to every job.
 */
export function widestStatements({ statements }: TrustRule): Statement[] {
  return statements.flatMap(({ effect, actions, repositories, tags, when }) => {
    const wide = { effect, actions, repositories: repositories.map(widen) };
    if (effect === 'allow') return [wide];
    const isConditional =
      when !== undefined || [...repositories, ...(tags ?? [])].some((one) => namesInPattern(one).length > 0);
    return isConditional ? [] : [{ ...wide, ...(tags ? { tags } : {}) }];
  });
}

function organizationsOf(repositories: readonly string[]): string[] | null {
  return repositories.length === 0 ? null : ['', ...repositories.map(namespaceOf)];
}

function counts(rule: SavedRule, job: CiJob, now: number): boolean {
  return isCurrent(rule, job) && now < job.at + rule.lifetime && mismatches(rule, job).length === 0;
}

/** Returns true if the rule has not changed since the job logged in. */
function isCurrent(rule: SavedRule, job: CiJob): boolean {
  return rule.revision <= job.since;
}

/**
 * Sorts rules: first those of the repository's organization, then those of the organization from which a blob is mounted, then
 * those of the whole registry.
 */
function rankRules(rules: SavedRule[], repositories: readonly string[]): SavedRule[] {
  const namespaces = [...repositories.map(namespaceOf), ''];
  const rank = ({ subject }: SavedRule) => namespaces.indexOf(organizationOf(subject));
  return rules.toSorted((a, b) => rank(a) - rank(b) || (a.subject < b.subject ? -1 : 1));
}

/**
 * Returns the subject of the job in this request. If the request concerns no repository and the rules belong to several
 * organizations, the subject is `SOME_JOB`.
 */
function nameIn(rules: readonly SavedRule[], repositories: readonly string[]): string {
  const organizations = new Set(rules.map(({ subject }) => organizationOf(subject)));
  return (organizations.size === 1 || repositories.length > 0 ? rules[0]?.subject : undefined) ?? SOME_JOB;
}

/**
 * Returns true if the token has expired. The token is not verified here; the result only decides whether to look for an earlier
 * use of it.
 */
function hasEnded(token: string, now: number): boolean {
  const { exp } = decodeJwt(token);
  return typeof exp === 'number' && exp <= now / 1000;
}

function refused(reason: string): Refusal {
  return new Refusal('unauthenticated', { message: `the signature of this CI token is right, but ${reason}` });
}

/**
 * Explains why no rule applies. Only rules that identify this job by a key are considered, and only claims of the token itself
 * are shown. Otherwise a caller with any token of the issuer could learn what the rules of other organizations require.
 */
function reasonFor(job: CiJob, rules: readonly SavedRule[], now: number): string {
  const about = rules.filter(({ names }) => names);
  const fitting = about.filter((rule) => mismatches(rule, job).length === 0);
  if (fitting.some((rule) => isCurrent(rule, job) && now >= job.at + rule.lifetime)) {
    return 'the lifetime that its trust rule allows is over: log in again with a new CI token';
  }
  if (fitting.length > 0) return 'its trust rule was changed since this login: log in again with a new CI token';
  const [nearest] = about.map((rule) => mismatches(rule, job)).sort((a, b) => a.length - b.length);
  if (!nearest) return `no trust rule applies to it (${shown(job)})`;
  return `no trust rule admits it: ${nearest.map(describe).join('; ')}`;
}

function describe({ claim, is }: { claim: string; is: string | null }): string {
  const value = is === null ? 'is absent' : `is "${shorten(is)}"`;
  if (claim !== 'aud') return `its claim "${claim}" ${value}, which the rule does not accept`;
  return `its audience ("aud") ${value}, and the rule requires another one: by default, the host of this registry`;
}

function shown({ claims }: Told): string {
  const names = ['iss', 'sub', 'repository_id', 'project_id'].filter((name) => Object.hasOwn(claims, name));
  return names.map((name) => `${name} "${shorten(claims[name] ?? '')}"`).join(', ');
}

function shorten(text: string): string {
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}

/** Returns the id of the row in `outside_logins`: a hash, from which the token cannot be computed. */
async function outsideLoginId(token: string): Promise<string> {
  const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token));
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export async function noteOutsideLogin(env: Database, { id, at, since, until }: OutsideLogin): Promise<void> {
  await prepare(
    env,
    `INSERT INTO outside_logins (id, began_at, since, expires_at) VALUES (:id, :at, :since, :until) ON CONFLICT DO NOTHING`,
    { id, at, since, until },
  ).run();
}

/** Deletes expired logins with outside tokens. @returns the number of deleted rows */
export async function expireOutsideLogins(env: Database, limit: number): Promise<number> {
  const { meta } = await prepare(
    env,
    'DELETE FROM outside_logins WHERE id IN (SELECT id FROM outside_logins WHERE expires_at <= unixepoch() LIMIT :limit)',
    { limit },
  ).run();
  return meta.changes;
}
