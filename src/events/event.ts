/** What can happen to a registry, as it is recorded and later delivered. Pure: it knows neither tables nor listeners. */

import type { EventType } from '../vocabulary/event-types.ts';

/** Whoever did it, as the record remembers them: a subject such as `user:admin`, and the access key they did it with. */
export interface Actor {
  subject: string;
  key?: string;
  /** From where, as the audit log keeps it for a while: an address or a hash of one. It is in no delivery. */
  address?: string;
}

/** Of what nobody asked for: rules, the collector, the scrub. */
export const REGISTRY: Actor = { subject: 'registry' };

/** An event as it was recorded. */
export interface RecordedEvent {
  /** Grows with every event of the registry. */
  id: number;
  /** Seconds since the epoch. */
  at: number;
  type: EventType;
  /** The name of a repository, `organization:acme`, or empty where it is about the registry itself. */
  about: string;
  /** Of what it is about: 1, 2, 3 and so on without a gap, whatever happens elsewhere. */
  sequence: number;
  /** What happened to what; its fields are those of its type. */
  target: Record<string, unknown>;
  by: Actor;
}

/** Part of a push whose manifest will follow, and has an event of its own: nobody is woken for these alone. */
export const QUIET_TYPES: readonly string[] = ['blob.mounted'] satisfies EventType[];

/** What a queue carries: never what happened, only where to read it (Cloudflare Queues: a message has 128 KB). */
export interface Announcement {
  /** The newest event that there is to read. */
  newest: number;
}

/**
 * What events about a subject are about: of `repository:acme/api` its name, of `organization:acme`, a team, a robot or a rule of it
 * the organization. A user belongs to the registry itself, as do its own rules.
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
 * What events about logins of a subject are about: they are counted apart, so that none of the other numbers depend on them.
 * `logins:acme` of robots and jobs of an organization.
 */
export function loginsOf(subject: string): string {
  const [, organization = ''] = /^(?:robot|ci):([^/]+)\//.exec(subject) ?? [];
  return `${LOGINS}${organization}`;
}

const LOGINS = 'logins:';
/** What events about attempts are about that failed: they belong to nobody. */
export const FAILED_LOGINS = 'failed-logins:';

/** `acme` of `acme/api`, `organization:acme` and `logins:acme`; empty for what belongs to the registry itself. */
export function organizationAbout(about: string): string {
  const own = ['organization:', LOGINS].find((kind) => about.startsWith(kind));
  if (own !== undefined) return about.slice(own.length);
  return about.includes('/') ? (about.split('/', 1)[0] as string) : '';
}
