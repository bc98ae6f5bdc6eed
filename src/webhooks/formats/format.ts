/** The interface of a payload format, and helpers to render one. Each format has a file; `all.ts` is their table. */
import { organizationAbout, type RecordedEvent } from '../../events/event.ts';
import type { EventType } from '../../vocabulary/event-types.ts';

/** Facts about a repository that some formats include, as they were when the event was matched. */
export interface RepositoryFacts {
  description: string;
  /** Seconds since the epoch. */
  createdAt: number;
  isPublic: boolean;
}

export interface Occurrence {
  event: RecordedEvent;
  /** `null` if the format needs no facts, or the event is about no repository. */
  facts: RepositoryFacts | null;
  /** The registry's own address, such as `https://registry.example.com`. Images are named by its host. */
  origin: string;
}

/** Pushes that change nothing. Receivers of other registries' formats expect every push; those of our own act on changes. */
const UNCHANGED: readonly EventType[] = ['tag.pushed'];
/** Logins. Webhooks that were created before logins were recorded must not start to hear them. */
const LOGINS: readonly EventType[] = ['login.succeeded', 'login.failed', 'login.issued'];
/** Types that our own formats deliver only if the filter names them. */
export const ASKED_FOR: readonly EventType[] = [...UNCHANGED, ...LOGINS];

export interface Format {
  contentType: string;
  /** True for the types of events that the format can express. A webhook of this format hears no others. */
  speaksOf: (type: EventType) => boolean;
  /** The types that a webhook hears only if its filter names them. */
  onlyIfNamed: readonly EventType[];
  needsFacts: boolean;
  /** The body. One event always has the same bytes, so receivers can recognize a repeated delivery by them. */
  render: (occurrence: Occurrence) => string;
}

/** The host by which images are named: `registry.example.com`, with its port if it has one. */
export function registryHost({ origin }: Pick<Occurrence, 'origin'>): string {
  return new URL(origin).host;
}

/** RFC 3339. @param at seconds since the epoch */
export function timestampOf({ at }: Pick<RecordedEvent, 'at'>): string {
  return new Date(at * 1000).toISOString();
}

/** A field of the event's target, if it is text. */
export function textField(event: RecordedEvent, field: string): string | undefined {
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

/** The actor for a field that holds a user's name: `alice`. Other actors keep their kind, so none is mistaken for a user. */
export function operatorOf({ by }: Pick<RecordedEvent, 'by'>): string {
  return by.subject.startsWith('user:') ? by.subject.slice('user:'.length) : by.subject;
}

/**
 * Splits a name as Docker Hub and Harbor do: `acme` and `tools/api` of `acme/tools/api`. A name without a slash has no
 * namespace.
 */
export function splitName({ about }: Pick<RecordedEvent, 'about'>): { namespace: string; name: string } {
  const namespace = organizationAbout(about);
  return { namespace, name: namespace === '' ? about : about.slice(namespace.length + 1) };
}

/**
 * Formats that can express pushes only show a test as a push to a repository that does not exist. A test must not trigger a
 * deployment of an existing repository with a tag that nobody pushed: Keel's policy `force` takes any tag.
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
 * A UUID for formats whose receivers recognize a repeated delivery by it: version 8 (RFC 9562, section 5.8), made of the
 * event's time and id. The id alone would not do, because it begins with 1 in every registry.
 */
export function uuidOf({ id, at }: Pick<RecordedEvent, 'id' | 'at'>): string {
  const digits = (value: number) => value.toString(16).padStart(12, '0').slice(-12);
  const time = digits(at * 1000);
  return `${time.slice(0, 8)}-${time.slice(8)}-8000-8000-${digits(id)}`;
}
