/** Events of the registry, in the form in which they are recorded and delivered. Pure. */

import type { EventType } from '../vocabulary/event-types.ts';

/** The actor of a change: a subject such as `user:admin`, and the id of the access key that was used, if one was. */
export interface Actor {
  subject: string;
  key?: string;
  /** The client's address or a hash of it. The audit log keeps it for some days. Webhook deliveries never contain it. */
  address?: string;
}

/** Returns the actor that a row names in its columns `actor` and `key_id`. */
export function actorIn(subject: string, key: string | null): Actor {
  return { subject, ...(key === null ? {} : { key }) };
}

/** The actor of changes that the registry makes by itself, for example in lifecycle rules, garbage collection and the scrub. */
export const REGISTRY: Actor = { subject: 'registry' };

/** An event in the database. */
export interface RecordedEvent {
  /** The id. Each new event of the registry has a greater id. */
  id: number;
  /** The time of the event, in seconds since the epoch. */
  at: number;
  type: EventType;
  /**
   * The subject of the event: the name of a repository, `organization:acme`, or empty for the registry itself. Events about
   * logins have `logins:`, `logins:acme` or `failed-logins:`.
   */
  about: string;
  /** The number of the event among the events with the same `about`. The numbers begin with 1 and have no gaps. */
  sequence: number;
  /** The data of the event. The fields depend on the type. */
  target: Record<string, unknown>;
  by: Actor;
}

/** Types of events that are one step of a push. They are not announced, because the event of the manifest follows. */
export const QUIET_TYPES: readonly string[] = ['blob.mounted'] satisfies EventType[];

/**
 * The queue message that announces events. It does not contain the events, because a message of Cloudflare Queues has a maximum
 * of 128 KB. The consumer reads the events from the database.
 */
export interface Announcement {
  /** The id of the newest event. */
  newest: number;
}

/**
 * Returns the `about` of events that concern a subject. For a repository, this is its name. For an organization, a team, a
 * robot or a trust rule, it is `organization:<name>`. It is empty for users and for trust rules of the registry.
 */
export function aboutOf(subject: string): string {
  const at = subject.indexOf(':');
  const [kind, name] = [subject.slice(0, Math.max(0, at)), subject.slice(at + 1)];
  if (kind === 'repository') return name;
  const organization = kind === 'organization' ? name : name.slice(0, Math.max(0, name.indexOf('/')));
  return organization === '' ? '' : `organization:${organization}`;
}

export function isAboutRepository(about: string): boolean {
  return about !== '' && !about.includes(':');
}

/**
 * Returns the `about` of events about logins of a subject: `logins:acme` for robots and CI jobs of an organization, otherwise
 * `logins:`. Login events have an `about` of their own, so that they are numbered separately.
 */
export function loginsOf(subject: string): string {
  const [, organization = ''] = /^(?:robot|ci):([^/]+)\//.exec(subject) ?? [];
  return `${LOGINS}${organization}`;
}

const LOGINS = 'logins:';
/** The `about` of events about failed logins. They belong to no account, because nobody was identified. */
export const FAILED_LOGINS = 'failed-logins:';

/**
 * Returns the organization or user that an `about` belongs to: `acme` for `acme/api`, `organization:acme` and `logins:acme`.
 * The result is empty for an `about` that belongs to the registry itself.
 */
export function organizationAbout(about: string): string {
  const own = ['organization:', LOGINS].find((kind) => about.startsWith(kind));
  if (own !== undefined) return about.slice(own.length);
  return about.includes('/') ? (about.split('/', 1)[0] as string) : '';
}
