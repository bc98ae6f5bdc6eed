/**
 * Rights, asked by every operation before it reads or changes anything. A caller who may not know of a thing is told what
 * somebody is told who asks for a thing that does not exist.
 */
import type { Authority } from '../auth/authority.ts';
import { actingAs, allows, isUnscopedUser, tagsDenied } from '../auth/policy.ts';
import type { Actor } from '../events/event.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Tag } from '../oci/reference.ts';
import type { RepositoryAction } from '../vocabulary/actions.ts';
import { REASONS } from '../vocabulary/reasons.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import type { Call } from './call.ts';

/** The actor that is recorded with a change. */
export function actorOf({ authority, address }: Pick<Call, 'authority' | 'address'>): Actor {
  const { key } = authority.credentialOrigin;
  return { subject: authority.subject, ...(key ? { key } : {}), ...(address === null ? {} : { address }) };
}

/** Decisions of a request, by the authority that they were made for. */
const decisions = new WeakMap<Authority, Map<string, boolean>>();

/** True if the caller may do this. Decided once in a request: who admits a request asks, and then the operation. */
export function may(authority: Authority, action: RepositoryAction, repository: string, tag: string | null = null): boolean {
  const known = decisions.get(authority) ?? new Map<string, boolean>();
  decisions.set(authority, known);
  const question = `${action} ${repository} ${tag ?? ''}`;
  const decided = known.get(question) ?? allows(authority, action, repository, tag);
  known.set(question, decided);
  return decided;
}

/** The actor to record: for a CI job, the trust rule that allows the action. */
export function actorFor(
  call: Pick<Call, 'authority' | 'address'>,
  action: RepositoryAction,
  about: string,
  tag: string | null,
): Actor {
  return { ...actorOf(call), subject: actingAs(call.authority, action, about, tag) };
}

/** The message to a caller who may pull the repository, and so knows of it. */
export function missingRight(action: RepositoryAction, repository: string): { message: string } {
  return { message: `you may pull ${repository}, but the right to ${action} is missing: ask somebody who may administer it` };
}

const MAY_NOT_PUSH =
  'you may not push here: the repository does not exist, or is not yours. You may push under your own name, in organizations ' +
  'that you own, and where a policy allows it';

/** The message to a caller who may not know of the repository: the same for a private one and an absent one. */
export function nothingHere(action: RepositoryAction | 'catalog'): { message: string } {
  return { message: action === 'push' ? MAY_NOT_PUSH : REASONS.forbidden };
}

/**
 * @param tag the tag that the request names, if it names one
 * @returns the actor to record
 * @throws unauthenticated to an anonymous caller, not-found to one who may not even pull, forbidden to others
 */
export function requireRight(
  call: Pick<Call, 'authority' | 'address'>,
  action: RepositoryAction,
  repository: RepositoryName,
  tag: string | null = null,
): Actor {
  const { authority } = call;
  // The tag limits only deletions here: a push may also name tags in its body, and each of them is checked later.
  if (!may(authority, action, repository, action === 'delete' ? tag : null)) {
    if (authority.subject === '') throw new Refusal('unauthenticated');
    if (!may(authority, 'pull', repository)) throw new Refusal('not-found');
    throw new Refusal('forbidden', missingRight(action, repository));
  }
  return actorFor(call, action, repository, tag);
}

/**
 * The tags that the caller must not create (`push`) and must not move (`retag`). Whether a tag is created or moved is known
 * only in the batch that writes it.
 * @throws too-much-work if the policies have too many patterns for this many tags
 */
export function deniedTags(
  { authority }: Pick<Call, 'authority'>,
  repository: RepositoryName,
  tags: readonly Tag[],
): { notToMake: Tag[]; notToMove: Tag[] } {
  const { push, retag } = tagsDenied(authority, ['push', 'retag'], repository, tags);
  return { notToMake: push as Tag[], notToMove: retag as Tag[] };
}

/** True if the caller may know who changed something in a repository: names of people are for those who push there. */
export function maySeeActors({ authority }: Pick<Call, 'authority'>, repository: RepositoryName): boolean {
  return may(authority, 'push', repository);
}

/** True if the request was made with this key. @param key the id */
export function isOwnKey({ credentialKind, credentialOrigin }: Authority, key: string): boolean {
  return credentialKind === 'key' && credentialOrigin.key === key;
}

/** @throws unauthenticated */
export function requireLogin({ authority }: Pick<Call, 'authority'>): void {
  if (authority.subject === '') throw new Refusal('unauthenticated');
}

/**
 * Requires a user's own access key. People, their policies and keys are changed by such keys only: a narrowed credential must
 * not make one that is not.
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

/** @throws unauthenticated, forbidden */
export function requireAdministrator(call: Pick<Call, 'authority'>): void {
  requireUnscopedUser(call);
  if (!call.authority.administrator) throw onlyFor('an administrator');
}

/**
 * Requires a credential that is not narrowed, for operations about people. The answer does not depend on whether the thing
 * exists.
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
 * An administrator counts as an owner of every organization.
 * @throws unauthenticated, forbidden, not-found to who is no member
 */
export function requireOwner(call: Pick<Call, 'authority'>, organization: string): void {
  requireUnscopedUser(call);
  requireRole(call, organization, 'owner');
}

/** @throws unauthenticated, forbidden, not-found to who is no member */
export function requireMember(call: Pick<Call, 'authority'>, organization: string): void {
  requireNotNarrowed(call);
  requireRole(call, organization, 'member');
}

/**
 * @param user a user's name: members may take themselves out.
 * @throws unauthenticated, forbidden, not-found to who is no member
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
  if (role === 'owner') throw onlyFor(`an owner of ${organization}`);
}

function onlyFor(whom: string): Refusal {
  return new Refusal('forbidden', { message: `only ${whom} may do this` });
}
