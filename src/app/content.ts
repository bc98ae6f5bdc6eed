/**
 * What a request about content needs besides `Call`. A pull with an access token is allowed by the token alone: the database is not
 * asked for the caller's rights. Everything that changes content asks it.
 */
import { holderOf } from '../auth/credential.ts';
import { allows, type Caller, isGranted } from '../auth/policy.ts';
import { settings } from '../env.ts';
import type { Actor } from '../events/event.ts';
import type { RepositoryName } from '../oci/name.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { requireRight } from './access.ts';
import type { Call } from './call.ts';

/** Actions that an access token can name. */
export type ContentAction = 'pull' | 'push' | 'delete';

export interface ContentCall extends Omit<Call, 'authority'> {
  /** The caller as far as the credential says by itself; `grants` of an access token. */
  caller: Caller;
  /** `null`: the database was not asked. */
  authority: Call['authority'] | null;
}

/** True if both the access token, if there is one, and the account's rights, if they were asked for, allow it. */
export function mayOnContent({ caller, authority }: ContentCall, action: ContentAction, repository: RepositoryName): boolean {
  if (authority === null && caller.grants === null) return false;
  return isGranted(caller, action, repository) && (authority === null || allows(authority, action, repository));
}

/** For a read. @throws forbidden */
export function requireRead(call: ContentCall, repository: RepositoryName): void {
  if (!mayOnContent(call, 'pull', repository)) throw new Refusal('forbidden');
}

/**
 * For a change, which needs the account's rights as they are now.
 * @param tag the first tag that the request names
 * @returns the actor to record
 * @throws forbidden, not-found
 */
export function requireChange(
  call: ContentCall,
  action: Exclude<ContentAction, 'pull'>,
  repository: RepositoryName,
  tag: string | null,
): Actor {
  if (!isGranted(call.caller, action, repository)) throw new Refusal('forbidden');
  return requireRight(withAuthority(call), action, repository, tag);
}

/** @throws Error if the database was not asked, which is a mistake of the door */
export function withAuthority({ authority, ...call }: ContentCall): Call {
  if (authority === null) throw new Error("the door has not loaded the caller's rights");
  return { ...call, authority };
}

/** True if a push by this caller may create the repository. */
export function mayCreateByPush(call: ContentCall, repository: RepositoryName): boolean {
  return settings(call.env).createOnPush && allows(withAuthority(call).authority, 'create', repository);
}

/** Whose upload it is, from its first request to its last. */
export function uploaderOf({ caller, authority }: ContentCall): string {
  const origin =
    authority?.credentialOrigin ?? (caller.credential?.kind === 'token' ? caller.credential.credentialOrigin : undefined);
  return holderOf(authority?.subject ?? caller.subject, origin);
}
