/**
 * A call about content, and its rights. A pull with an access token is allowed by the token alone: the database is
 * not asked for the caller's rights. Everything that changes content asks it.
 */
import { holderOf } from '../auth/credential.ts';
import { ANONYMOUS, type Caller, INVALID_TOKEN, isGranted } from '../auth/policy.ts';
import { type Action, scopeFor } from '../auth/scope.ts';
import { settings } from '../env.ts';
import type { Actor } from '../events/event.ts';
import type { RepositoryName } from '../oci/name.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import type { ContentAction } from '../vocabulary/requirements.ts';
import { actorFor, may, missingRight, nothingHere } from './access.ts';
import { wrongCredentials } from './authentication.ts';
import type { Call } from './call.ts';
import type { UploadReads } from './upload-reads.ts';

export interface ContentCall extends Omit<Call, 'authority'> {
  /** The caller according to the credential alone; `grants`: those of an access token. */
  caller: Caller;
  /** `null`: the database was not asked. */
  authority: Call['authority'] | null;
  /** Rows that were read together with the rights, for a request that brings bytes of a blob. */
  uploading: UploadReads | null;
}

/** The scope that a client has to ask a token for. A mount needs its source as well (end-11). */
export function scopeOf(action: Action, repository: RepositoryName | null, source: RepositoryName | null = null): string {
  const scopes = [scopeFor(action, repository ?? ''), ...(source === null ? [] : [scopeFor('pull', source)])];
  return scopes.join(' ');
}

/**
 * Refuses a caller whose credential says by itself that it does not allow this: there is none, or it is an access token for
 * something else. Any other credential allows all that its account may do.
 * @param repository `null`: the action is on the registry
 * @throws unauthenticated with the scope that is needed: a client that sees it may ask for another token
 */
export function requireGrant(
  caller: Caller,
  action: Action,
  repository: RepositoryName | null,
  source: RepositoryName | null = null,
): void {
  const scope = scopeOf(action, repository, source);
  if (caller === ANONYMOUS) throw new Refusal('unauthenticated', { challenge: { scope } });
  if (caller === INVALID_TOKEN) throw wrongCredentials(scope);
  if (isGranted(caller, action, repository)) return;
  const isKnown = action !== 'catalog' && repository !== null && isGranted(caller, 'pull', repository);
  throw new Refusal('unauthenticated', {
    ...(isKnown ? missingRight(action, repository) : nothingHere(action)),
    challenge: { scope, error: 'insufficient_scope' },
  });
}

/** @throws unauthenticated */
export function requireIdentity(caller: Caller): void {
  if (caller === ANONYMOUS) throw new Refusal('unauthenticated');
  if (caller === INVALID_TOKEN) throw wrongCredentials();
}

/** True if the action is allowed by the access token, if there is one, and by the account's rights, if they were read. */
export function mayOnContent({ caller, authority }: ContentCall, action: ContentAction, repository: RepositoryName): boolean {
  if (authority === null && caller.grants === null) return false;
  return isGranted(caller, action, repository) && (authority === null || may(authority, action, repository));
}

/** For a read. @throws unauthenticated, forbidden */
export function requireRead(call: ContentCall, repository: RepositoryName): void {
  requireGrant(call.caller, 'pull', repository);
  if (!mayOnContent(call, 'pull', repository)) throw new Refusal('forbidden');
}

/**
 * Requires the right as the account has it now. The answer is the same for a private repository and an absent one; a caller who
 * may pull knows of the repository, and is told what is missing.
 * @param tag the first tag that the request names
 * @returns the actor to record
 * @throws unauthenticated, forbidden
 */
export function requireContentRight(
  call: ContentCall,
  action: ContentAction,
  repository: RepositoryName,
  tag: string | null,
): Actor {
  requireGrant(call.caller, action, repository);
  const { authority, address } = withAuthority(call);
  // Only a deletion is narrowed by the tag here: a push may name tags in its body too, and asks for each of them.
  if (!may(authority, action, repository, action === 'delete' ? tag : null)) {
    if (authority.subject === '') throw new Refusal('unauthenticated', { challenge: { scope: scopeOf(action, repository) } });
    throw new Refusal('forbidden', may(authority, 'pull', repository) ? missingRight(action, repository) : nothingHere(action));
  }
  return actorFor({ authority, address }, action, repository, tag);
}

/** @throws Error if the database was not asked, which is a mistake of the door */
export function withAuthority({ authority, ...call }: ContentCall): Call {
  if (authority === null) throw new Error("the door has not loaded the caller's rights");
  return { ...call, authority };
}

/** True if a push by this caller may create the repository. */
export function mayCreateByPush(call: ContentCall, repository: RepositoryName): boolean {
  return settings(call.env).createOnPush && may(withAuthority(call).authority, 'create', repository);
}

/** Identifies the uploader: the same from the first request of an upload to the last. */
export function uploaderOf({ caller, authority }: ContentCall): string {
  const token = caller.credential?.kind === 'token' ? caller.credential : undefined;
  return holderOf(authority?.subject ?? caller.subject, authority?.credentialOrigin ?? token?.credentialOrigin);
}
