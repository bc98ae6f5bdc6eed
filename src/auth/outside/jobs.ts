/**
 * Jobs of outside issuers as callers: which trust rules count for them in a request, and why none does. A rule counts by the
 * repository that the request is about, for as long as its lifetime says, and as it was when the job logged in.
 */
import { decodeJwt } from 'jose';
import { Refusal } from '../../vocabulary/refusal.ts';
import { type Authority, ofJob } from '../authority.ts';
import type { Credential, Job } from '../credential.ts';
import type { Database, Loaded } from '../directory.ts';
import { namespaceOf, organizationOf } from '../names.ts';
import type { Runtime } from '../runtime.ts';
import { outsideLoginId } from './logins.ts';
import { mismatches, type Told, toldBy, verifyToken } from './oidc.ts';
import { type SavedRule, type Selection, selectRules } from './selection.ts';

/** A job that rules of several organizations are about, where a request is about none of them. */
const SOME_JOB = 'ci';

/** Seconds that a login goes on of which not all rules were read. */
const UNKNOWN_LIFETIME = 300;

type Outside = Extract<Credential, { kind: 'outside' }>;
type Token = Extract<Credential, { kind: 'token' }>;

/**
 * Whoever shows an outside token. `null` where its signature is not right.
 * @throws unauthenticated where it is right and the token opens nothing, with the reason; issuer-unreachable where the issuer cannot be asked
 */
export async function authorityOfOutside(
  env: Database,
  { token, issuer }: Outside,
  repositories: readonly string[],
  runtime: Runtime,
  load: () => Promise<Loaded>,
): Promise<Authority | null> {
  const told = toldBy(token, issuer);
  const login = told && (await outsideLoginId(token));
  const selecting = told && selectRules(env, { issuer, claims: told.claims, login }, organizationsOf(repositories));
  const [loaded, selection] = await Promise.all([load(), selecting]);
  if (!told || !login || !selection?.trusted) return null;
  const now = Math.floor(runtime.now / 1000);
  // It was verified when it was first shown, and is found by all of its bytes: the issuer may have changed its keys since.
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

/** Whoever shows a token of ours that was made for a job; the rules are asked again, as they stand now. */
export async function authorityOfJob(
  env: Database,
  credential: Token,
  job: Job,
  repositories: readonly string[],
  runtime: Runtime,
  load: () => Promise<Loaded>,
): Promise<Authority | null> {
  const issuer = job.claims.iss ?? '';
  const selecting = selectRules(env, { issuer, claims: job.claims, login: null }, organizationsOf(repositories));
  const [loaded, selection] = await Promise.all([load(), selecting]);
  const refresh = credential.login ?? null;
  if (refresh && (!loaded.login || loaded.login.ended)) return null;
  // What lives for minutes is judged by the rules as they are now. What lives for hours ends with the version that it is from.
  const known = credential.access ? { ...job, since: selection.newest } : job;
  const authority = await authorityIn(env, known, { repositories, now: Math.floor(runtime.now / 1000), loaded, selection });
  // A login password ends what is made with it; of a refresh token each use gives a new one.
  const bound = refresh ? (credential.via.until ?? null) : credential.until;
  const until = Math.min(authority.until ?? Number.POSITIVE_INFINITY, bound ?? Number.POSITIVE_INFINITY);
  return {
    ...authority,
    until,
    via: bound === null ? authority.via : { ...authority.via, until: bound },
    login: refresh && loaded.login ? { ...refresh, current: loaded.login.generation === refresh.generation } : null,
  };
}

interface Use {
  repositories: readonly string[];
  /** Seconds since the epoch. */
  now: number;
  loaded: Loaded;
  selection: Selection;
}

/**
 * Rules of other organizations are asked only where none of the repository's own is about the job: somebody they make of it, who
 * may do there what everybody may.
 */
async function authorityIn(env: Database, job: Job, { repositories, now, loaded, selection }: Use): Promise<Authority> {
  const rules = inOrder(
    selection.rules.filter((rule) => counts(rule, job, now)),
    repositories,
  );
  if (rules.length > 0) return ofJob(job, rules, nameIn(rules, repositories), loaded);
  const asked = { issuer: job.claims.iss ?? '', claims: job.claims, login: null };
  const all = repositories.length === 0 ? selection : await selectRules(env, asked, null);
  const elsewhere = all.rules.filter((rule) => counts(rule, job, now));
  if (elsewhere.length === 0 && !all.cut) throw refused(reasonFor(job, [...selection.rules, ...all.rules], now));
  const ends = elsewhere.map(({ lifetime }) => job.at + lifetime);
  const until = ends.length === 0 ? now + UNKNOWN_LIFETIME : Math.max(...ends);
  return { ...ofJob(job, [], SOME_JOB, loaded), until };
}

function organizationsOf(repositories: readonly string[]): string[] | null {
  return repositories.length === 0 ? null : ['', ...repositories.map(namespaceOf)];
}

function counts(rule: SavedRule, job: Job, now: number): boolean {
  return isCurrent(rule, job) && now < job.at + rule.lifetime && mismatches(rule, job).length === 0;
}

/** As it was when the job logged in. */
function isCurrent(rule: SavedRule, job: Job): boolean {
  return rule.revision <= job.since;
}

/** Those of the repository's own organization first, then those of its source, then the registry's. */
function inOrder(rules: SavedRule[], repositories: readonly string[]): SavedRule[] {
  const namespaces = [...repositories.map(namespaceOf), ''];
  const rank = ({ subject }: SavedRule) => namespaces.indexOf(organizationOf(subject));
  return rules.toSorted((a, b) => rank(a) - rank(b) || (a.subject < b.subject ? -1 : 1));
}

/** A request about no organization in particular names none of several. */
function nameIn(rules: readonly SavedRule[], repositories: readonly string[]): string {
  const organizations = new Set(rules.map(({ subject }) => organizationOf(subject)));
  return (organizations.size === 1 || repositories.length > 0 ? rules[0]?.subject : undefined) ?? SOME_JOB;
}

/** Unverified: decides only whether a token that was seen before is the one that is asked about. */
function hasEnded(token: string, now: number): boolean {
  const { exp } = decodeJwt(token);
  return typeof exp === 'number' && exp <= now / 1000;
}

function refused(reason: string): Refusal {
  return new Refusal('unauthenticated', { message: `the signature of this CI token is right, but ${reason}` });
}

/**
 * Compared with the rules that name this very job by an id, and no others: whoever has a token of the issuer must not learn what
 * others' rules want. What a rule wants is not told either, only which of the token's own claims does not fit.
 */
function reasonFor(job: Job, rules: readonly SavedRule[], now: number): string {
  const about = rules.filter(({ names }) => names);
  const fitting = about.filter((rule) => mismatches(rule, job).length === 0);
  if (fitting.some((rule) => isCurrent(rule, job) && now >= job.at + rule.lifetime)) {
    return 'the time for which its trust rule lets it go on is over: log in again with a new CI token';
  }
  if (fitting.length > 0) return 'its trust rule was changed since this login: log in again with a new CI token';
  const [nearest] = about.map((rule) => mismatches(rule, job)).sort((a, b) => a.length - b.length);
  if (!nearest) return `no trust rule is about it (${shown(job)})`;
  return `no trust rule takes it: ${nearest.map(describe).join('; ')}`;
}

function describe({ claim, is }: { claim: string; is: string | null }): string {
  const value = is === null ? 'is absent' : `is "${shorten(is)}"`;
  if (claim !== 'aud') return `its claim "${claim}" ${value}, which the rule does not accept`;
  return `its audience ("aud") ${value}, and the rule wants another: where nothing else is said in the rule, it is the host of this registry`;
}

function shown({ claims }: Told): string {
  const names = ['iss', 'sub', 'repository_id', 'project_id'].filter((name) => Object.hasOwn(claims, name));
  return names.map((name) => `${name} "${shorten(claims[name] ?? '')}"`).join(', ');
}

function shorten(text: string): string {
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}
