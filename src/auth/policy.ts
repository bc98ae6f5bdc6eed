/**
 * What a caller may do: the only place that decides. An access token is limited by its grants, and good for reading until it
 * ends; everything that changes something asks the database as well, so that a revocation counts at once.
 */

import type { RepositoryAction } from '../vocabulary/actions.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import type { Authority } from './authority.ts';
import type { Credential } from './credential.ts';
import type { Action, Grant } from './scope.ts';
import { type Decision, decisions, evaluate, mightAllow } from './statement.ts';

/** Whoever makes the request, as far as what they showed says by itself. */
export interface Caller {
  /** Empty for a anonymous, and until the database was asked for somebody who showed no token of ours. */
  subject: string;
  /** `null`: a stranger. */
  credential: Credential | null;
  /** Of an access token; `null`: not limited by what was shown. */
  grants: Grant[] | null;
}

export const ANONYMOUS: Caller = { subject: '', credential: null, grants: null };

/** Showed a token that is not valid here, or not any more: may do nothing, and is told so. */
export const INVALID_TOKEN: Caller = { subject: '', credential: null, grants: [] };

/** Whether what was shown reaches that far. Says nothing of whether the right is still there. */
export function isGranted(caller: Caller, action: Action, repository: string | null): boolean {
  return caller.grants === null || caller.grants.some((grant) => covers(grant, action, repository));
}

function covers(grant: Grant, action: Action, repository: string | null): boolean {
  const named = repository === null ? grant.type === 'registry' : grant.type === 'repository' && grant.name === repository;
  return named && grant.actions.includes(action);
}

/** @param tag `null`: the request names none */
export function allows(authority: Authority, action: RepositoryAction, repository: string, tag: string | null = null): boolean {
  const question = { action, repository, tag, principals: authority.principals };
  return [authority.statements, ...authority.bounds].every((statements) => evaluate(statements, question).allowed);
}

/** Comparisons of names and tags with patterns that one request may make: a few milliseconds of CPU. */
export const COMPARISONS_MAX = 200_000;

/**
 * For each of some actions, the tags with which it is not allowed. One tag is always judged: what a policy may hold bounds that.
 * @throws parameter-invalid where several tags take more comparisons than one request may make
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
    const message = `the policies that count here have so many patterns that ${tags.length} tags take ${each * tags.length} comparisons, and one request may make ${COMPARISONS_MAX}: name up to ${fitting} tags at a time. Nothing was stored`;
    throw new Refusal('too-much-work', { message });
  }
  const denied = judges.map(({ action, all }) => [
    action,
    tags.filter((tag) => !all.every((statements) => statements.about(tag).allowed)),
  ]);
  return Object.fromEntries(denied);
}

/** Whether there is a tag with which it is allowed; for tokens, which are asked for before the tag is known. */
export function mightDo(authority: Authority, action: RepositoryAction, repository: string): boolean {
  const question = { action, repository, principals: authority.principals };
  return [authority.statements, ...authority.bounds].every((statements) => mightAllow(statements, question));
}

/**
 * Whose name something that is allowed is done under: of a job, the rule that allows it, as several may be about the job.
 * @param tag the first of those that the request names
 */
export function actingAs(authority: Authority, action: RepositoryAction, repository: string, tag: string | null): string {
  if (authority.credential !== 'ci') return authority.subject;
  // A push that moves a tag is a retag, and content may be pushed without a tag.
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

/** Why. `limited`: where the credential reaches less far than whoever holds it. */
export function explain(
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

/** Of what is asked for, that which the caller has: never an error (distribution, "Token Authentication Specification"). */
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
 * Whether it is a person who shows all that they are: with an access key that is not narrowed, or the administrator's password.
 * A robot's key is for what the robot does: one that was stolen must not make others that outlive it.
 */
export function isUnscopedUser({ credential, bounds, subject }: Authority): boolean {
  return (credential === 'password' || credential === 'key') && bounds.length === 0 && subject.startsWith('user:');
}

/** Whether the credential is a part of a person or a robot, or a job: it reaches what it was made for, and is told of no people. */
export function isNarrowed({ bounds, credential }: Pick<Authority, 'bounds' | 'credential'>): boolean {
  return bounds.length > 0 || credential === 'ci' || credential === 'none';
}
