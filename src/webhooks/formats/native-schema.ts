/**
 * What a receiver of our own format may rely on, as JSON Schema (draft 2020-12). Fields may be added to events; none that is
 * required here goes away, and none changes its meaning.
 */
import { EVENT_TYPES, type EventType } from '../../vocabulary/event-types.ts';
import { isAboutBlob, typeOf } from './native.ts';

const text = { type: 'string', minLength: 1 } as const;
const ref = (name: string) => ({ $ref: `#/$defs/${name}` });

/** The types whose names begin so, with the data that they carry. */
function eventsOf(beginnings: string[], data: object): object {
  return { properties: { type: { enum: typesOf(beginnings) }, data } };
}

function typesOf(beginnings: string[]): string[] {
  return EVENT_TYPES.filter((type) => beginnings.some((one) => type.startsWith(one))).map(typeOf);
}

/** Each event is of one of these, so that a type always says what its data holds. */
const CONTENT = ['tag.', 'manifest.', 'repository.'];
const isOther = (type: EventType) => !isAboutBlob(type) && !CONTENT.some((one) => type.startsWith(one));

export const NATIVE_SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'An event of a Berth registry',
  description: 'A CloudEvent (specversion 1.0, JSON format, structured mode), with the extension attribute "sequence".',
  type: 'object',
  required: ['specversion', 'id', 'source', 'type', 'time', 'datacontenttype', 'sequence', 'data'],
  properties: {
    specversion: { const: '1.0' },
    id: {
      ...text,
      description: 'Grows with every event of the registry. With "source" it names the event, however often it is sent.',
    },
    source: { ...text, format: 'uri', description: 'The address of the registry, and what in it the event is about.' },
    type: { enum: EVENT_TYPES.map(typeOf) },
    subject: { ...text, description: 'acme/api:v1, acme/api, team:acme/dev, key:BK1234. Absent where there is none to name.' },
    time: { type: 'string', format: 'date-time', description: 'When it happened.' },
    datacontenttype: { const: 'application/json' },
    sequence: {
      type: 'string',
      pattern: '^[0-9]{16}$',
      description: 'Of the events with this "source": one more than that of the event before, zeros first, to compare as text.',
    },
    data: {
      type: 'object',
      required: ['registry', 'actor'],
      properties: { registry: { ...text, description: 'The host by which images are named.' }, actor: ref('actor') },
    },
  },
  oneOf: [
    eventsOf(['tag.created'], { allOf: [ref('image'), ref('tagged'), ref('stored')] }),
    eventsOf(['tag.moved'], { allOf: [ref('image'), ref('tagged'), ref('stored'), { required: ['previousDigest'] }] }),
    eventsOf(['tag.pushed'], { allOf: [ref('image'), ref('tagged'), ref('stored'), { required: ['changed'] }] }),
    eventsOf(['tag.deleted'], { allOf: [ref('image'), ref('tagged')] }),
    eventsOf(['manifest.pushed', 'manifest.restored'], { allOf: [ref('image'), ref('stored')] }),
    eventsOf(['manifest.deleted'], { allOf: [ref('image'), { required: ['mediaType'] }] }),
    eventsOf(['blob.mounted', 'blob.deleted'], ref('blob')),
    eventsOf(['repository.'], { allOf: [ref('repository'), ref('other')] }),
    { properties: { type: { enum: EVENT_TYPES.filter(isOther).map(typeOf) }, data: ref('other') } },
  ],
  $defs: {
    digest: { type: 'string', pattern: '^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$' },
    actor: {
      type: 'object',
      description: 'Who did it, and the access key that they did it with, if they did it with one.',
      required: ['subject'],
      properties: { subject: { type: 'string' }, key: text },
    },
    repository: { required: ['repository'], properties: { repository: text } },
    image: {
      allOf: [ref('repository')],
      required: ['digest', 'image'],
      properties: {
        tag: { type: 'string', pattern: '^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$' },
        digest: ref('digest'),
        previousDigest: { ...ref('digest'), description: 'What the tag named before it was moved.' },
        changed: { const: false, description: 'The tag named this manifest already, and was pushed again.' },
        mediaType: { type: 'string', description: 'Of the manifest.' },
        size: { type: 'integer', minimum: 0, description: 'Of the manifest, in bytes.' },
        image: { ...text, description: 'registry.example.com/acme/api:v1@sha256:…, as clients take it.' },
      },
    },
    tagged: { required: ['tag'] },
    stored: { required: ['mediaType', 'size'] },
    blob: {
      allOf: [ref('repository')],
      required: ['digest'],
      properties: {
        digest: ref('digest'),
        from: { ...text, description: 'The repository that it was mounted from, if whoever pushed it named one.' },
      },
    },
    other: {
      required: ['target'],
      properties: {
        target: { type: 'object', description: 'What it happened to, as it was recorded.' },
        repository: { ...text, description: 'The repository that it is about, if it is about one.' },
      },
    },
  },
} as const;
