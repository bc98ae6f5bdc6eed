/** The native format: its fields for each type, and the images that Argo CD Image Updater reads from it. */
import { describe, expect, test } from 'vitest';
import { EVENT_TYPES, type EventType } from '../../../src/vocabulary/event-types.ts';
import { native } from '../../../src/webhooks/formats/native.ts';
import { DIGEST, example, PREVIOUS } from './examples.ts';

interface CloudEvent extends Record<string, unknown> {
  type: string;
  source: string;
  subject?: string;
  sequence: string;
  data: Record<string, unknown>;
}

function rendered(...from: Parameters<typeof example>): CloudEvent {
  return JSON.parse(native.render(example(...from))) as CloudEvent;
}

const INDEX = 'application/vnd.oci.image.index.v1+json';
const ACTOR = { subject: 'user:alice', key: 'BK0001' };

describe('an event about an image', () => {
  test('is a CloudEvent, with each field in its place', () => {
    expect(native.contentType).toBe('application/cloudevents+json');
    expect(rendered('tag.moved')).toEqual({
      specversion: '1.0',
      id: '4711',
      source: 'https://registry.example.com/acme/api',
      type: 'berth.image.tag.moved',
      subject: 'acme/api:v1',
      time: '2023-11-14T22:13:20.000Z',
      datacontenttype: 'application/json',
      sequence: '0000000000000042',
      data: {
        registry: 'registry.example.com',
        repository: 'acme/api',
        tag: 'v1',
        digest: DIGEST,
        previousDigest: PREVIOUS,
        mediaType: INDEX,
        size: 1234,
        image: `registry.example.com/acme/api:v1@${DIGEST}`,
        actor: ACTOR,
      },
    });
  });

  const common = { registry: 'registry.example.com', repository: 'acme/api', digest: DIGEST, actor: ACTOR };
  const tagged = { ...common, tag: 'v1', image: `registry.example.com/acme/api:v1@${DIGEST}` };
  const untagged = { ...common, image: `registry.example.com/acme/api@${DIGEST}` };

  test.each([
    ['tag.restored', 'acme/api:v1', { ...tagged, mediaType: INDEX, size: 1234, cause: 'restore' }],
    ['tag.created', 'acme/api:v1', { ...tagged, mediaType: INDEX, size: 1234 }],
    ['tag.pushed', 'acme/api:v1', { ...tagged, mediaType: INDEX, size: 1234, changed: false }],
    ['tag.deleted', 'acme/api:v1', tagged],
    ['manifest.pushed', 'acme/api', { ...untagged, mediaType: INDEX, size: 1234 }],
    ['manifest.deleted', 'acme/api', { ...untagged, mediaType: INDEX }],
  ] as const)('%s', (type, subject, data) => {
    expect(rendered(type)).toMatchObject({
      type: `berth.image.${type}`,
      subject,
      source: 'https://registry.example.com/acme/api',
    });
    expect(rendered(type).data).toEqual(data);
  });
});

test('an event about a blob names it, and the repository that it was mounted from', () => {
  const common = { registry: 'registry.example.com', repository: 'acme/api', digest: DIGEST, actor: ACTOR };
  expect(rendered('blob.mounted')).toMatchObject({ type: 'berth.blob.mounted', subject: 'acme/api' });
  expect(rendered('blob.mounted').data).toEqual({ ...common, from: 'acme/base' });
  expect(rendered('blob.deleted').data).toEqual(common);
});

describe('any other event', () => {
  test.each([
    ['repository.created', 'https://registry.example.com/acme/api', 'acme/api'],
    ['repository.changed', 'https://registry.example.com/acme/api', 'acme/api'],
    ['repository.deleted', 'https://registry.example.com/acme/api', 'acme/api'],
    ['user.invited', 'https://registry.example.com/', 'user:bob'],
    ['user.joined', 'https://registry.example.com/', 'user:bob'],
    ['user.changed', 'https://registry.example.com/', 'user:bob'],
    ['login.ended', 'https://registry.example.com/', 'user:bob'],
    ['organization.created', 'https://registry.example.com/organization:acme', 'organization:acme'],
    ['organization.changed', 'https://registry.example.com/organization:acme', 'organization:acme'],
    ['organization.deleted', 'https://registry.example.com/organization:acme', 'organization:acme'],
    ['member.changed', 'https://registry.example.com/organization:acme', 'organization:acme'],
    ['member.removed', 'https://registry.example.com/organization:acme', 'organization:acme'],
    ['team.created', 'https://registry.example.com/organization:acme', 'team:acme/dev'],
    ['team.changed', 'https://registry.example.com/organization:acme', 'team:acme/dev'],
    ['team.deleted', 'https://registry.example.com/organization:acme', 'team:acme/dev'],
    ['team-member.added', 'https://registry.example.com/organization:acme', 'team:acme/dev'],
    ['team-member.removed', 'https://registry.example.com/organization:acme', 'team:acme/dev'],
    ['robot.created', 'https://registry.example.com/organization:acme', 'robot:acme/ci'],
    ['robot.changed', 'https://registry.example.com/organization:acme', 'robot:acme/ci'],
    ['robot.deleted', 'https://registry.example.com/organization:acme', 'robot:acme/ci'],
    ['key.created', 'https://registry.example.com/organization:acme', 'key:BK1234'],
    ['key.changed', 'https://registry.example.com/organization:acme', 'key:BK1234'],
    ['key.revoked', 'https://registry.example.com/', 'key:BK1234'],
    ['policy.saved', 'https://registry.example.com/acme/api', 'repository:acme/api'],
    ['trust-rule.saved', 'https://registry.example.com/organization:acme', 'ci:acme/deploy'],
    ['trust-rule.deleted', 'https://registry.example.com/organization:acme', 'ci:acme/deploy'],
    ['webhook.created', 'https://registry.example.com/organization:acme', 'webhook:wh1'],
    ['webhook.changed', 'https://registry.example.com/organization:acme', 'webhook:wh1'],
    ['webhook.rotated', 'https://registry.example.com/organization:acme', 'webhook:wh1'],
    ['webhook.disabled', 'https://registry.example.com/organization:acme', 'webhook:wh1'],
    ['webhook.deleted', 'https://registry.example.com/organization:acme', 'webhook:wh1'],
    ['webhook.test', 'https://registry.example.com/acme/api', 'webhook:wh1'],
  ] as const)('%s carries what was recorded', (type, source, subject) => {
    const { data, ...attributes } = rendered(type);
    expect(attributes).toEqual({
      specversion: '1.0',
      id: '4711',
      source,
      type: `berth.${type}`,
      subject,
      time: '2023-11-14T22:13:20.000Z',
      datacontenttype: 'application/json',
      sequence: '0000000000000042',
    });
    expect(data).toEqual({
      registry: 'registry.example.com',
      ...(source.endsWith('/acme/api') ? { repository: 'acme/api' } : {}),
      target: example(type).event.target,
      actor: ACTOR,
    });
  });

  test('has no subject if there is nothing to name', () => {
    expect(rendered('webhook.test', { about: '', target: {} })).not.toHaveProperty('subject');
  });
});

test('sequences have the same order as text and as numbers', () => {
  const sequences = [9, 10, 99, 100, Number.MAX_SAFE_INTEGER].map((sequence) => rendered('tag.created', { sequence }).sequence);
  expect([...sequences].sort()).toEqual(sequences);
  expect(new Set(sequences.map((one) => one.length))).toEqual(new Set([16]));
});

test('a host includes its port, and an actor without a key has none', () => {
  const { event } = example('tag.created', { by: { subject: 'ci:acme/deploy' } });
  const { source, data } = JSON.parse(native.render({ event, facts: null, origin: 'http://localhost:8787' })) as CloudEvent;
  expect(source).toBe('http://localhost:8787/acme/api');
  expect(data).toMatchObject({ registry: 'localhost:8787', image: `localhost:8787/acme/api:v1@${DIGEST}` });
  expect(data.actor).toEqual({ subject: 'ci:acme/deploy' });
});

/**
 * The rule of Argo CD Image Updater for CloudEvents that are not from ECR (argoproj-labs/argocd-image-updater,
 * `pkg/webhook/cloudevents.go`, `parseEvent`), rewritten for this test. Returns the image of an event; `null` if it is refused.
 */
function takenByArgo({ type, subject = '', source, data }: CloudEvent): Record<string, string> | null {
  if (!type.includes('container') && !type.includes('image')) return null;
  const colon = subject.indexOf(':');
  const [ofSubject, tagOfSubject] = colon < 0 ? ['', ''] : [subject.slice(0, colon), subject.slice(colon + 1)];
  const first = (...values: unknown[]) =>
    values.find((value) => typeof value === 'string' && value !== '') as string | undefined;
  const repository = first(data.repositoryName, data.repository, ofSubject);
  const tag = first(data.imageTag, data.tag, tagOfSubject);
  const registry = first(data.registryUrl, data.registry, new URL(source).host);
  if (!repository || !tag || !registry) return null;
  return { registry, repository, tag, digest: first(data.imageDigest, data.digest) ?? '' };
}

test('Argo CD Image Updater accepts events about tags, with all that it reads', () => {
  const image = { registry: 'registry.example.com', repository: 'acme/api', tag: 'v1', digest: DIGEST };
  const taken = EVENT_TYPES.flatMap((type) => (takenByArgo(rendered(type)) ? [type] : []));
  expect(taken).toEqual(['tag.created', 'tag.moved', 'tag.pushed', 'tag.restored', 'tag.deleted'] satisfies EventType[]);
  for (const type of taken) expect(takenByArgo(rendered(type))).toEqual(image);
});
