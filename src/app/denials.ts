/**
 * Messages to callers who lack a right: which right is missing, who can grant it, and where the caller may push. A message
 * depends only on the caller's own rights and on the name in the request, so it is the same for a private repository and one
 * that does not exist.
 */
import type { Authority } from '../auth/authority.ts';
import { firstOwners } from '../auth/people/members.ts';
import { allows, isNarrowed, isOutsideKey } from '../auth/policy.ts';
import type { Database } from '../events/batch.ts';
import type { RepositoryAction } from '../vocabulary/actions.ts';
import { namespaceOf } from '../vocabulary/names.ts';

type Message = { message: string };

const IT: Record<RepositoryAction, string> = {
  pull: 'pull it',
  push: 'push to it',
  retag: 'move its tags',
  delete: 'delete from it',
  create: 'create it',
  admin: 'administer it',
};

/** The right that a request needs. `tag` is `null` if the request names no tag. */
interface Needed {
  action: RepositoryAction;
  repository: string;
  tag: string | null;
}

/**
 * Returns the message of a refusal. @param owners the first owners of the repository's organization, if the caller may know
 * them
 */
export function denial(authority: Authority, needed: Needed, owners: readonly string[] = []): Message {
  return { message: textOf(authority, needed, owners) };
}

function textOf(authority: Authority, { action, repository, tag }: Needed, owners: readonly string[]): string {
  const granting = `${grantors(namespaceOf(repository), owners)} can grant it`;
  // This depends only on the key's own statements. A message that depended on the rights of the key's owner would reveal them
  // to whoever has the key.
  if (isOutsideKey(authority, action, repository, tag)) {
    return `this access key is narrowed: whether or not the repository exists, the key may not ${IT[action]}. Use another key`;
  }
  if (allows(authority, 'pull', repository)) {
    return `you may pull ${repository}, but the right to ${action} is missing: ${granting}`;
  }
  if (authority.credentialKind === 'ci') return `the repository does not exist, or no trust rule lets this job ${IT[action]}`;
  const nothing = `the repository does not exist, or you may not ${IT[action]}`;
  // The message to a narrowed key does not say where its owner may push.
  if (action === 'push' && !isNarrowed(authority)) return `${nothing}. ${wherePushed(authority, granting)}`;
  return `${nothing}. If the name is right: ${granting}`;
}

/** Returns for example `an owner of acme (alice, bob) or an administrator`. */
function grantors(namespace: string, owners: readonly string[]): string {
  if (namespace === '') return 'an administrator';
  if (owners.length === 0) return 'its owner or an administrator';
  return `an owner of ${namespace} (${owners.join(', ')}) or an administrator`;
}

/** The message to a member of an organization who is not its owner. */
export function ownersOnly(organization: string, owners: readonly string[] = []): Message {
  const names = owners.length > 0 ? ` (${owners.join(', ')})` : '';
  return { message: `only an owner of ${organization}${names} or an administrator may do this` };
}

const PLACES_TRIED = 20;
const PLACES_NAMED = 6;

/** Returns where the caller may push: the caller's own name, organizations and policies, as patterns. */
function wherePushed(authority: Authority, granting: string): string {
  const patterns = authority.statements.flatMap(({ from, statement: { effect, actions, repositories = [] } }) =>
    effect === 'allow' && actions.includes('push') && !from.startsWith('repository:') ? repositories : [],
  );
  const some = [...new Set(patterns)].slice(0, PLACES_TRIED);
  const places = some.filter((pattern) => allows(authority, 'push', pattern.replaceAll('*', 'x')));
  if (places.length === 0) return `You may push nowhere yet: ${granting}`;
  const others = places.length > PLACES_NAMED ? ', and where else your policies allow it' : '';
  return `You may push to ${places.slice(0, PLACES_NAMED).join(', ')}${others}`;
}

/**
 * Returns the first owners of an organization if the caller is a member, otherwise an empty list. Called only when a request is
 * refused.
 */
export async function ownersFor(env: Database, authority: Authority, organization: string): Promise<string[]> {
  if (isNarrowed(authority) || !authority.belongsTo.includes(organization)) return [];
  return firstOwners(env, organization);
}
