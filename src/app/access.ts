/**
 * Checks the caller's rights. Every operation calls one of these functions before it reads or changes anything. If the caller
 * may not know that a thing exists, the refusal is the same as for a thing that does not exist. A narrowed key is an access key
 * with statements of its own, which limit it to a part of its owner's rights.
 */
import type { Authority } from '../auth/authority.ts';
import { actingAs, allows, isUnscopedUser, tagsDenied } from '../auth/policy.ts';
import type { Actor } from '../events/event.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Tag } from '../oci/reference.ts';
import type { RepositoryAction } from '../vocabulary/actions.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import type { Call } from './call.ts';
import { denial, ownersOnly } from './denials.ts';

/** Returns the actor to record with a change: the caller's subject, access key and address. */
export function actorOf({ authority, address }: Pick<Call, 'authority' | 'address'>): Actor {
  const { key } = authority.credentialOrigin;
  return { subject: authority.subject, ...(key ? { key } : {}), ...(address === null ? {} : { address }) };
}

/**
 * A cache of decisions, by authority. Each request has its own authority object, so decisions are cached only for one request.
 */
const decisions = new WeakMap<Authority, Map<string, boolean>>();

/**
 * Returns true if the caller may do this action. The decision is cached for the request, because admission and the operation
 * both ask for it.
 */
export function may(authority: Authority, action: RepositoryAction, repository: string, tag: string | null = null): boolean {
  const known = decisions.get(authority) ?? new Map<string, boolean>();
  decisions.set(authority, known);
  const question = `${action} ${repository} ${tag ?? ''}`;
  const decided = known.get(question) ?? allows(authority, action, repository, tag);
  known.set(question, decided);
  return decided;
}

/**
 * Returns the actor to record with an action. If the caller is a CI job, the actor is the trust rule that allows the action.
 */
export function actorFor(
  call: Pick<Call, 'authority' | 'address'>,
  action: RepositoryAction,
  about: string,
  tag: string | null,
): Actor {
  return { ...actorOf(call), subject: actingAs(call.authority, action, about, tag) };
}

/**
 * Requires the right to an action on a repository.
 * @param tag the tag that the request names, or `null` if it names none
 * @returns the actor to record
 * @throws unauthenticated if the caller is anonymous, not-found if the caller may not pull either, otherwise forbidden
 */
export function requireRight(
  call: Pick<Call, 'authority' | 'address'>,
  action: RepositoryAction,
  repository: RepositoryName,
  tag: string | null = null,
): Actor {
  const { authority } = call;
  // Only the right to delete is checked with the tag. A push may also name tags in its body, so a push checks the right to each
  // tag later.
  if (!may(authority, action, repository, action === 'delete' ? tag : null)) {
    if (authority.subject === '') throw new Refusal('unauthenticated');
    throw new Refusal(
      may(authority, 'pull', repository) ? 'forbidden' : 'not-found',
      denial(authority, { action, repository, tag }),
    );
  }
  return actorFor(call, action, repository, tag);
}

/**
 * Returns the tags that the caller must not create (right `push`) and those that the caller must not move (right `retag`). Only
 * the batch that writes a tag finds out whether the tag is created or moved, so the batch gets both lists.
 * @throws too-much-work if the policies have too many patterns to compare with this many tags
 */
export function deniedTags(
  { authority }: Pick<Call, 'authority'>,
  repository: RepositoryName,
  tags: readonly Tag[],
): { notToMake: Tag[]; notToMove: Tag[] } {
  const { push, retag } = tagsDenied(authority, ['push', 'retag'], repository, tags);
  return { notToMake: push as Tag[], notToMove: retag as Tag[] };
}

/**
 * Requires the rights to delete several tags and images. An image is deleted with all its tags, so a right that is limited to
 * some tags does not suffice for an image.
 * @returns the actor to record
 * @throws unauthenticated, not-found, forbidden, too-much-work
 */
export function requireDeleteRights(
  call: Pick<Call, 'authority' | 'address'>,
  repository: RepositoryName,
  { tags, images }: { tags: readonly Tag[]; images: boolean },
): Actor {
  const by = requireRight(call, 'delete', repository, images ? null : (tags[0] ?? null));
  const denied = tagsDenied(call.authority, ['delete'], repository, tags).delete;
  if (denied.length === 0) return by;
  throw new Refusal('forbidden', { message: `you do not have the right to delete ${denied[0]}`, detail: denied.slice(0, 10) });
}

/** Returns true if the caller may see who changed something in a repository. This needs the right to push there. */
export function maySeeActors({ authority }: Pick<Call, 'authority'>, repository: RepositoryName): boolean {
  return may(authority, 'push', repository);
}

/** Returns true if the request was made with this key. @param key the id of the key */
export function isOwnKey({ credentialKind, credentialOrigin }: Authority, key: string): boolean {
  return credentialKind === 'key' && credentialOrigin.key === key;
}

/** Requires a caller who is not anonymous. @throws unauthenticated */
export function requireLogin({ authority }: Pick<Call, 'authority'>): void {
  if (authority.subject === '') throw new Refusal('unauthenticated');
}

/**
 * Requires a user's access key that is not narrowed, or the administrator's password. Only these credentials may change users,
 * policies and keys. Otherwise a narrowed key could be used to create a key that is not narrowed.
 * @throws unauthenticated, forbidden
 */
export function requireUnscopedUser(call: Pick<Call, 'authority'>): void {
  requireLogin(call);
  if (isUnscopedUser(call.authority)) return;
  throw new Refusal('forbidden', {
    message:
      "this needs a user's access key that is not narrowed. A login password, a robot's key and a CI token are not accepted",
  });
}

/**
 * Requires that the request itself contains an access key or password. A signed-in browser session does not suffice to create a
 * key or a password. Otherwise somebody who uses another person's open browser could take a lasting credential away.
 * @throws forbidden
 */
export function requireNoSession({ authority }: Pick<Call, 'authority'>): void {
  if (authority.credentialKind !== 'session') return;
  throw new Refusal('forbidden', {
    message: 'enter your access key again: a signed-in browser alone cannot make a credential',
  });
}

/** Requires an administrator, with a credential that `requireUnscopedUser` accepts. @throws unauthenticated, forbidden */
export function requireAdministrator(call: Pick<Call, 'authority'>): void {
  requireUnscopedUser(call);
  if (!call.authority.administrator) throw new Refusal('forbidden', { message: 'only an administrator may do this' });
}

/**
 * Requires a login with a credential that is not narrowed. Used by operations about users and organizations. The refusal is the
 * same whether or not the user or organization exists.
 * @throws unauthenticated, forbidden
 */
export function requireNotNarrowed(call: Pick<Call, 'authority'>): void {
  requireLogin(call);
  if (call.authority.bounds.length === 0) return;
  throw new Refusal('forbidden', {
    message: 'a narrowed key is only for itself and its repositories: use a key that is not narrowed',
  });
}

/**
 * Requires an owner of the organization. An administrator counts as an owner of every organization.
 * @throws unauthenticated, forbidden; not-found if the caller is not a member
 */
export function requireOwner(call: Pick<Call, 'authority'>, organization: string): void {
  requireUnscopedUser(call);
  requireRole(call, organization, 'owner');
}

/**
 * Requires a member of the organization, or an administrator. @throws unauthenticated, forbidden; not-found if the caller is
 * neither
 */
export function requireMember(call: Pick<Call, 'authority'>, organization: string): void {
  requireNotNarrowed(call);
  requireRole(call, organization, 'member');
}

/**
 * Requires an owner of the organization, or the member whom the request is about, because members may remove themselves.
 * @param user the name of the user whom the request is about
 * @throws unauthenticated, forbidden; not-found if the caller is not a member
 */
export function requireOwnerOrSelf(call: Pick<Call, 'authority'>, organization: string, user: string): void {
  requireUnscopedUser(call);
  const { subject, belongsTo } = call.authority;
  if (subject === `user:${user}` && belongsTo.includes(organization)) return;
  requireRole(call, organization, 'owner');
}

function requireRole({ authority }: Pick<Call, 'authority'>, organization: string, role: 'owner' | 'member'): void {
  if (authority.administrator || authority.owns.includes(organization)) return;
  if (!authority.belongsTo.includes(organization)) throw new Refusal('not-found');
  if (role === 'owner') throw new Refusal('forbidden', ownersOnly(organization));
}
