/**
 * Berth's own format: CloudEvents 1.0 in the JSON format, structured mode (cloudevents/spec). It contains all data of the
 * event. The schema is in `contract/event-schema.ts`.
 */
import { isAboutRepository, type RecordedEvent } from '../../events/event.ts';
import { cloudEventType, isAboutBlob, isAboutImage } from '../../vocabulary/event-types.ts';
import { ASKED_FOR, type Format, numberOf, type Occurrence, registryHost, textField, timestampOf } from './format.ts';

/** The number of digits of the largest safe integer. */
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
      // The field `sequence` numbers the events with the same source.
      source: `${origin}/${event.about}`,
      type: cloudEventType(event.type),
      subject: subjectOf(event),
      time: timestampOf(event),
      datacontenttype: 'application/json',
      // The number is padded with zeros, because receivers compare it as text (CloudEvents extension "Sequence").
      sequence: String(event.sequence).padStart(SEQUENCE_DIGITS, '0'),
      data: dataOf(occurrence),
    });
  },
};

/**
 * Returns the subject of the CloudEvent, for example `acme/api:v1`, `acme/api`, `team:acme/dev` or `key:BK1234`. For an image
 * without a tag, it is the name of the repository without the digest, because Argo CD Image Updater takes the text after a
 * colon for a tag.
 */
function subjectOf(event: RecordedEvent): string | undefined {
  const [kind = ''] = event.type.split('.', 1);
  const tag = textField(event, 'tag');
  if (kind === 'tag') return `${event.about}:${tag}`;
  const id = textField(event, 'id');
  const named = textField(event, 'subject') ?? (id === undefined ? event.about : `${kind}:${id}`);
  return named === '' ? undefined : named;
}

function dataOf(occurrence: Occurrence): Record<string, unknown> {
  const { event } = occurrence;
  const { type, about: repository, target, by: actor } = event;
  const registry = registryHost(occurrence);
  if (isAboutImage(type)) return { registry, repository, ...imageOf(event, registry), actor };
  const place = { registry, ...(isAboutRepository(repository) ? { repository } : {}) };
  if (isAboutBlob(type)) return { ...place, digest: target.digest, from: target.from, actor };
  return { ...place, target, actor };
}

/**
 * Returns the data about an image. Argo CD Image Updater reads `registry`, `repository`, `tag` and `digest` (its
 * `pkg/webhook/cloudevents.go`).
 */
function imageOf(event: RecordedEvent, registry: string): Record<string, unknown> {
  const [tag, digest] = [textField(event, 'tag'), textField(event, 'digest')];
  return {
    tag,
    digest,
    previousDigest: textField(event, 'previous'),
    changed: event.target.changed,
    cause: textField(event, 'cause'),
    mediaType: textField(event, 'mediaType'),
    size: numberOf(event, 'size'),
    image: `${registry}/${event.about}${tag === undefined ? '' : `:${tag}`}@${digest}`,
  };
}
