/**
 * What a caller may do: the only place that decides. An access token is limited by its grants, and good for reading until it
 * ends; everything that changes something asks the database as well, so that a revocation counts at once.
 */
import type { Authority } from './authority.ts';
import type { Proof } from './proof.ts';
import type { Action, Grant } from './scope.ts';
import { type Decision, evaluate, mightAllow, type RepositoryAction } from './statement.ts';

/** Whoever makes the request, as far as what they showed says by itself. */
export interface Caller {
  /** Empty for a stranger, and until the database was asked for somebody who showed no token of ours. */
  subject: string;
  /** `null`: a stranger. */
  proof: Proof | null;
  /** Of an access token; `null`: not limited by what was shown. */
  grants: Grant[] | null;
}

export const ANONYMOUS: Caller = { subject: '', proof: null, grants: null };

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

/** Whether there is a tag with which it is allowed; for tokens, which are asked for before the tag is known. */
export function mightDo(authority: Authority, action: RepositoryAction, repository: string): boolean {
  const question = { action, repository, principals: authority.principals };
  return [authority.statements, ...authority.bounds].every((statements) => mightAllow(statements, question));
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
export function isWhole({ credential, bounds, subject }: Authority): boolean {
  return (credential === 'password' || credential === 'key') && bounds.length === 0 && subject.startsWith('user:');
}
