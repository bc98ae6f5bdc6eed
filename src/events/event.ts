/** Events of the registry, in the form in which they are stored and delivered. This module does no I/O. */

import type { EventType } from '../vocabulary/event-types.ts';

/** Who makes a change: a subject such as `user:admin`, and the id of the access key if one was used. */
export interface Actor {
  subject: string;
  key?: string;
  /** The client's address or a hash of it. The audit log keeps it for some days. Webhooks never receive it. */
  address?: string;
}

/** Returns the actor that a row names in its columns `actor` and `key_id`. */
export function actorIn(subject: string, key: string | null): Actor {
  return { subject, ...(key === null ? {} : { key }) };
}

/**
 * The actor of changes that the registry makes by itself, for example by lifecycle rules, garbage collection and the scrub job.
 */
export const REGISTRY: Actor = { subject: 'registry' };

/** An event in the database. */
export interface RecordedEvent {
  /** The id. Each new event of the registry has a greater id. */
  id: number;
  /** The time of the event, in seconds since the epoch. */
  at: number;
  type: EventType;
  /**
   * What the event is about: the name of a repository, `organization:acme`, or the empty string for the registry itself. Events
   * about logins have `logins:`, `logins:acme` or `failed-logins:`. Rights to read events and webhook subscriptions are checked
   * against this field.
   */
  about: string;
  /** The number of the event among the events with the same `about`. The numbers begin with 1 and have no gaps. */
  sequence: number;
  /** The data of the event. The fields depend on the type. */
  target: Record<string, unknown>;
  by: Actor;
}

/**
 * Types of events that are one step of a push. No queue message announces them, because the event of the manifest follows soon.
 */
export const QUIET_TYPES: readonly string[] = ['blob.mounted'] satisfies EventType[];

/**
 * The queue message that announces events. It does not contain the events themselves, because a message of Cloudflare Queues
 * may have at most 128 KB. The consumer reads the events from D1.
 */
export interface Announcement {
  /** The id of the newest event. */
  newest: number;
}

/**
 * Returns the `about` of events that concern a subject. For a repository, this is its name. For an organization, a team, a
 * robot or a trust rule, it is `organization:<name>`. For users and for trust rules of the whole registry, it is the empty
 * string.
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
 * Returns the organization or user to which an `about` belongs: `acme` for `acme/api`, `organization:acme` and `logins:acme`.
 * Returns the empty string for an `about` that belongs to the registry itself.
 */
export function organizationAbout(about: string): string {
  const own = ['organization:', LOGINS].find((kind) => about.startsWith(kind));
  if (own !== undefined) return about.slice(own.length);
  return about.includes('/') ? (about.split('/', 1)[0] as string) : '';
}
