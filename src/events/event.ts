/** Events of the registry, as they are recorded and delivered. Pure. */

import type { EventType } from '../vocabulary/event-types.ts';

/** The actor of a change: a subject such as `user:admin`, and the access key that was used. */
export interface Actor {
  subject: string;
  key?: string;
  /** The client's address or a hash of it. The audit log keeps it for some days; no delivery has it. */
  address?: string;
}

/** The actor of changes that the registry makes by itself: lifecycle rules, the collector, the scrub. */
export const REGISTRY: Actor = { subject: 'registry' };

/** An event in the database. */
export interface RecordedEvent {
  /** Grows with every event of the registry. */
  id: number;
  /** Seconds since the epoch. */
  at: number;
  type: EventType;
  /** The name of a repository, `organization:acme`, or empty for the registry itself. */
  about: string;
  /** The number of the event among those with the same `about`, from 1 without gaps. */
  sequence: number;
  /** The thing that the event is about. The fields depend on the type. */
  target: Record<string, unknown>;
  by: Actor;
}

/** Parts of a push. They are not announced by themselves, because the event of the manifest follows. */
export const QUIET_TYPES: readonly string[] = ['blob.mounted'] satisfies EventType[];

/**
 * A queue message. It does not contain the events, only where to read them (Cloudflare Queues: a message has at most 128 KB).
 */
export interface Announcement {
  /** The id of the newest event. */
  newest: number;
}

/**
 * The `about` of events on a subject: the name of a repository; the organization of an organization, a team, a robot or a trust
 * rule; empty for users and for trust rules of the registry.
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
 * The `about` of events on logins of a subject. They have a sequence of their own. Robots and CI jobs of an organization have
 * `logins:acme`.
 */
export function loginsOf(subject: string): string {
  const [, organization = ''] = /^(?:robot|ci):([^/]+)\//.exec(subject) ?? [];
  return `${LOGINS}${organization}`;
}

const LOGINS = 'logins:';
/** The `about` of events on failed logins, which belong to nobody. */
export const FAILED_LOGINS = 'failed-logins:';

/** `acme` for `acme/api`, `organization:acme` and `logins:acme`; empty for what belongs to the registry itself. */
export function organizationAbout(about: string): string {
  const own = ['organization:', LOGINS].find((kind) => about.startsWith(kind));
  if (own !== undefined) return about.slice(own.length);
  return about.includes('/') ? (about.split('/', 1)[0] as string) : '';
}
