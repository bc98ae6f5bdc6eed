/** What a payload format is, and what there is to make a payload of. One file a format; `all.ts` is the table of them. */
import { organizationAbout, type RecordedEvent } from '../../events/event.ts';
import type { EventType } from '../../vocabulary/event-types.ts';

/** What some formats say of a repository, as it was when its event was matched. */
export interface RepositoryFacts {
  description: string;
  /** Seconds since the epoch. */
  createdAt: number;
  isPublic: boolean;
}

export interface Occurrence {
  event: RecordedEvent;
  /** Of the event's repository; `null` where the format does not ask for them, or it is about none. */
  facts: RepositoryFacts | null;
  /** The registry's own address, `https://registry.example.com`: images are named by its host. */
  origin: string;
}

/** Pushes that change nothing: our own receivers act on changes, those of other registries expect every push. */
const UNCHANGED: readonly EventType[] = ['tag.pushed'];
/** Logins: webhooks that were made before they were recorded do not hear them. */
const LOGINS: readonly EventType[] = ['login.succeeded', 'login.failed', 'login.issued'];
/** What our own formats deliver only where it is asked for. */
export const ASKED_FOR: readonly EventType[] = [...UNCHANGED, ...LOGINS];

export interface Format {
  contentType: string;
  /** The types of events that it has words for; a webhook of this format hears no others. */
  speaksOf: (type: EventType) => boolean;
  /** Of those, the ones that a webhook hears only if its filter names them. */
  onlyIfNamed: readonly EventType[];
  needsFacts: boolean;
  /** The body: of one event always the same bytes, so that a repeated delivery can be told by them too. */
  render: (occurrence: Occurrence) => string;
}

/** The host by which images are named: `registry.example.com`, with its port if it has one. */
export function hostOf({ origin }: Pick<Occurrence, 'origin'>): string {
  return new URL(origin).host;
}

/** RFC 3339. @param at seconds since the epoch */
export function timestampOf({ at }: Pick<RecordedEvent, 'at'>): string {
  return new Date(at * 1000).toISOString();
}

/** Fields of a target, where they are text or numbers. */
export function textOf(event: RecordedEvent, field: string): string | undefined {
  const value = event.target[field];
  return typeof value === 'string' ? value : undefined;
}

/** The tags that an event about a whole repository names. */
export function tagsOf({ target: { tags } }: RecordedEvent): string[] {
  return Array.isArray(tags) ? tags.filter((tag) => typeof tag === 'string') : [];
}

export function numberOf(event: RecordedEvent, field: string): number | undefined {
  const value = event.target[field];
  return typeof value === 'number' ? value : undefined;
}

/** Who did it, where there is a field for a user's name: `alice`. Others keep their kind, so that none is taken for a user. */
export function operatorOf({ by }: Pick<RecordedEvent, 'by'>): string {
  return by.subject.startsWith('user:') ? by.subject.slice('user:'.length) : by.subject;
}

/** As Docker Hub and Harbor split names: `acme` and `tools/api` of `acme/tools/api`; no namespace of a name in one piece. */
export function splitName({ about }: Pick<RecordedEvent, 'about'>): { namespace: string; name: string } {
  const namespace = organizationAbout(about);
  return { namespace, name: namespace === '' ? about : about.slice(namespace.length + 1) };
}

/**
 * What a test is shown as by formats that have words for pushes only: as a push to a repository that is not there. One that is
 * might be deployed by it, with a tag that nobody pushed: Keel's policy `force` takes any.
 */
export function pushShownFor(event: RecordedEvent): RecordedEvent {
  if (event.type !== 'webhook.test') return event;
  const about = `${organizationAbout(event.about) || 'berth'}/webhook-test`;
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  return {
    ...event,
    type: 'tag.created',
    about,
    target: { tag: 'test', digest: `sha256:${'0'.repeat(64)}`, mediaType, size: 0 },
  };
}

/**
 * For formats whose receivers expect a UUID, and by it tell a repeated delivery: version 8 (RFC 9562, section 5.8), of when and
 * which, as ids alone begin with 1 in every registry.
 */
export function uuidOf({ id, at }: Pick<RecordedEvent, 'id' | 'at'>): string {
  const digits = (value: number) => value.toString(16).padStart(12, '0').slice(-12);
  const time = digits(at * 1000);
  return `${time.slice(0, 8)}-${time.slice(8)}-8000-8000-${digits(id)}`;
}
