/**
 * The published schema of the native event format, checked by a validator, which generates code and therefore runs in Node
 * only.
 */
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { expect, test } from 'vitest';
import { EVENT_SCHEMA } from '../../src/contract/event-schema.ts';
import { EVENT_TYPES, type EventType } from '../../src/vocabulary/event-types.ts';
import { native } from '../../src/webhooks/formats/native.ts';
import { example } from '../webhooks/formats/examples.ts';

const ajv = new Ajv2020({ strict: true, strictTypes: false, strictRequired: false, allErrors: true });
formats.default(ajv);
const validate = ajv.compile(EVENT_SCHEMA);

interface Event extends Record<string, unknown> {
  data: Record<string, unknown>;
}

function rendered(type: EventType): Event {
  return JSON.parse(native.render(example(type))) as Event;
}

test.each(EVENT_TYPES)('%s matches the schema', (type) => {
  validate(rendered(type));
  expect(validate.errors ?? []).toEqual([]);
});

test('the schema is the same after JSON serialization', () => {
  expect(JSON.parse(JSON.stringify(EVENT_SCHEMA))).toEqual(EVENT_SCHEMA);
});

const attributes = ['specversion', 'id', 'source', 'type', 'time', 'datacontenttype', 'sequence', 'data'];

test.each(attributes)('an event without %s is refused', (attribute) => {
  const { [attribute]: _, ...rest } = rendered('tag.created');
  expect(validate(rest)).toBe(false);
});

test.each([
  ['tag.created', ['registry', 'repository', 'tag', 'digest', 'mediaType', 'size', 'image', 'actor']],
  ['tag.moved', ['registry', 'repository', 'tag', 'digest', 'previousDigest', 'mediaType', 'size', 'image', 'actor']],
  ['tag.pushed', ['registry', 'repository', 'tag', 'digest', 'changed', 'mediaType', 'size', 'image', 'actor']],
  ['tag.deleted', ['registry', 'repository', 'tag', 'digest', 'image', 'actor']],
  ['manifest.pushed', ['registry', 'repository', 'digest', 'mediaType', 'size', 'image', 'actor']],
  ['manifest.deleted', ['registry', 'repository', 'digest', 'mediaType', 'image', 'actor']],
  ['blob.mounted', ['registry', 'repository', 'digest', 'actor']],
  ['blob.deleted', ['registry', 'repository', 'digest', 'actor']],
  ['repository.changed', ['registry', 'repository', 'target', 'actor']],
  ['policy.saved', ['registry', 'target', 'actor']],
] as const)('%s is refused without any field of its data', (type, fields) => {
  const event = rendered(type);
  // `from` is optional, because a client need not name the source of a mount. `repository` is optional in events about others.
  const required = (field: string) => field !== 'from' && !(type === 'policy.saved' && field === 'repository');
  expect(Object.keys(event.data).filter(required).sort()).toEqual([...fields].sort());
  for (const field of fields) {
    const { [field]: _, ...data } = event.data;
    expect(validate({ ...event, data }), field).toBe(false);
  }
});

test.each([
  ['another version', { specversion: '0.3' }],
  ['an id that is a number', { id: 4711 }],
  ['a source that is no URI', { source: 'acme/api' }],
  ['a type that nobody knows', { type: 'berth.image.tag.eaten' }],
  ['the type of other data', { type: 'berth.policy.saved' }],
  ['an empty subject', { subject: '' }],
  ['a time that is none', { time: 'yesterday' }],
  ['a sequence without its zeros', { sequence: '42' }],
  ['a tag that is none', { data: { ...rendered('tag.created').data, tag: '-' } }],
  ['a digest that is none', { data: { ...rendered('tag.created').data, digest: 'sha256:abc' } }],
  ['a size below nothing', { data: { ...rendered('tag.created').data, size: -1 } }],
  ['an actor without a subject', { data: { ...rendered('tag.created').data, actor: { key: 'BK0001' } } }],
])('an event with %s is refused', (_, change) => {
  expect(validate({ ...rendered('tag.created'), ...change })).toBe(false);
});

test('an event with additional fields is accepted', () => {
  const event = rendered('tag.created');
  expect(validate({ ...event, traceparent: '00-…', data: { ...event.data, platform: 'linux/amd64' } })).toBe(true);
});
