/**
 * Admits requests: checks whether the caller has the right that the route requires. An HTTP handler calls this before it reads
 * the body, charges a rate limit or validates a parameter, so that a caller without the right gets no other error. The caller's
 * rights are loaded once, with the policies of all repositories that the request names. The operation checks the right again,
 * in case a handler forgot the admission. `may` caches the decision, so nothing is computed twice.
 */
import type { Authority } from '../auth/authority.ts';
import { type Caller, isUnscopedUser } from '../auth/policy.ts';
import { rememberedAuthority } from '../auth/rights/lookup.ts';
import { type Actor, aboutOf, isAboutRepository } from '../events/event.ts';
import type { RepositoryName } from '../oci/name.ts';
import { ACTIONS } from '../vocabulary/actions.ts';
import { namespaceOf } from '../vocabulary/names.ts';
import { isRefusal, Refusal } from '../vocabulary/refusal.ts';
import type {
  ContentRequirement,
  ManagementRequirement,
  PersonalRequirement,
  RequiredAction,
} from '../vocabulary/requirements.ts';
import { findSubscription, type Subscription } from '../webhooks/subscriptions.ts';
import {
  may,
  requireAdministrator,
  requireLogin,
  requireMember,
  requireOwner,
  requireOwnerOrSelf,
  requireRight,
  requireUnscopedUser,
} from './access.ts';
import { loadCaller } from './authentication.ts';
import type { Arrival, Call } from './call.ts';
import {
  type Admitted,
  type AssumedRights,
  type ContentCall,
  mayOnContent,
  requireContentRight,
  requireGrant,
  requireIdentity,
  scopeOf,
} from './content.ts';
import { denial, ownersFor, ownersOnly } from './denials.ts';
import { requireWebhook } from './subscriptions.ts';
import { type IncomingBlob, readsForUpload } from './upload-reads.ts';

/** The names in a request on which the check of its rights depends. */
export interface Named {
  repository: RepositoryName | null;
  /** A second repository whose policy is needed: the source of a mount, or a repository in the query string. */
  source: RepositoryName | null;
  /** The tag to write or delete. If the request names several tags, this is the first one. */
  tag: string | null;
  /** The name of the organization. This field and the next two are empty if the request does not name such a thing. */
  organization: string;
  user: string;
  webhook: string;
}

/**
 * The check for each requirement that is not an action on a repository. For `trash`, only the login is checked here: the
 * operation finds the deleted repository and checks the right to administer its name.
 */
const CHECKS: Record<PersonalRequirement | 'trash', (call: Pick<Call, 'authority'>, named: Named) => void> = {
  login: requireLogin,
  account: requireUnscopedUser,
  administrator: requireAdministrator,
  owner: (call, { organization }) => requireOwner(call, organization),
  'owner or self': (call, { organization, user }) => requireOwnerOrSelf(call, organization, user),
  member: (call, { organization }) => requireMember(call, organization),
  trash: requireLogin,
};

/**
 * Admits a request of the management API.
 * @returns the caller with the rights on which the request depends, and the webhook that the request names
 * @throws unauthenticated, forbidden; not-found if the caller may not know of the thing that the request names
 */
export async function admit(
  arrival: Arrival,
  caller: Caller,
  requirement: ManagementRequirement,
  named: Named,
): Promise<{ authority: Authority; webhook: Subscription | null }> {
  const webhook = requirement === 'webhook' ? await findSubscription(arrival.env, named.webhook) : null;
  const scope = webhook ? aboutOf(webhook.scope) : '';
  const repositories: (string | null)[] = [named.repository, named.source, isAboutRepository(scope) ? scope : null];
  const authority = await loadCaller(arrival, caller.credential, {
    repositories: repositories.filter((name) => name !== null),
  });
  const call = { env: arrival.env, authority, address: null };
  if (requirement === 'webhook') {
    requireLogin(call);
    if (webhook === null) throw new Refusal('not-found');
    return { authority: actingAs(authority, requireWebhook(call, webhook)), webhook };
  }
  if (isAction(requirement)) {
    const { repository, tag } = named;
    if (repository === null) throw new Error('the route names no repository');
    const admitted = () => requireRight(call, requirement, repository, tag);
    return {
      authority: actingAs(authority, await namingOwners(call, { action: requirement, repository, tag }, admitted)),
      webhook,
    };
  }
  try {
    CHECKS[requirement](call, named);
  } catch (error) {
    const isRole = (requirement === 'owner' || requirement === 'owner or self') && isUnscopedUser(authority);
    if (!isRole || !isRefusal(error, 'forbidden')) throw error;
    throw new Refusal('forbidden', ownersOnly(named.organization, await ownersFor(arrival.env, authority, named.organization)));
  }
  return { authority, webhook };
}

/**
 * Checks a right by calling `ask`. If the right is missing and the caller is a member of the organization, the refusal names
 * owners, who can grant the right.
 */
async function namingOwners(
  { env, authority }: Pick<Call, 'env' | 'authority'>,
  needed: { action: RequiredAction; repository: RepositoryName; tag: string | null },
  ask: () => Actor,
): Promise<Actor> {
  try {
    return ask();
  } catch (error) {
    if (!isRefusal(error, 'forbidden', 'not-found')) throw error;
    const owners = await ownersFor(env, authority, namespaceOf(needed.repository));
    throw new Refusal(error.reason, denial(authority, needed, owners));
  }
}

/** The parts of a request of the distribution protocol (`/v2`) on which its admission depends. */
interface ContentRequest {
  named: Named;
  /** True if the request changes nothing. */
  isRead: boolean;
  /** The description of the blob whose bytes are in the body, or `null` if the body contains no bytes of a blob. */
  incoming: IncomingBlob | null;
  /**
   * Whether the operation may begin with the rights in this isolate's memory. It must then require in the batch of its change
   * that they are unchanged.
   */
  mayAssume: boolean;
}

/**
 * Admits a request of the distribution protocol.
 * @returns the caller's authority, or `null` if the access token alone allows the request and no rights were read from D1
 * @throws unauthenticated with the scope that the request needs; forbidden
 */
export async function admitToContent(
  arrival: Arrival,
  caller: Caller,
  requirement: ContentRequirement,
  request: ContentRequest,
): Promise<Admitted & Pick<ContentCall, 'assumed'>> {
  const before = { ...arrival, caller };
  const { named, isRead } = request;
  if (requirement === 'login') requireIdentity(before);
  else await requireGrantOrSayWhy(before, requirement, named.repository, named.source);
  if (caller.grants !== null && isRead && requirement !== 'catalog') return { authority: null, uploading: null, assumed: null };
  const load = () => loadForContent(before, requirement, request);
  return assumedRights(before, request, load) ?? { ...(await load()), assumed: null };
}

async function loadForContent(
  before: Arrival & { caller: Caller },
  requirement: ContentRequirement,
  { named: { repository, source, tag }, incoming }: ContentRequest,
): Promise<Admitted> {
  const uploading = incoming && repository && (await readsForUpload(before, repository, incoming));
  const authority = await loadCaller(before, before.caller.credential, {
    repositories: [repository, source].filter((name) => name !== null),
    ...(requirement === 'login' ? {} : { scope: scopeOf(requirement, repository, source) }),
    joined: uploading,
  });
  if (requirement === 'login' || requirement === 'catalog') return { authority, uploading };
  if (repository === null) throw new Error('the route names no repository');
  const call = { ...before, authority, uploading, assumed: null, address: null };
  const admitted = () => requireContentRight(call, requirement, repository, tag);
  return {
    authority: actingAs(authority, await namingOwners(call, { action: requirement, repository, tag }, admitted)),
    uploading,
  };
}

/** Returns the rights of the caller as they are remembered, if a push can begin with them. Takes no call to the database. */
function assumedRights(
  before: Arrival & { caller: Caller },
  { named: { repository, source }, mayAssume }: ContentRequest,
  load: () => Promise<Admitted>,
): (Admitted & Pick<ContentCall, 'assumed'>) | null {
  if (!mayAssume || repository === null) return null;
  const repositories = [repository, source].filter((name) => name !== null);
  const known = rememberedAuthority(before.env, before.caller.credential, repositories, before);
  if (!known) return null;
  const { authority, assumption } = known;
  const admitted = { authority, uploading: null };
  if (!mayOnContent({ ...before, ...admitted, assumed: null, address: null }, 'push', repository)) return null;
  let loading: Promise<Admitted> | undefined;
  const assumed: AssumedRights & { isRequired: boolean } = {
    isRequired: false,
    addTo(batch) {
      assumed.isRequired = true;
      assumption.addTo(batch);
    },
    load() {
      loading ??= load();
      return loading;
    },
  };
  return { ...admitted, assumed };
}

/**
 * Requires that the access token grants the action. Clients print the message of the refusal, so the rights of the account are
 * read in order to explain why the token does not grant it.
 * @throws unauthenticated
 */
async function requireGrantOrSayWhy(
  call: Arrival & { caller: Caller },
  action: Exclude<ContentRequirement, 'login'>,
  repository: RepositoryName | null,
  source: RepositoryName | null,
): Promise<void> {
  try {
    requireGrant(call, action, repository, source);
  } catch (error) {
    const isAccount = call.caller.subject !== '' && action !== 'catalog' && repository !== null;
    if (!isAccount || !isRefusal(error, 'unauthenticated')) throw error;
    const scope = scopeOf(action, repository, source);
    const authority = await loadCaller(call, call.caller.credential, { repositories: [repository], scope });
    // The account has the right, but the client requested the token for another scope.
    if (may(authority, action, repository)) throw error;
    const owners = await ownersFor(call.env, authority, namespaceOf(repository));
    throw new Refusal('unauthenticated', {
      ...denial(authority, { action, repository, tag: null }, owners),
      challenge: error.challenge,
    });
  }
}

/** Returns the authority with the subject to record. For a CI job, the subject is the trust rule that allows the request. */
function actingAs(authority: Authority, { subject }: { subject: string }): Authority {
  return subject === authority.subject ? authority : { ...authority, subject };
}

function isAction(requirement: ManagementRequirement): requirement is RequiredAction {
  return (ACTIONS as readonly string[]).includes(requirement);
}
