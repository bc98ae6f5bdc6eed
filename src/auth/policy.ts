/**
 * Decides what a caller may do. An access token allows only what its grants contain. For reads, the access token suffices until
 * it expires. A request that changes something also checks the rights in D1, so that a revocation takes effect at once.
 */

import type { RepositoryAction } from '../vocabulary/actions.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import type { Authority } from './authority.ts';
import type { Credential } from './credential.ts';
import type { Action, Grant } from './scope.ts';
import { type Decision, decisions, evaluate, mightAllow } from './statement.ts';

/** The caller of a request, as the credential alone describes it. */
export interface Caller {
  /**
   * The subject of the caller. Empty for an anonymous caller. Also empty for credentials other than tokens, because their
   * subject must be read from D1.
   */
  subject: string;
  /** `null` for an anonymous caller. */
  credential: Credential | null;
  /** The grants of an access token, or `null` for any other credential. */
  grants: Grant[] | null;
}

export const ANONYMOUS: Caller = { subject: '', credential: null, grants: null };

/** A caller with an invalid or expired token. Such a caller may do nothing, and the answer says that the token is invalid. */
export const INVALID_TOKEN: Caller = { subject: '', credential: null, grants: [] };

/** A caller with an empty token. Scripts send one if the variable with the token is not set. */
export const EMPTY_TOKEN: Caller = { subject: '', credential: null, grants: [] };

/**
 * Returns true if the grants of an access token include this action, or if the credential is not an access token. The right may
 * have been revoked since the token was issued.
 */
export function isGranted(caller: Caller, action: Action, repository: string | null): boolean {
  return caller.grants === null || caller.grants.some((grant) => covers(grant, action, repository));
}

function covers(grant: Grant, action: Action, repository: string | null): boolean {
  const named = repository === null ? grant.type === 'registry' : grant.type === 'repository' && grant.name === repository;
  return named && grant.actions.includes(action);
}

/** Returns true if the caller may do this now. @param tag `null` if the request names no tag */
export function allows(authority: Authority, action: RepositoryAction, repository: string, tag: string | null = null): boolean {
  const question = { action, repository, tag, principals: authority.principals };
  return [authority.statements, ...authority.bounds].every((statements) => evaluate(statements, question).allowed);
}

/**
 * Returns true if a limit of the credential itself forbids this action, whatever the rights of its owner.
 * @param tag `null` if the request names no tag. The result is then false if the credential allows the action for some tags,
 * except for a deletion, which is a deletion by digest
 */
export function isOutsideKey(
  { bounds, principals }: Authority,
  action: RepositoryAction,
  repository: string,
  tag: string | null,
): boolean {
  const question = { action, repository, principals };
  const isAboutSomeTag = tag === null && action !== 'delete';
  return bounds.some((statements) =>
    isAboutSomeTag ? !mightAllow(statements, question) : !evaluate(statements, { ...question, tag }).allowed,
  );
}

/** The maximum number of pattern comparisons in one request. They take a few milliseconds of CPU time. */
export const COMPARISONS_MAX = 200_000;

/**
 * Returns, for each action, the tags for which it is not allowed. A single tag is always compared, because the limits of
 * policies bound the work.
 * @throws too-much-work if several tags need more comparisons than one request may make
 */
export function tagsDenied<A extends RepositoryAction>(
  authority: Authority,
  actions: readonly A[],
  repository: string,
  tags: readonly string[],
): Record<A, string[]> {
  const judges = actions.map((action) => {
    const question = { action, repository, principals: authority.principals };
    return { action, all: [authority.statements, ...authority.bounds].map((statements) => decisions(statements, question)) };
  });
  const each = judges.flatMap(({ all }) => all).reduce((sum, { comparisons }) => sum + comparisons, 0);
  if (tags.length > 1 && each * tags.length > COMPARISONS_MAX) {
    const fitting = Math.max(1, Math.floor(COMPARISONS_MAX / each));
    const message =
      `with the policies that apply here, ${tags.length} tags take ${each * tags.length} comparisons of ` +
      `patterns, and one request may make ${COMPARISONS_MAX}. Nothing was stored: name up to ${fitting} tags at a time`;
    throw new Refusal('too-much-work', { message });
  }
  const denied = judges.map(({ action, all }) => [
    action,
    tags.filter((tag) => !all.every((statements) => statements.about(tag).allowed)),
  ]);
  return Object.fromEntries(denied);
}

/** Returns true if the action is allowed for at least one possible tag. Clients request tokens before they name a tag. */
function mightDo(authority: Authority, action: RepositoryAction, repository: string): boolean {
  const question = { action, repository, principals: authority.principals };
  return [authority.statements, ...authority.bounds].every((statements) => mightAllow(statements, question));
}

/**
 * Returns the subject to record for an allowed action. For a CI job this is the trust rule that allows the action, because
 * several rules may apply to the job.
 * @param tag the first tag that the request names
 */
export function actingAs(authority: Authority, action: RepositoryAction, repository: string, tag: string | null): string {
  if (authority.credentialKind !== 'ci') return authority.subject;
  // A push that moves a tag uses the right `retag`, and content may be pushed without a tag.
  const asked: [RepositoryAction, string | null][] = [
    [action, tag],
    ...(action === 'push' ? ([['retag', tag]] as [RepositoryAction, string | null][]) : []),
    [action, null],
  ];
  const { principals, statements } = authority;
  const decided = asked.map(([one, on]) => evaluate(statements, { action: one, repository, tag: on, principals }));
  const rules = decided.flatMap(({ allowed, decidedBy }) => (allowed && decidedBy ? [decidedBy.from] : []));
  return rules.find((from) => from.startsWith('ci:')) ?? authority.subject;
}

/**
 * Returns the decision and the statements that explain it. `limited` is the decision of the credential's own limit if that
 * forbids the action.
 */
export function explainDecision(
  authority: Authority,
  action: RepositoryAction,
  repository: string,
  tag: string | null,
): Decision & { limited: Decision | null } {
  const question = { action, repository, tag, principals: authority.principals };
  const decision = evaluate(authority.statements, question);
  const limited = authority.bounds.map((bound) => evaluate(bound, question)).find(({ allowed }) => !allowed) ?? null;
  return { ...decision, allowed: decision.allowed && limited === null, limited };
}

/**
 * Returns those of the requested grants to which the caller has the right. Requesting more is not an error (distribution,
 * "Token Authentication Specification").
 */
export function grantable(authority: Authority, asked: Grant[]): Grant[] {
  return asked
    .map((grant) => ({ ...grant, actions: grant.actions.filter((action) => mayBeGranted(authority, grant, action)) }))
    .filter((grant) => grant.actions.length > 0);
}

function mayBeGranted(authority: Authority, { type, name }: Grant, action: Action): boolean {
  if (type === 'registry') return action === 'catalog' && authority.subject !== '';
  return action !== 'catalog' && mightDo(authority, action, name);
}

/**
 * Returns true for a user with a key that is not narrowed, or with the administrator's password. Returns false for a robot,
 * because a thief of a robot's key must not be able to create further keys.
 */
export function isUnscopedUser({ credentialKind, bounds, subject }: Authority): boolean {
  const isOwn = credentialKind === 'password' || credentialKind === 'key' || credentialKind === 'session';
  return isOwn && bounds.length === 0 && subject.startsWith('user:');
}

/** Returns true for a narrowed key, a CI job and an anonymous caller. Such a caller gets no data about people. */
export function isNarrowed({ bounds, credentialKind }: Pick<Authority, 'bounds' | 'credentialKind'>): boolean {
  return bounds.length > 0 || credentialKind === 'ci' || credentialKind === 'none';
}
