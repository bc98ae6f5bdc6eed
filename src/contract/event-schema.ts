/**
 * The JSON Schema (draft 2020-12) of the events that webhooks of the format `native` receive. Later versions may add fields.
 * They never remove a required field and never change the meaning of a field.
 */
import { CAUSES } from '../vocabulary/causes.ts';
import { cloudEventType, EVENT_TYPES, type EventType, isAboutBlob } from '../vocabulary/event-types.ts';

const text = { type: 'string', minLength: 1 } as const;
const ref = (name: string) => ({ $ref: `#/$defs/${name}` });

/**
 * Returns the schema of the events whose types begin with one of these prefixes. @param data the schema of their field `data`
 */
function eventsOf(beginnings: string[], data: object): object {
  return { properties: { type: { enum: typesOf(beginnings) }, data } };
}

function typesOf(beginnings: string[]): string[] {
  return EVENT_TYPES.filter((type) => beginnings.some((one) => type.startsWith(one))).map(cloudEventType);
}

/**
 * The prefixes of event types that have an alternative of their own in `oneOf`. Every event type matches exactly one
 * alternative.
 */
const CONTENT = ['tag.', 'manifest.', 'repository.'];
const isOther = (type: EventType) => !isAboutBlob(type) && !CONTENT.some((one) => type.startsWith(one));

export const EVENT_SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'An event of a Berth registry',
  description: 'A CloudEvent (specversion 1.0, JSON format, structured mode), with the extension attribute "sequence".',
  type: 'object',
  required: ['specversion', 'id', 'source', 'type', 'time', 'datacontenttype', 'sequence', 'data'],
  properties: {
    specversion: { const: '1.0' },
    id: {
      ...text,
      description:
        'Grows with every event of the registry. Together with "source" it identifies the event, however often it is sent.',
    },
    source: { ...text, format: 'uri', description: 'The address of the registry, followed by what the event is about.' },
    type: { enum: EVENT_TYPES.map(cloudEventType) },
    subject: { ...text, description: 'acme/api:v1, acme/api, team:acme/dev, key:BK1234. Absent if the event has no subject.' },
    time: { type: 'string', format: 'date-time', description: 'When it happened.' },
    datacontenttype: { const: 'application/json' },
    sequence: {
      type: 'string',
      pattern: '^[0-9]{16}$',
      description: 'Counts the events with this "source" without gaps. Padded with zeros, so that it can be compared as text.',
    },
    data: {
      type: 'object',
      required: ['registry', 'actor'],
      properties: { registry: { ...text, description: 'The host by which images are named.' }, actor: ref('actor') },
    },
  },
  oneOf: [
    eventsOf(['tag.created', 'tag.restored'], { allOf: [ref('image'), ref('tagged'), ref('stored')] }),
    eventsOf(['tag.moved'], { allOf: [ref('image'), ref('tagged'), ref('stored'), { required: ['previousDigest'] }] }),
    eventsOf(['tag.pushed'], { allOf: [ref('image'), ref('tagged'), ref('stored'), { required: ['changed'] }] }),
    eventsOf(['tag.deleted'], { allOf: [ref('image'), ref('tagged')] }),
    eventsOf(['manifest.pushed', 'manifest.restored'], { allOf: [ref('image'), ref('stored')] }),
    eventsOf(['manifest.deleted'], { allOf: [ref('image'), { required: ['mediaType'] }] }),
    eventsOf(['blob.mounted', 'blob.deleted'], ref('blob')),
    eventsOf(['repository.'], { allOf: [ref('repository'), ref('other')] }),
    { properties: { type: { enum: EVENT_TYPES.filter(isOther).map(cloudEventType) }, data: ref('other') } },
  ],
  $defs: {
    digest: { type: 'string', pattern: '^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$' },
    actor: {
      type: 'object',
      description: 'Who did it, and the access key that was used, if any.',
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
        previousDigest: { ...ref('digest'), description: 'The digest that the tag named before.' },
        changed: { const: false, description: 'The tag named this manifest already and was pushed again.' },
        cause: {
          enum: CAUSES,
          description:
            'Why it changed: a client pushed it, somebody rolled the tag back, restored it from the trash or deleted it, ' +
            'or a lifecycle rule did. Absent from events that were recorded before causes were.',
        },
        mediaType: { type: 'string', description: 'Media type of the manifest.' },
        size: { type: 'integer', minimum: 0, description: 'Size of the manifest in bytes.' },
        image: { ...text, description: 'The reference that clients can pull: registry.example.com/acme/api:v1@sha256:…' },
      },
    },
    tagged: { required: ['tag'] },
    stored: { required: ['mediaType', 'size'] },
    blob: {
      allOf: [ref('repository')],
      required: ['digest'],
      properties: {
        digest: ref('digest'),
        from: { ...text, description: 'The repository that the blob was mounted from, if the client named one.' },
      },
    },
    other: {
      required: ['target'],
      properties: {
        target: { type: 'object', description: 'What the event happened to, as it was recorded.' },
        repository: { ...text, description: 'The repository that the event is about, if any.' },
      },
    },
  },
} as const;
