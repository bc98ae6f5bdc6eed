/**
 * The context of a request of the distribution protocol (`/v2`), and the checks of its rights. For a pull, an access token
 * suffices: the caller's rights are not read from D1. Every request that changes content reads these rights.
 */
import { holderOf } from '../auth/credential.ts';
import { ANONYMOUS, type Caller, EMPTY_TOKEN, INVALID_TOKEN, isGranted } from '../auth/policy.ts';
import { type Action, scopeFor } from '../auth/scope.ts';
import { settings } from '../env.ts';
import { type Assumption, AssumptionFailed } from '../events/batch.ts';
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
  /** The caller as the credential describes it. `caller.grants` are the grants of an access token. */
  caller: Caller;
  /** The caller's rights, or `null` if they were not read from D1. */
  authority: Call['authority'] | null;
  /** The rows of the upload that were read together with the rights. `null` if the body contains no bytes of a blob. */
  uploading: UploadReads | null;
  /** Set if `authority` was not read for this request, but is what this isolate remembers. */
  assumed: AssumedRights | null;
}

/** The rows that decide on a request. */
export type Admitted = Pick<ContentCall, 'authority' | 'uploading'>;

/** Rights that this isolate remembers. A change that they decide on must be made by `changing`. */
export interface AssumedRights extends Assumption {
  /** True if a batch has required that the rights are the same. */
  readonly isRequired: boolean;
  /** Admits the request with the present rights. @throws unauthenticated, forbidden */
  load(): Promise<Admitted>;
}

/**
 * Makes a change of content. If the rights are only remembered, the batch of the change requires that they are the same. If
 * they are not, the present rights are loaded, and the change is decided and made again. A refusal that no batch has decided is
 * told only after the present rights were read.
 */
export async function changing<T>(call: ContentCall, change: (call: ContentCall) => Promise<T>): Promise<T> {
  const { assumed } = call;
  if (assumed === null) return change(call);
  try {
    return await change(call);
  } catch (error) {
    if (error instanceof AssumptionFailed) return change(await withPresentRights(call));
    if (!assumed.isRequired) await assumed.load();
    throw error;
  }
}

/** Returns the call with the present rights from the database in place of the rights from this isolate's memory. */
export async function withPresentRights(call: ContentCall): Promise<ContentCall> {
  return call.assumed === null ? call : { ...call, ...(await call.assumed.load()), assumed: null };
}

/** Returns the token scope that the action needs. A mount also needs the scope to pull from its source (end-11). */
export function scopeOf(action: Action, repository: RepositoryName | null, source: RepositoryName | null = null): string {
  const scopes = [scopeFor(action, repository ?? ''), ...(source === null ? [] : [scopeFor('pull', source)])];
  return scopes.join(' ');
}

/**
 * Refuses a caller without a credential, and a caller whose access token does not grant the action. Other credentials pass,
 * because they are limited only by the rights of the account.
 * @param repository the repository of the action; `null` means the registry itself
 * @throws unauthenticated with the token scope that the request needs, so that the client can request another token
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

/** Requires a caller with a valid credential. @throws unauthenticated if there is none, or if the token is invalid */
export function requireIdentity(call: Pick<ContentCall, 'caller' | 'service'>): void {
  if (call.caller === ANONYMOUS) throw new Refusal('unauthenticated', howToLogIn(call));
  if (call.caller === EMPTY_TOKEN) throw emptyCredential();
  if (call.caller === INVALID_TOKEN) throw invalidToken(call);
}

/**
 * Returns true if the caller may do the action. If there is an access token, it must grant the action. If the account's rights
 * were read, they must allow the action. Returns false if there is neither.
 */
export function mayOnContent({ caller, authority }: ContentCall, action: ContentAction, repository: RepositoryName): boolean {
  if (authority === null && caller.grants === null) return false;
  return isGranted(caller, action, repository) && (authority === null || may(authority, action, repository));
}

/** Requires the right to pull. @throws unauthenticated, forbidden */
export function requireRead(call: ContentCall, repository: RepositoryName): void {
  requireGrant(call, 'pull', repository);
  if (mayOnContent(call, 'pull', repository)) return;
  throw new Refusal('forbidden', call.authority ? denial(call.authority, { action: 'pull', repository, tag: null }) : {});
}

/**
 * Requires the right to an action by the account's present rights in D1. If the caller may pull, the refusal says which right
 * is missing. For other callers the refusal is the same whether the repository is private or does not exist.
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
  // Only the right to delete is checked with the tag. A push may also name tags in its body, so a push checks the right to each
  // tag later.
  if (!may(authority, action, repository, action === 'delete' ? tag : null)) {
    if (authority.subject === '')
      throw new Refusal('unauthenticated', { ...howToLogIn(call), challenge: { scope: scopeOf(action, repository) } });
    throw new Refusal('forbidden', denial(authority, { action, repository, tag }));
  }
  return actorFor({ authority, address }, action, repository, tag);
}

/** @throws Error if the caller's rights were not loaded before. This is a programming error in the HTTP handler */
export function withAuthority({ authority, ...call }: ContentCall): Call {
  if (authority === null) throw new Error("the door has not loaded the caller's rights");
  return { ...call, authority };
}

/** Returns true if a push by this caller may create the repository. */
export function mayCreateByPush(call: ContentCall, repository: RepositoryName): boolean {
  return settings(call.env).createOnPush && may(withAuthority(call).authority, 'create', repository);
}

/**
 * Returns an identifier of the uploader. It is the same in all requests of an upload, although tokens may be renewed in
 * between.
 */
export function uploaderOf({ caller, authority }: ContentCall): string {
  const token = caller.credential?.kind === 'token' ? caller.credential : undefined;
  return holderOf(authority?.subject ?? caller.subject, authority?.credentialOrigin ?? token?.credentialOrigin);
}
