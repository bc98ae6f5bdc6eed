/** Formats of other registries for pushes and deletions: each body as its receivers expect it. */
import { describe, expect, test } from 'vitest';
import type { RecordedEvent } from '../../../src/events/event.ts';
import type { EventType } from '../../../src/vocabulary/event-types.ts';
import { FORMATS } from '../../../src/webhooks/formats/all.ts';
import { DIGEST, example, NO_DIGEST } from './examples.ts';

type Name = 'docker-hub' | 'distribution' | 'harbor' | 'eventbridge';

function rendered(format: Name, type: EventType, further: Partial<RecordedEvent> = {}): Record<string, unknown> {
  return JSON.parse(FORMATS[format].render(example(type, further))) as Record<string, unknown>;
}

const INDEX = 'application/vnd.oci.image.index.v1+json';
/** The expected UUID: 1700000000000 milliseconds and the event id 4711, in hexadecimal digits. */
const UUID = '018bcfe5-6800-8000-8000-000000001267';

describe('docker-hub', () => {
  const body = {
    callback_url: 'https://registry.example.com/acme/api',
    push_data: { pushed_at: 1_700_000_000, pusher: 'alice', tag: 'v1', images: [] },
    repository: {
      comment_count: 0,
      date_created: 1_690_000_000,
      description: 'The API & its "docs"',
      dockerfile: '',
      full_description: '',
      is_official: false,
      is_private: false,
      is_trusted: false,
      name: 'api',
      namespace: 'acme',
      owner: 'acme',
      repo_name: 'acme/api',
      repo_url: 'https://registry.example.com/acme/api',
      star_count: 0,
      status: 'Active',
    },
  };

  test.each(['tag.created', 'tag.moved', 'tag.pushed'] as const)('%s is a push', (type) => {
    expect(rendered('docker-hub', type)).toEqual(body);
  });

  test('of a deleted repository says that it is private, and as old as its event', () => {
    const { event, origin } = example('tag.created');
    const { repository } = JSON.parse(FORMATS['docker-hub'].render({ event, origin, facts: null }));
    expect(repository).toEqual({ ...body.repository, date_created: 1_700_000_000, description: '', is_private: true });
  });

  test.each([
    ['acme/tools/api', 'acme', 'tools/api'],
    ['myfirstapp', '', 'myfirstapp'],
  ])('splits %s at its first slash', (about, namespace, name) => {
    const { repository } = rendered('docker-hub', 'tag.created', { about });
    expect(repository).toMatchObject({ namespace, owner: namespace, name, repo_name: about });
  });

  test.each(['robot:acme/ci', 'ci:deploy'])('%s is not taken for a user', (subject) => {
    expect(rendered('docker-hub', 'tag.created', { by: { subject } })).toMatchObject({ push_data: { pusher: subject } });
  });
});

describe('distribution', () => {
  function envelope(action: string, method: string, target: object) {
    const event = {
      id: UUID,
      timestamp: '2023-11-14T22:13:20.000Z',
      action,
      target,
      request: { id: '', host: 'registry.example.com', method, useragent: '' },
      actor: { name: 'alice' },
      source: { addr: 'registry.example.com' },
    };
    return { events: [event] };
  }

  const url = `https://registry.example.com/v2/acme/api/manifests/${DIGEST}`;
  const pushed = { mediaType: INDEX, digest: DIGEST, size: 1234, length: 1234, repository: 'acme/api', url };

  test.each([
    ['tag.created', { ...pushed, tag: 'v1' }],
    ['tag.moved', { ...pushed, tag: 'v1' }],
    ['tag.pushed', { ...pushed, tag: 'v1' }],
    ['manifest.pushed', pushed],
  ] as const)('%s is a push', (type, target) => {
    expect(rendered('distribution', type)).toEqual(envelope('push', 'PUT', target));
  });

  test('blob.mounted is a mount', () => {
    const target = {
      mediaType: 'application/octet-stream',
      digest: DIGEST,
      repository: 'acme/api',
      fromRepository: 'acme/base',
      url: `https://registry.example.com/v2/acme/api/blobs/${DIGEST}`,
    };
    expect(rendered('distribution', 'blob.mounted')).toEqual(envelope('mount', 'POST', target));
  });

  test.each([
    ['tag.deleted', { repository: 'acme/api', tag: 'v1' }],
    ['manifest.deleted', { repository: 'acme/api', digest: DIGEST }],
    ['blob.deleted', { repository: 'acme/api', digest: DIGEST }],
  ] as const)('%s is a deletion, of what went and nothing else', (type, target) => {
    expect(rendered('distribution', type)).toEqual(envelope('delete', 'DELETE', target));
  });

  /**
   * The rule of Keel (keel-hq/keel, `pkg/http/registry_notifications.go`), rewritten for this test: the images that it takes
   * from a notification.
   */
  function takenByKeel(body: string): string[] {
    interface Notification {
      action: string;
      target: { tag?: string; repository: string };
      request: { host: string };
    }
    const { events } = JSON.parse(body) as { events: Notification[] };
    return events
      .filter(({ action, target }) => action === 'push' && (target.tag ?? '') !== '')
      .map(({ request, target }) => `${request.host}/${target.repository}:${target.tag}`);
  }

  test('Keel takes pushed tags, under the names that clients pull', () => {
    const types: EventType[] = [
      'tag.created',
      'tag.moved',
      'tag.pushed',
      'manifest.pushed',
      'blob.mounted',
      'tag.deleted',
      'manifest.deleted',
    ];
    const taken = types.flatMap((type) => takenByKeel(FORMATS.distribution.render(example(type))));
    expect(taken).toEqual(Array(3).fill('registry.example.com/acme/api:v1'));
  });
});

describe('harbor', () => {
  function payload(type: string, resource: object) {
    return {
      type,
      occur_at: 1_700_000_000,
      operator: 'alice',
      event_data: {
        resources: [resource],
        repository: {
          date_created: 1_690_000_000,
          name: 'api',
          namespace: 'acme',
          repo_full_name: 'acme/api',
          repo_type: 'public',
        },
      },
    };
  }

  const tagged = { tag: 'v1', resource_url: 'registry.example.com/acme/api:v1' };
  const untagged = { digest: DIGEST, tag: DIGEST, resource_url: `registry.example.com/acme/api@${DIGEST}` };

  test.each([
    ['tag.created', 'PUSH_ARTIFACT', { digest: DIGEST, ...tagged }],
    ['tag.moved', 'PUSH_ARTIFACT', { digest: DIGEST, ...tagged }],
    ['tag.pushed', 'PUSH_ARTIFACT', { digest: DIGEST, ...tagged }],
    ['manifest.pushed', 'PUSH_ARTIFACT', untagged],
    ['tag.deleted', 'DELETE_ARTIFACT', tagged],
    ['manifest.deleted', 'DELETE_ARTIFACT', untagged],
  ] as const)('%s is %s', (type, name, resource) => {
    expect(rendered('harbor', type)).toEqual(payload(name, resource));
  });

  test('of a deleted repository says that it is private, and not how old it is', () => {
    const { event, origin } = example('manifest.deleted');
    const { event_data } = JSON.parse(FORMATS.harbor.render({ event, origin, facts: null }));
    expect(event_data.repository).toEqual({
      name: 'api',
      namespace: 'acme',
      repo_full_name: 'acme/api',
      repo_type: 'private',
    });
  });
});

describe('eventbridge', () => {
  test.each([
    ['tag.created', { 'action-type': 'PUSH', 'image-tag': 'v1' }],
    ['tag.moved', { 'action-type': 'PUSH', 'image-tag': 'v1' }],
    ['tag.pushed', { 'action-type': 'PUSH', 'image-tag': 'v1' }],
    ['manifest.pushed', { 'action-type': 'PUSH' }],
    ['tag.deleted', { 'action-type': 'DELETE', 'image-tag': 'v1' }],
    ['manifest.deleted', { 'action-type': 'DELETE' }],
  ] as const)('%s is an image action', (type, detail) => {
    expect(rendered('eventbridge', type)).toEqual({
      version: '0',
      id: UUID,
      'detail-type': 'ECR Image Action',
      source: 'aws.ecr',
      account: '000000000000',
      time: '2023-11-14T22:13:20Z',
      region: 'auto',
      resources: [],
      detail: { result: 'SUCCESS', 'repository-name': 'acme/api', 'image-digest': DIGEST, ...detail },
    });
  });

  test('the ids of two events differ, in the same second too', () => {
    const ids = [{}, { id: 4712 }, { at: 1_700_000_001 }].map((further) => rendered('eventbridge', 'tag.created', further).id);
    expect(new Set(ids).size).toBe(3);
  });
});

describe('a test delivery looks like a push', () => {
  test('to a repository that does not exist, so that nothing is deployed', () => {
    expect(rendered('docker-hub', 'webhook.test')).toMatchObject({
      push_data: { tag: 'test' },
      repository: { repo_name: 'acme/webhook-test' },
    });
    expect(rendered('distribution', 'webhook.test')).toMatchObject({
      events: [{ action: 'push', target: { repository: 'acme/webhook-test', tag: 'test', digest: NO_DIGEST, size: 0 } }],
    });
    const resource = { digest: NO_DIGEST, tag: 'test', resource_url: 'registry.example.com/acme/webhook-test:test' };
    expect(rendered('harbor', 'webhook.test')).toMatchObject({ type: 'PUSH_ARTIFACT', event_data: { resources: [resource] } });
    expect(rendered('eventbridge', 'webhook.test')).toMatchObject({
      detail: { 'repository-name': 'acme/webhook-test', 'image-digest': NO_DIGEST, 'action-type': 'PUSH', 'image-tag': 'test' },
    });
  });

  test.each([
    ['acme/api', 'acme/webhook-test'],
    ['organization:acme', 'acme/webhook-test'],
    ['myfirstapp', 'berth/webhook-test'],
    ['', 'berth/webhook-test'],
  ])('of a webhook of "%s" as one to %s', (about, repository) => {
    expect(rendered('eventbridge', 'webhook.test', { about })).toMatchObject({ detail: { 'repository-name': repository } });
  });
});

describe('a deleted repository', () => {
  test('is a target without tag and digest in distribution, as in its own notifications', () => {
    expect(rendered('distribution', 'repository.deleted')).toMatchObject({
      events: [{ action: 'delete', target: { repository: 'acme/api' }, request: { method: 'DELETE' } }],
    });
    const { events } = rendered('distribution', 'repository.deleted') as { events: { target: object }[] };
    expect(events[0]?.target).toEqual({ repository: 'acme/api' });
  });

  test('is a deletion of each of its tags in harbor', () => {
    const resources = ['v1', 'v2'].map((tag) => ({ tag, resource_url: `registry.example.com/acme/api:${tag}` }));
    expect(rendered('harbor', 'repository.deleted')).toMatchObject({ type: 'DELETE_ARTIFACT', event_data: { resources } });
  });

  test('is a deletion of all images in eventbridge', () => {
    const { detail } = rendered('eventbridge', 'repository.deleted');
    expect(detail).toEqual({ result: 'SUCCESS', 'repository-name': 'acme/api', 'action-type': 'DELETE' });
  });

  test('is not a push in docker-hub', () => {
    const { push_data, repository } = rendered('docker-hub', 'repository.deleted');
    expect(push_data).toEqual({ pushed_at: 1_700_000_000, pusher: 'alice', images: [] });
    expect(repository).toMatchObject({ repo_name: 'acme/api', status: 'Deleted' });
  });

  test('names its tags in the native format', () => {
    const { event, origin } = example('repository.deleted');
    expect(JSON.parse(FORMATS.native.render({ event, origin, facts: null })).data.target).toEqual({ tags: ['v1', 'v2'] });
  });
});
