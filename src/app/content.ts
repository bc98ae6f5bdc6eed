/**
 * The context of a request of the distribution protocol, and the checks of its rights. An access token alone allows a pull,
 * without a look at the caller's rights in the database. Every request that changes content reads these rights.
 */
import { holderOf } from '../auth/credential.ts';
import { ANONYMOUS, type Caller, EMPTY_TOKEN, INVALID_TOKEN, isGranted } from '../auth/policy.ts';
import { type Action, scopeFor } from '../auth/scope.ts';
import { settings } from '../env.ts';
import type { Actor } from '../events/event.ts';
import type { RepositoryName } from '../oci/name.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import type { ContentAction } from '../vocabulary/requirements.ts';
import { actorFor, may } from './access.ts';
import { emptyCredential, howToLogIn, invalidToken } from './authentication.ts';
import type { Call } from './call.ts';
import { denial } from './denials.ts';
import type { UploadReads } from './upload-reads.ts';

export interface ContentCall extends Omit<Call, 'authority'> {
  /** The caller according to the credential alone. `caller.grants` are the grants of an access token. */
  caller: Caller;
  /** The caller's rights, or `null` if they were not read from the database. */
  authority: Call['authority'] | null;
  /** The rows that were read together with the rights, if the body contains bytes of a blob. */
  uploading: UploadReads | null;
}

/** Returns the scope that the access token must have. A mount also needs the scope to pull from its source (end-11). */
export function scopeOf(action: Action, repository: RepositoryName | null, source: RepositoryName | null = null): string {
  const scopes = [scopeFor(action, repository ?? ''), ...(source === null ? [] : [scopeFor('pull', source)])];
  return scopes.join(' ');
}

/**
 * Refuses a caller without a credential, and a caller whose access token does not grant the action. Other credentials pass,
 * because only the rights of the account limit them.
 * @param repository the repository of the action; `null` means the registry itself
 * @throws unauthenticated with the scope that the request needs, so that the client can request another token
 */
export function requireGrant(
  call: Pick<ContentCall, 'caller' | 'service'>,
  action: Action,
  repository: RepositoryName | null,
  source: RepositoryName | null = null,
): void {
  const { caller } = call;
  const scope = scopeOf(action, repository, source);
  if (caller === ANONYMOUS) throw new Refusal('unauthenticated', { ...howToLogIn(call), challenge: { scope } });
  if (caller === EMPTY_TOKEN) throw emptyCredential(scope);
  if (caller === INVALID_TOKEN) throw invalidToken(call, scope);
  if (isGranted(caller, action, repository)) return;
  throw new Refusal('unauthenticated', {
    ...(caller.subject === ''
      ? howToLogIn(call)
      : { message: `this token does not cover the scope ${scope}: get another one` }),
    challenge: { scope, error: 'insufficient_scope' },
  });
}

/** Requires a caller with a valid credential. @throws unauthenticated if there is none, or if the token is not valid */
export function requireIdentity(call: Pick<ContentCall, 'caller' | 'service'>): void {
  if (call.caller === ANONYMOUS) throw new Refusal('unauthenticated', howToLogIn(call));
  if (call.caller === EMPTY_TOKEN) throw emptyCredential();
  if (call.caller === INVALID_TOKEN) throw invalidToken(call);
}

/**
 * Returns true if the caller may do the action. An access token must grant it, and the account's rights must allow it if they
 * were read. If there is no access token and the rights were not read, this returns false.
 */
export function mayOnContent({ caller, authority }: ContentCall, action: ContentAction, repository: RepositoryName): boolean {
  if (authority === null && caller.grants === null) return false;
  return isGranted(caller, action, repository) && (authority === null || may(authority, action, repository));
}

/** Requires the right to pull, for a read. @throws unauthenticated, forbidden */
export function requireRead(call: ContentCall, repository: RepositoryName): void {
  requireGrant(call, 'pull', repository);
  if (mayOnContent(call, 'pull', repository)) return;
  throw new Refusal('forbidden', call.authority ? denial(call.authority, { action: 'pull', repository, tag: null }) : {});
}

/**
 * Requires the right to an action, according to the account's present rights in the database. A caller who may pull is told
 * which right is missing. For others the refusal is the same whether the repository is private or absent.
 * @param tag the first tag that the request names, or `null`
 * @returns the actor to record
 * @throws unauthenticated, forbidden
 */
export function requireContentRight(
  call: ContentCall,
  action: ContentAction,
  repository: RepositoryName,
  tag: string | null,
): Actor {
  requireGrant(call, action, repository);
  const { authority, address } = withAuthority(call);
  // Only a deletion is checked with the tag here. A push may also name tags in its body, and each tag is checked later.
  if (!may(authority, action, repository, action === 'delete' ? tag : null)) {
    if (authority.subject === '')
      throw new Refusal('unauthenticated', { ...howToLogIn(call), challenge: { scope: scopeOf(action, repository) } });
    throw new Refusal('forbidden', denial(authority, { action, repository, tag }));
  }
  return actorFor({ authority, address }, action, repository, tag);
}

/** @throws Error if the caller's rights were not loaded before. This is a programming error in the HTTP handler. */
export function withAuthority({ authority, ...call }: ContentCall): Call {
  if (authority === null) throw new Error("the door has not loaded the caller's rights");
  return { ...call, authority };
}

/** Returns true if a push by this caller may create the repository. */
export function mayCreateByPush(call: ContentCall, repository: RepositoryName): boolean {
  return settings(call.env).createOnPush && may(withAuthority(call).authority, 'create', repository);
}

/** Returns an identifier of the uploader. It stays the same from the first request of an upload to the last. */
export function uploaderOf({ caller, authority }: ContentCall): string {
  const token = caller.credential?.kind === 'token' ? caller.credential : undefined;
  return holderOf(authority?.subject ?? caller.subject, authority?.credentialOrigin ?? token?.credentialOrigin);
}
