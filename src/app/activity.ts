/** Searches the audit log. Callers see only the events that they may read. */
import { namesForLog } from '../auth/audit-log.ts';
import { isNarrowed, isUnscopedUser } from '../auth/policy.ts';
import { isAboutRepository, organizationAbout, type RecordedEvent } from '../events/event.ts';
import { firstEventOf, searchEvents } from '../events/history.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Cause } from '../vocabulary/causes.ts';
import type { EventType } from '../vocabulary/event-types.ts';
import { namespaceOf, parseName } from '../vocabulary/names.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { sentenceOf } from '../webhooks/formats/sentences.ts';
import { requireLogin, requireOwner, requireRight } from './access.ts';
import type { Call } from './call.ts';

export { sentenceOf };

/** An event with the repository or organization that it is about. */
export type Activity = RecordedEvent & {
  /** The repository that the event is about, or `null` if it is about something else. */
  repository: string | null;
  /** The organization that the event is about, or `null` if it is about a repository or about the registry itself. */
  organization: string | null;
};

export type LoggedActivity = Activity & {
  /** The address of the client, or a hash of the address. `null` if none was recorded, or if it was removed later. */
  address: string | null;
  /** The name of the access key that was used. `null` if no key was used, or if the key no longer exists. */
  keyName: string | null;
};

/** The events to search for. A field that is left out does not restrict the search. Times are seconds since the epoch. */
export interface ActivityFilter {
  repository?: RepositoryName | undefined;
  /** Only events about this organization and its repositories. Ignored if `repository` is given. */
  organization?: string | undefined;
  /** Only events that contain this tag. */
  tag?: string | undefined;
  /** Only events that contain this digest. */
  digest?: string | undefined;
  actor?: string | undefined;
  types?: readonly EventType[] | undefined;
  /** Only changes of tags and manifests with this cause. */
  cause?: Cause | undefined;
  since?: number | undefined;
  /** Only events before this time. */
  until?: number | undefined;
}

/**
 * Lists events, the newest first. A page can have fewer than `limit` events although more pages follow.
 * - If the filter names a repository, the caller must have the right to administer it.
 * - If it names an organization, the caller must be an owner of it.
 * - Otherwise administrators see all events, and other callers see the events of their own actions.
 *
 * @param page.before the id of the last event of the previous page, or `null` for the first page
 * @throws unauthenticated, forbidden; not-found if the caller may not know of the repository or organization
 */
export async function listActivity(
  call: Call,
  { repository, organization, tag, digest, actor, types, cause, since, until }: ActivityFilter,
  { before, limit }: { before: number | null; limit: number },
): Promise<{ items: LoggedActivity[]; next: number | null }> {
  requireLogin(call);
  const filter = {
    repository,
    organization: organization === undefined ? undefined : parseName(organization),
    actor: actor?.toLowerCase() ?? null,
  };
  const search = {
    about: aboutOf(filter),
    actor: visibleActor(call, filter),
    tag: tag ?? null,
    digest: digest ?? null,
    types: types ?? null,
    cause: cause ?? null,
    since: since ?? null,
    until: until ?? null,
    after: repository !== undefined ? await firstVisible(call, repository) : 0,
  };
  const { items, next } = await searchEvents(call.env, search, before, limit);
  return { items: await logged(call, items), next };
}

/** Adds the names of the access keys to the events, and the organization of each repository. */
async function logged(
  { env, authority }: Call,
  events: Awaited<ReturnType<typeof searchEvents>>['items'],
): Promise<LoggedActivity[]> {
  const all = events.map(({ address, ...event }) => ({ ...activityOf(event), address }));
  // A narrowed credential gets no data about people. The name of a key is such data, because its owner chose it.
  const keys = isNarrowed(authority) ? [] : all.flatMap(({ by }) => by.key ?? []);
  const namespaces = all.flatMap(({ repository }) => (repository === null ? [] : namespaceOf(repository)));
  const known = await namesForLog(env, { keys, namespaces });
  return all.map((activity) => {
    const namespace = activity.repository === null ? '' : namespaceOf(activity.repository);
    const organization = known.organizations.has(namespace) ? namespace : activity.organization;
    return { ...activity, organization, keyName: known.keys.get(activity.by.key ?? '') ?? null };
  });
}

interface Filter {
  repository: RepositoryName | undefined;
  organization: string | undefined;
  actor: string | null;
}

function aboutOf({ repository, organization }: Filter): Parameters<typeof searchEvents>[1]['about'] {
  if (repository !== undefined) return { exactly: repository };
  return organization === undefined ? null : { organization };
}

const NOT_OTHERS =
  'only an administrator may search for what somebody else did: leave actor out, or name a repository or organization of yours';

/**
 * Checks the right to the search. Returns the actor whose events the caller may see, or `null` if the caller may see the events
 * of every actor.
 * @throws unauthenticated, forbidden, not-found
 */
function visibleActor(call: Call, { repository, organization, actor }: Filter): string | null {
  const { authority } = call;
  if (repository !== undefined) {
    requireRight(call, 'admin', repository);
    return actor;
  }
  if (organization !== undefined) {
    requireOwner(call, organization);
    return actor;
  }
  if (authority.administrator && isUnscopedUser(authority)) return actor;
  // A narrowed key or CI job has the same subject as other credentials with more rights. So a search by subject would show
  // events to which this credential has no right.
  if (authority.bounds.length > 0 || authority.credentialKind === 'ci')
    throw denied('a narrowed key or CI job reads the events of one repository: name one that it may administer (repository)');
  if (actor !== null && actor !== authority.subject) throw denied(NOT_OTHERS);
  return authority.subject;
}

function denied(message: string): Refusal {
  return new Refusal('forbidden', { message });
}

/**
 * Returns the id after which events of the repository are visible to the caller. Events of an earlier repository with the same
 * name are visible only to owners of the namespace and to administrators.
 */
async function firstVisible({ env, authority }: Call, repository: RepositoryName): Promise<number> {
  const ownsName = authority.administrator || authority.owns.includes(namespaceOf(repository));
  return ownsName && isUnscopedUser(authority) ? 0 : firstEventOf(env, repository);
}

export function activityOf(event: RecordedEvent): Activity {
  const { about } = event;
  const isOfRepository = isAboutRepository(about);
  return {
    ...event,
    repository: isOfRepository ? about : null,
    organization: isOfRepository ? null : organizationAbout(about) || null,
  };
}
