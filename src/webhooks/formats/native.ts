/**
 * Our own format: CloudEvents 1.0 in the JSON format, structured mode (cloudevents/spec), with all that was recorded. What it
 * promises is written down in `native-schema.ts`.
 */
import { isAboutRepository, type RecordedEvent } from '../../events/event.ts';
import type { EventType } from '../../vocabulary/event-types.ts';
import { ASKED_FOR, type Format, hostOf, numberOf, type Occurrence, textOf, timestampOf } from './format.ts';

/** The largest safe integer has as many digits. */
const SEQUENCE_DIGITS = 16;

export const native: Format = {
  contentType: 'application/cloudevents+json',
  needsFacts: false,
  speaksOf: () => true,
  onlyIfNamed: ASKED_FOR,
  render(occurrence) {
    const { event, origin } = occurrence;
    return JSON.stringify({
      specversion: '1.0',
      id: String(event.id),
      // Also the scope of `sequence`, which is counted by what the event is about.
      source: `${origin}/${event.about}`,
      type: typeOf(event.type),
      subject: subjectOf(event),
      time: timestampOf(event),
      datacontenttype: 'application/json',
      // Compared as text (CloudEvents extension "Sequence"), hence the zeros.
      sequence: String(event.sequence).padStart(SEQUENCE_DIGITS, '0'),
      data: dataOf(occurrence),
    });
  },
};

/** Argo CD Image Updater takes each type with `image` in it for an image, so only those have it that are about one. */
export function typeOf(type: EventType): string {
  return isAboutImage(type) ? `berth.image.${type}` : `berth.${type}`;
}

function isAboutImage(type: EventType): boolean {
  return /^(?:tag|manifest)\./.test(type);
}

/** Of a repository: what is missing from storage is missing to all. */
export function isAboutBlob(type: EventType): boolean {
  return type === 'blob.mounted' || type === 'blob.deleted';
}

/**
 * `acme/api:v1`, `acme/api`, `team:acme/dev`, `key:BK1234`. Without a tag there is no colon after a repository, digests
 * included: Argo CD Image Updater takes what follows it for a tag.
 */
function subjectOf(event: RecordedEvent): string | undefined {
  const [kind = ''] = event.type.split('.', 1);
  const tag = textOf(event, 'tag');
  if (kind === 'tag') return `${event.about}:${tag}`;
  const id = textOf(event, 'id');
  const named = textOf(event, 'subject') ?? (id === undefined ? event.about : `${kind}:${id}`);
  return named === '' ? undefined : named;
}

function dataOf(occurrence: Occurrence): Record<string, unknown> {
  const { event } = occurrence;
  const { type, about: repository, target, by: actor } = event;
  const registry = hostOf(occurrence);
  if (isAboutImage(type)) return { registry, repository, ...imageOf(event, registry), actor };
  const place = { registry, ...(isAboutRepository(repository) ? { repository } : {}) };
  if (isAboutBlob(type)) return { ...place, digest: target.digest, from: target.from, actor };
  return { ...place, target, actor };
}

/** `registry`, `repository`, `tag` and `digest` are names that Argo CD Image Updater reads (its `pkg/webhook/cloudevents.go`). */
function imageOf(event: RecordedEvent, registry: string): Record<string, unknown> {
  const [tag, digest] = [textOf(event, 'tag'), textOf(event, 'digest')];
  return {
    tag,
    digest,
    previousDigest: textOf(event, 'previous'),
    changed: event.target.changed,
    mediaType: textOf(event, 'mediaType'),
    size: numberOf(event, 'size'),
    image: `${registry}/${event.about}${tag === undefined ? '' : `:${tag}`}@${digest}`,
  };
}
