/**
 * Who may do what: pure questions about a caller that was identified before. For now the administrator may do everything
 * and nobody else anything; statements of teams and repositories take their place here, and only here.
 */
import type { RepositoryName } from '../oci/name.ts';
import type { Action, Grant } from './scope.ts';

/** Whoever makes the request, and the limits of what they showed: a token is good for its grants and no more. */
export interface Caller {
  /** `user:<name>`; empty for somebody unknown. */
  subject: string;
  administrator: boolean;
  /** `null`: not limited by what was shown, as a password is not. */
  grants: Grant[] | null;
}

export const ANONYMOUS: Caller = { subject: '', administrator: false, grants: null };

export function mayDo(caller: Caller, action: Action, repository: string | null): boolean {
  return caller.administrator && (caller.grants === null || caller.grants.some((grant) => covers(grant, action, repository)));
}

function covers(grant: Grant, action: Action, repository: string | null): boolean {
  const named = repository === null ? grant.type === 'registry' : grant.type === 'repository' && grant.name === repository;
  return named && grant.actions.includes(action);
}

/** Of what is asked for, that which the caller has: never an error (distribution, "Token Authentication Specification"). */
export function grantable(caller: Caller, asked: Grant[]): Grant[] {
  return asked
    .map((grant) => {
      const repository = grant.type === 'repository' ? grant.name : null;
      return { ...grant, actions: grant.actions.filter((action) => mayDo(caller, action, repository)) };
    })
    .filter((grant) => grant.actions.length > 0);
}

/**
 * The repositories a caller may pull from, for a mount that names no source. Judged by who they are, not by the scopes of
 * their token: a client cannot ask for the scope of a repository it does not know of.
 */
export function pullable(caller: Caller): RepositoryName[] | 'any' {
  return caller.administrator ? 'any' : [];
}
