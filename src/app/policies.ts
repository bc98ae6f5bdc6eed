/**
 * Policies of users, teams, robots and repositories: read, preview and save them. `explain` tells why a principal may do
 * something or not.
 */
import type { Authority } from '../auth/authority.ts';
import { isNarrowed } from '../auth/policy.ts';
import { explainFor, explainOwn, whoCanGrant } from '../auth/rights/explain.ts';
import { pushWithoutPull } from '../auth/rights/mistakes.ts';
import { policyIn, queryPolicy, visibilityChange, savePolicy as writePolicy } from '../auth/rights/policies.ts';
import { withShownPrincipals } from '../auth/rights/policy-names.ts';
import { previewPolicy as compare, type Difference } from '../auth/rights/policy-preview.ts';
import type { Sourced, Statement } from '../auth/statement.ts';
import { reachOf } from '../auth/visibility.ts';
import type { ShownStatement } from '../contract/answers/statements.ts';
import { identityStatements, repositoryStatements, type SentStatement } from '../contract/statements.ts';
import { parse } from '../contract/valid.ts';
import { type Batch, newBatch } from '../events/batch.ts';
import type { Actor } from '../events/event.ts';
import { parseRepositoryName, type RepositoryName } from '../oci/name.ts';
import { matches } from '../oci/pattern.ts';
import { listRepositories, requireRepository } from '../registry/repositories/repositories.ts';
import type { RepositoryAction } from '../vocabulary/actions.ts';
import { nameOf, organizationOf } from '../vocabulary/names.ts';
import { actorOf, isOwnKey, requireAdministrator, requireLogin, requireOwner, requireRight } from './access.ts';
import { bareNames } from './bare-names.ts';
import type { Call } from './call.ts';
import { shownStatement, storedStatement } from './statements.ts';

export interface Policy {
  statements: ShownStatement[];
  /** The policy as a client of the ECR API sent it; `null` if it was saved in another way. */
  text: string | null;
  /** Likely mistakes in the statements, as text for users. */
  warnings: string[];
  version: number;
}

/** The maximum number of repositories for which a preview compares rights. */
const PREVIEW_MAX = 100;

/** @param subject the owner of the policy: `user:alice`, `team:acme/dev`, `robot:acme/ci` or `repository:acme/api` */
export async function getPolicy(call: Call, subject: string): Promise<Policy> {
  requireMayEdit(call, subject);
  return shown(call, subject, await read(call, subject, null));
}

/**
 * Replaces a policy.
 * @param text the text that the statements were parsed from, if a client expects it back
 * @param ifVersion the version that the policy must have. 0 means that none was ever saved; `null` means any version
 * @throws request-invalid if the policy exceeds its limits, or if a policy of a team or robot names repositories outside its
 * organization; version-mismatch
 */
export async function savePolicy(
  call: Call,
  subject: string,
  sent: readonly SentStatement[],
  ifVersion: number | null,
  text: string | null = null,
): Promise<Policy> {
  const by = requireMayEdit(call, subject);
  const statements = statementsOf(subject, sent);
  const batch = newBatch(call.env);
  const saved = writePolicy(batch, call.env, { subject, statements, text }, { ifVersion, by, asker: call.authority });
  requireRepositoryOf(batch, subject);
  const { version, warnings } = policyIn(await batch.commit(), saved);
  return shown(call, subject, { statements, warnings, version, text });
}

/** Validates statements and converts them to the stored form. @throws request-invalid if they are not valid */
function statementsOf(subject: string, sent: readonly SentStatement[]): Statement[] {
  const schema = subject.startsWith('repository:') ? repositoryStatements : identityStatements;
  return parse(schema, sent, 'statements').map(storedStatement);
}

export interface Preview {
  changes: Difference[];
  /** True if the comparison is incomplete, because one request compares only a limited number of rights. */
  truncated: boolean;
  warnings: string[];
}

/**
 * Compares the saved policy with a new one. Returns which callers would gain or lose which rights if the new one were saved.
 */
export async function previewPolicy(call: Call, subject: string, sent: readonly SentStatement[]): Promise<Preview> {
  requireMayEdit(call, subject);
  const after = statementsOf(subject, sent);
  const { statements: before, warnings } = await read(call, subject, after);
  return previewed(call, subject, { before, after, warnings });
}

/**
 * Previews a policy as `previewPolicy` does.
 * @param change returns the new statements. It gets the saved ones, so that they are read once
 */
export async function previewChange(
  call: Call,
  subject: string,
  change: (saved: ShownStatement[]) => readonly SentStatement[],
): Promise<Preview> {
  requireMayEdit(call, subject);
  const { statements: before } = await read(call, subject, null);
  const after = statementsOf(subject, change(before.map(shownStatement)));
  const warnings = read(call, subject, after).then((planned) => planned.warnings);
  return previewed(call, subject, { before, after, warnings });
}

async function previewed(
  call: Call,
  subject: string,
  { before, after, warnings }: { before: Statement[]; after: Statement[]; warnings: string[] | Promise<string[]> },
): Promise<Preview> {
  const reach = subject.startsWith('repository:')
    ? { items: [nameOf(subject)], more: false }
    : listRepositories(
        call.env,
        { after: '', limit: PREVIEW_MAX },
        reachOf([...before, ...after].flatMap(({ repositories }) => repositories)),
      );
  const repositories = Promise.resolve(reach).then(({ items }): string[] => items);
  const [{ changes, truncated }, { more }, warned, mistakes] = await Promise.all([
    compare(call.env, subject, { before, after, repositories }, call.authority),
    reach,
    warnings,
    mistakesIn(call, subject, after),
  ]);
  return { changes, truncated: truncated || more, warnings: [...warned, ...mistakes] };
}

/**
 * Previews a change of the visibility as `previewPolicy` does. If the repository has this visibility already, nobody gains or
 * loses a right.
 */
export async function previewVisibility(
  call: Call,
  repository: RepositoryName,
  visibility: 'private' | 'public',
): Promise<Omit<Preview, 'warnings'>> {
  requireRight(call, 'admin', repository);
  const subject = `repository:${repository}`;
  const [{ statements: before }, change] = await Promise.all([
    read(call, subject, null),
    visibilityChange(call.env, subject, visibility),
  ]);
  const after = change?.statements ?? before;
  return compare(call.env, subject, { before, after, repositories: [repository] }, call.authority);
}

/**
 * Requires the right to edit a policy. Administrators may edit the policies of users. Owners of an organization may edit the
 * policies of its teams and robots. Callers who may administer a repository may edit its policy.
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

/**
 * Adds a precondition to the batch: if the policy is that of a repository, the repository exists. Otherwise the batch fails
 * with `repository-unknown`.
 */
function requireRepositoryOf(batch: Batch, subject: string): void {
  if (subject.startsWith('repository:')) requireRepository(batch, repositoryIn(subject));
}

/**
 * Reads a policy. @param planned statements that the caller wants to save, or `null`. If given, the returned warnings are about
 * them
 */
async function read(call: Call, subject: string, planned: readonly Statement[] | null) {
  const batch = newBatch(call.env);
  requireRepositoryOf(batch, subject);
  const policy = queryPolicy(batch, subject, call.authority, planned);
  return policyIn(await batch.commit(), policy);
}

async function shown(
  call: Call,
  subject: string,
  policy: { statements: readonly Statement[]; warnings: readonly string[]; version: number; text: string | null },
): Promise<Policy> {
  const { statements, warnings, version, text } = policy;
  return {
    text,
    statements: statements.map(shownStatement),
    warnings: [...warnings, ...(await mistakesIn(call, subject, statements))],
    version,
  };
}

async function mistakesIn(call: Call, subject: string, statements: readonly Statement[]): Promise<string[]> {
  const whose = subject.startsWith('repository:') ? 'repository' : 'identity';
  const conditional = statements.filter(({ conditions }) => conditions !== undefined).length;
  return [
    ...pushWithoutPull(statements.map(withShownPrincipals), whose),
    ...(conditional > 0 ? [`comparisons leave out the conditions of ${conditional} of these statements`] : []),
    ...(await bareNames(call, statements)),
  ];
}

interface AccessQuestion {
  /** The principal about which the caller asks. `null` means the caller, with the credential of this request. */
  principal: string | null;
  action: RepositoryAction;
  repository: RepositoryName;
  tag: string | null;
  /** The claims of the job's token, if the principal is a trust rule (`ci:…`). */
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

/**
 * Tells whether a principal may do something, and why. A caller who asks about another principal must have the right to
 * administer the repository.
 */
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

/**
 * Returns true if the principal is the key of this request, or the owner of a credential that is not narrowed. Such a question
 * is about the caller.
 */
function isCaller(authority: Authority, principal: string): boolean {
  if (principal.startsWith('key:')) return isOwnKey(authority, nameOf(principal));
  return principal === authority.subject && !isNarrowed(authority);
}

/**
 * Returns a statement with only those patterns that match this repository, because the caller may not know of other
 * repositories.
 */
function shownFor(repository: string, { from, statement }: Sourced): ShownSource {
  const repositories = statement.repositories.filter((pattern) => matches(pattern, repository));
  return { from, ...shownStatement({ ...statement, repositories }) };
}
