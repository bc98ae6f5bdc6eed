/** The interface of a payload format, and helpers to render one. Each format has a file; `all.ts` is their table. */
import { organizationAbout, type RecordedEvent } from '../../events/event.ts';
import type { EventType } from '../../vocabulary/event-types.ts';

/** Data about a repository that some formats contain. They are read when the event is matched. */
export interface RepositoryFacts {
  description: string;
  /** The time when the repository was created, in seconds since the epoch. */
  createdAt: number;
  isPublic: boolean;
}

export interface Occurrence {
  event: RecordedEvent;
  /** The data about the repository. `null` if the format needs none, or if the event is not about a repository. */
  facts: RepositoryFacts | null;
  /** The registry's own origin, such as `https://registry.example.com`. The names of images begin with its host. */
  origin: string;
}

/**
 * The event type of a push that changes nothing. Receivers of other registries' formats expect it; receivers of Berth's own
 * formats do not.
 */
const UNCHANGED: readonly EventType[] = ['tag.pushed'];
/**
 * The event type of a tag that names the same digest as before its deletion. The formats of other registries can only express
 * it as a push, and a receiver would deploy the image. So it is delivered only if the filter names it.
 */
export const SHOWN_AS_PUSH: readonly EventType[] = ['tag.restored'];
/** The event types of logins. They were added later, and webhooks that were created before must not start to receive them. */
const LOGINS: readonly EventType[] = ['login.succeeded', 'login.failed', 'login.issued'];
/** The types that Berth's own formats deliver only if the filter of the webhook names them. */
export const ASKED_FOR: readonly EventType[] = [...UNCHANGED, ...LOGINS];

export interface Format {
  contentType: string;
  /**
   * Returns true if the format can express events of this type. Other events are not delivered to a webhook with this format.
   */
  speaksOf: (type: EventType) => boolean;
  /** The types that a webhook gets only if its filter names them. */
  onlyIfNamed: readonly EventType[];
  needsFacts: boolean;
  /** Returns the body of a delivery. It has the same bytes each time, so receivers can recognize a repeated delivery. */
  render: (occurrence: Occurrence) => string;
}

/** Returns the host with which the names of images begin, for example `registry.example.com`, with the port if it has one. */
export function registryHost({ origin }: Pick<Occurrence, 'origin'>): string {
  return new URL(origin).host;
}

/** Returns the time of an event in the form of RFC 3339. */
export function timestampOf({ at }: Pick<RecordedEvent, 'at'>): string {
  return new Date(at * 1000).toISOString();
}

/** Returns a field of the event's target, or `undefined` if it is not a text. */
export function textField(event: RecordedEvent, field: string): string | undefined {
  const value = event.target[field];
  return typeof value === 'string' ? value : undefined;
}

/** Returns the tags in an event about a whole repository. */
export function tagsOf({ target: { tags } }: RecordedEvent): string[] {
  return Array.isArray(tags) ? tags.filter((tag) => typeof tag === 'string') : [];
}

export function numberOf(event: RecordedEvent, field: string): number | undefined {
  const value = event.target[field];
  return typeof value === 'number' ? value : undefined;
}

/**
 * Returns the actor for a payload field that contains the name of a user, for example `alice`. Other actors keep their kind
 * (`robot:acme/ci`), so that receivers do not mistake them for users.
 */
export function operatorOf({ by }: Pick<RecordedEvent, 'by'>): string {
  return by.subject.startsWith('user:') ? by.subject.slice('user:'.length) : by.subject;
}

/**
 * Splits the name of a repository as Docker Hub and Harbor do: `acme/tools/api` becomes `acme` and `tools/api`. A name without
 * a slash has an empty namespace.
 */
export function splitName({ about }: Pick<RecordedEvent, 'about'>): { namespace: string; name: string } {
  const namespace = organizationAbout(about);
  return { namespace, name: namespace === '' ? about : about.slice(namespace.length + 1) };
}

/**
 * Returns a push in place of a test event, for formats that can express no other events. The push is about a repository that
 * does not exist, because a test must not trigger a deployment. Keel's policy `force`, for example, deploys every tag of a
 * repository.
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
 * Returns a UUID of the event, for formats whose receivers recognize a repeated delivery by a UUID. It has version 8 (RFC 9562,
 * section 5.8) and is built from the time and the id of the event. The id alone is not unique, because every registry counts
 * its events from 1.
 */
export function uuidOf({ id, at }: Pick<RecordedEvent, 'id' | 'at'>): string {
  const digits = (value: number) => value.toString(16).padStart(12, '0').slice(-12);
  const time = digits(at * 1000);
  return `${time.slice(0, 8)}-${time.slice(8)}-8000-8000-${digits(id)}`;
}
