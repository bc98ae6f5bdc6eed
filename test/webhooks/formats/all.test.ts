/** Properties of every format: its event types, and that a body is JSON, small, and deterministic. */
import { describe, expect, test } from 'vitest';
import { EVENT_TYPES, type EventType } from '../../../src/vocabulary/event-types.ts';
import { FORMAT_NAMES, type FormatName } from '../../../src/vocabulary/webhooks.ts';
import { FORMATS } from '../../../src/webhooks/formats/all.ts';
import { example } from './examples.ts';

const IMAGES: EventType[] = [
  'manifest.pushed',
  'manifest.deleted',
  'tag.created',
  'tag.moved',
  'tag.pushed',
  'tag.restored',
  'tag.deleted',
];

const GONE: EventType = 'repository.deleted';

const inOrder = (types: EventType[]) => EVENT_TYPES.filter((type) => types.includes(type));

const SPOKEN: Record<FormatName, readonly EventType[]> = {
  native: EVENT_TYPES,
  'docker-hub': ['tag.created', 'tag.moved', 'tag.pushed', 'tag.restored', GONE],
  distribution: inOrder([...IMAGES, 'blob.mounted', 'blob.deleted', GONE]),
  harbor: [...IMAGES, GONE],
  eventbridge: [...IMAGES, GONE],
  slack: EVENT_TYPES,
};

test('the names are those of the table', () => {
  expect(FORMAT_NAMES).toEqual(['native', 'docker-hub', 'distribution', 'harbor', 'eventbridge', 'slack']);
});

describe.each(FORMAT_NAMES)('%s', (name) => {
  const format = FORMATS[name];

  test('expresses its types and no other', () => {
    expect(EVENT_TYPES.filter((type) => format.speaksOf(type))).toEqual(SPOKEN[name]);
  });

  test.each([...new Set([...SPOKEN[name], 'webhook.test' as const])])('makes of %s one small body, always the same', (type) => {
    const body = format.render(example(type));
    expect(JSON.parse(body)).toBeTypeOf('object');
    // Standard Webhooks recommends bodies below 20 kB.
    expect(new TextEncoder().encode(body).length).toBeLessThan(20_000);
    expect(format.render(structuredClone(example(type)))).toBe(body);
    const longest = { ...example(type), facts: { description: 'ä'.repeat(1000), createdAt: 1, isPublic: false } };
    expect(format.render(longest).length).toBeLessThan(20_000);
  });
});

test('only formats that describe the repository ask for its facts', () => {
  expect(FORMAT_NAMES.filter((name) => FORMATS[name].needsFacts)).toEqual(['docker-hub', 'harbor']);
});
