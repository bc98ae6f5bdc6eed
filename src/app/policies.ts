/** Policies of users, teams, robots and repositories: read, preview and save them; and why somebody may do something. */
import type { Authority } from '../auth/authority.ts';
import { isNarrowed } from '../auth/policy.ts';
import { explainFor, explainOwn, whoCanGrant } from '../auth/rights/explain.ts';
import { policyIn, queryPolicy, savePolicy as writePolicy } from '../auth/rights/policies.ts';
import { pushWithoutPull, withShownPrincipals } from '../auth/rights/policy-names.ts';
import { previewPolicy as compare, type Difference } from '../auth/rights/policy-preview.ts';
import type { Sourced, Statement } from '../auth/statement.ts';
import { reachOf } from '../auth/visibility.ts';
import { identityStatements, repositoryStatements, type SentStatement, type ShownStatement } from '../contract/statements.ts';
import { parse } from '../contract/valid.ts';
import { type Batch, newBatch } from '../events/batch.ts';
import type { Actor } from '../events/event.ts';
import { parseRepositoryName, type RepositoryName } from '../oci/name.ts';
import { matches } from '../oci/pattern.ts';
import { listRepositories, requireRepository } from '../registry/repositories/repositories.ts';
import type { RepositoryAction } from '../vocabulary/actions.ts';
import { nameOf, organizationOf } from '../vocabulary/names.ts';
import { actorOf, isOwnKey, requireAdministrator, requireLogin, requireOwner, requireRight } from './access.ts';
import type { Call } from './call.ts';
import { shownStatement, storedStatement } from './statements.ts';

export interface Policy {
  statements: ShownStatement[];
  /** Likely mistakes in them. */
  warnings: string[];
  version: number;
}

/** Repositories that a preview compares. */
const PREVIEW_MAX = 100;

/** @param subject `user:alice`, `team:acme/dev`, `robot:acme/ci` or `repository:acme/api` */
export async function getPolicy(call: Call, subject: string): Promise<Policy> {
  requireMayEdit(call, subject);
  const { statements, warnings, version } = await read(call, subject, null);
  return shown(subject, statements, warnings, version);
}

/**
 * Replaces a policy.
 * @param ifVersion the version that the policy is expected to have; 0: none was ever saved; `null`: any
 * @throws request-invalid beyond the limits of a policy, and for a team's or robot's repositories outside its organization
 */
export async function savePolicy(
  call: Call,
  subject: string,
  sent: readonly SentStatement[],
  ifVersion: number | null,
): Promise<Policy> {
  const by = requireMayEdit(call, subject);
  const statements = statementsOf(subject, sent);
  const batch = newBatch(call.env);
  const saved = writePolicy(batch, call.env, { subject, statements }, { ifVersion, by, asker: call.authority });
  requireRepositoryOf(batch, subject);
  const { version, warnings } = policyIn(await batch.commit(), saved);
  return shown(subject, statements, warnings, version);
}

/** @throws request-invalid */
function statementsOf(subject: string, sent: readonly SentStatement[]): Statement[] {
  const schema = subject.startsWith('repository:') ? repositoryStatements : identityStatements;
  return parse(schema, sent, 'statements').map(storedStatement);
}

interface Preview {
  changes: Difference[];
  /** There was more to compare than one request may. */
  truncated: boolean;
  warnings: string[];
}

/** Compares a policy with one that is not saved: which callers would gain and lose which rights. */
export async function previewPolicy(call: Call, subject: string, sent: readonly SentStatement[]): Promise<Preview> {
  requireMayEdit(call, subject);
  const after = statementsOf(subject, sent);
  const { statements: before, warnings } = await read(call, subject, after);
  const { items, more } = subject.startsWith('repository:')
    ? { items: [nameOf(subject)], more: false }
    : await listRepositories(
        call.env,
        { after: '', limit: PREVIEW_MAX },
        reachOf([...before, ...after].flatMap(({ repositories }) => repositories)),
      );
  const { changes, truncated } = await compare(call.env, subject, { before, after, repositories: items }, call.authority);
  return { changes, truncated: truncated || more, warnings: [...warnings, ...mistakesIn(subject, after)] };
}

/**
 * Administrators edit the policies of users, owners of an organization those of its teams and robots, and callers with the
 * right to administer a repository its policy.
 * @returns the actor to record
 */
function requireMayEdit(call: Call, subject: string): Actor {
  if (subject.startsWith('repository:')) return requireRight(call, 'admin', repositoryIn(subject));
  const organization = organizationOf(subject);
  if (organization === '') requireAdministrator(call);
  else requireOwner(call, organization);
  return actorOf(call);
}

function repositoryIn(subject: string): RepositoryName {
  return parseRepositoryName(nameOf(subject));
}

/** Refuses the batch with `repository-unknown` if the repository of this policy does not exist. */
function requireRepositoryOf(batch: Batch, subject: string): void {
  if (subject.startsWith('repository:')) requireRepository(batch, repositoryIn(subject));
}

/** @param planned statements that are not saved; warnings are then about these */
async function read(call: Call, subject: string, planned: readonly Statement[] | null) {
  const batch = newBatch(call.env);
  requireRepositoryOf(batch, subject);
  const policy = queryPolicy(batch, subject, call.authority, planned);
  return policyIn(await batch.commit(), policy);
}

function shown(subject: string, statements: readonly Statement[], warnings: readonly string[], version: number): Policy {
  return {
    statements: statements.map(shownStatement),
    warnings: [...warnings, ...mistakesIn(subject, statements)],
    version,
  };
}

function mistakesIn(subject: string, statements: readonly Statement[]): string[] {
  const whose = subject.startsWith('repository:') ? 'repository' : 'identity';
  return pushWithoutPull(statements.map(withShownPrincipals), whose);
}

interface AccessQuestion {
  /** `null`: the caller, with the credential of this request. */
  principal: string | null;
  action: RepositoryAction;
  repository: RepositoryName;
  tag: string | null;
  /** With a `ci:` principal: the claims of its token. */
  claims: Record<string, string>;
}

type ShownSource = ShownStatement & { from: string };

interface Explanation {
  allowed: boolean;
  reason: string;
  decidedBy: ShownSource | null;
  matched: ShownSource[];
  limitedBy: string | null;
  grantedBy: string[];
  partial: boolean;
}

/** Says whether somebody may do something, and why. About others only for callers who may administer the repository. */
export async function explain(call: Call, { principal, ...question }: AccessQuestion): Promise<Explanation> {
  requireLogin(call);
  const { env, authority } = call;
  const { repository } = question;
  const isOwn = principal === null || isCaller(authority, principal);
  if (!isOwn) requireRight(call, 'admin', repository);
  const { allowed, reason, decidedBy, matched, limitedBy, partial } = isOwn
    ? explainOwn(authority, question)
    : await explainFor(env, { ...question, principal }, authority);
  return {
    allowed,
    reason,
    decidedBy: decidedBy && shownFor(repository, decidedBy),
    matched: matched.map((source) => shownFor(repository, source)),
    limitedBy,
    grantedBy: allowed ? [] : await whoCanGrant(env, repository, authority),
    partial,
  };
}

/** True for the key of this request, and for its owner if the credential may do all that the owner may. */
function isCaller(authority: Authority, principal: string): boolean {
  if (principal.startsWith('key:')) return isOwnKey(authority, nameOf(principal));
  return principal === authority.subject && !isNarrowed(authority);
}

/** Shows only the patterns that match this repository: the caller may not know of the others. */
function shownFor(repository: string, { from, statement }: Sourced): ShownSource {
  const repositories = statement.repositories.filter((pattern) => matches(pattern, repository));
  return { from, ...shownStatement({ ...statement, repositories }) };
}
