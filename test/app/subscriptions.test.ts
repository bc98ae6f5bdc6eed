/** Operations on webhooks check rights and input by themselves, whatever `http` has checked. */
import { beforeEach, describe, expect, test } from 'vitest';
import {
  changeWebhook,
  createWebhook,
  deleteWebhook,
  describeWebhook,
  getDelivery,
  listDeliveries,
  listWebhooks,
  REGISTRY_SCOPE,
  replayDeliveries,
  replayDelivery,
  rotateWebhookSecret,
  type Subscription,
  testWebhook,
} from '../../src/app/subscriptions.ts';
import { getSubscription } from '../../src/webhooks/subscriptions.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { makeAcme, makeRobot } from '../world/organizations.ts';
import { api, type Person } from '../world/people.ts';
import { builtOnce, ORIGIN, type World } from '../world/world.ts';

const REPOSITORY = 'acme/api';
const SCOPES = [REGISTRY_SCOPE, 'organization:acme', `repository:${REPOSITORY}`];
const options = { requestOrigin: ORIGIN, idempotency: null };
const body = { url: 'https://hooks.example.com/', format: 'native' as const };

let world: World;
let owner: Person;
let member: Person;
let outsider: Person;
let robot: Person;
let webhook: Subscription;

const build = builtOnce(async (made) => {
  world = made;
  ({ owner, member, outsider } = await makeAcme(world));
  robot = await makeRobot(world, 'acme', 'ci');
  expect((await api(world, 'PUT', `/repositories/${REPOSITORY}`, { body: {} })).status).toBe(201);
  const created = await createWebhook(await callAs(world, owner), 'organization:acme', body, options);
  webhook = await getSubscription(world.env, created.webhook.id);
});

beforeEach(async () => {
  world = await build();
});

describe('a new webhook', () => {
  test('is refused to callers who may not administer its scope', async () => {
    for (const who of [null, member, outsider, robot]) {
      const call = await callAs(world, who, [REPOSITORY]);
      for (const scope of SCOPES) {
        const reason = await reasonOf(world, () => createWebhook(call, scope, body, options));
        expect(['unauthenticated', 'forbidden', 'not-found']).toContain(reason);
        expect(await reasonOf(world, () => listWebhooks(call, scope, { after: '', limit: 10 }))).toBe(reason);
      }
    }
  });

  test('is refused with an address that is not public, or that is the registry itself', async () => {
    const call = await callAs(world, owner);
    for (const url of [
      'http://hooks.example.com/',
      'https://127.0.0.1/',
      'https://localhost/',
      'https://10.0.0.1/',
      `${ORIGIN}/api/v1/webhooks`,
      'https://user:password@hooks.example.com/',
      'no URL',
    ]) {
      const reason = await reasonOf(world, () => createWebhook(call, 'organization:acme', { ...body, url }, options));
      expect(reason, url).toBe('request-invalid');
    }
    const other = { ...options, requestOrigin: 'https://other.example.com' };
    const toOther = { ...body, url: 'https://other.example.com/' };
    expect(await reasonOf(world, () => createWebhook(call, 'organization:acme', toOther, other))).toBe('request-invalid');
  });

  test('is refused with headers that a webhook may not set', async () => {
    const call = await callAs(world, owner);
    for (const headers of [{ host: 'other' }, { 'webhook-id': 'mine' }, { 'x-test': 'a\r\nb: c' }]) {
      const wanted = { ...body, headers: headers as unknown as Record<string, string> };
      expect(await reasonOf(world, () => createWebhook(call, 'organization:acme', wanted, options))).toBe('request-invalid');
    }
  });

  test('is refused with types that its format cannot express', async () => {
    const call = await callAs(world, owner);
    const wanted = { ...body, format: 'docker-hub' as const, types: ['team.created' as const] };
    expect(await reasonOf(world, () => createWebhook(call, 'organization:acme', wanted, options))).toBe('request-invalid');
  });

  test('of a repository is refused with a filter of repositories', async () => {
    const call = await callAs(world, owner, [REPOSITORY]);
    const wanted = { ...body, repositories: ['acme/*'] };
    expect(await reasonOf(world, () => createWebhook(call, `repository:${REPOSITORY}`, wanted, options))).toBe(
      'request-invalid',
    );
  });

  test('is refused where there is no such organization or repository', async () => {
    const call = await callAs(world, 'administrator');
    expect(await reasonOf(world, () => createWebhook(call, 'organization:none', body, options))).toBe('not-found');
    expect(await reasonOf(world, () => createWebhook(call, 'repository:acme/none', body, options))).toBe('repository-unknown');
  });
});

describe('a webhook', () => {
  const conditions = { requestOrigin: ORIGIN, ifVersion: null };
  const runtime = {
    now: () => 0,
    random: () => 0,
    fetch: () => Promise.reject(new Error('nothing may be sent')),
    sleep: () => Promise.resolve(),
  };

  test('does not exist for callers who may not administer its scope', async () => {
    for (const [who, reason] of [
      [null, 'unauthenticated'],
      [member, 'not-found'],
      [outsider, 'not-found'],
      [robot, 'not-found'],
    ] as const) {
      const call = await callAs(world, who);
      for (const operation of [
        () => describeWebhook(call, webhook),
        () => changeWebhook(call, webhook, { description: 'mine' }, conditions),
        () => deleteWebhook(call, webhook, null),
        () => rotateWebhookSecret(call, webhook, { overlap: 0, ifVersion: null }),
        () => testWebhook(call, webhook, runtime),
        () => listDeliveries(call, webhook, { after: '', limit: 10 }, null),
        () => getDelivery(call, webhook, `${webhook.id}_1`),
        () => replayDelivery(call, webhook, `${webhook.id}_1`),
        () => replayDeliveries(call, webhook, null, 0),
      ]) {
        expect(await reasonOf(world, operation)).toBe(reason);
      }
    }
  });

  test('is not changed to an address or a header that is not allowed', async () => {
    const call = await callAs(world, owner);
    for (const change of [{ url: 'https://192.168.0.1/' }, { url: `${ORIGIN}/` }, { headers: { host: 'other' } }]) {
      expect(await reasonOf(world, () => changeWebhook(call, webhook, change, conditions))).toBe('request-invalid');
    }
  });

  test('is not changed, rotated or deleted in another version than the expected one', async () => {
    const call = await callAs(world, owner);
    const other = { ...conditions, ifVersion: 7 };
    expect(await reasonOf(world, () => changeWebhook(call, webhook, { enabled: false }, other))).toBe('version-mismatch');
    expect(await reasonOf(world, () => rotateWebhookSecret(call, webhook, { overlap: 0, ifVersion: 7 }))).toBe(
      'version-mismatch',
    );
    expect(await reasonOf(world, () => deleteWebhook(call, webhook, 7))).toBe('version-mismatch');
  });

  test('replays nothing while it is disabled, and no delivery of another webhook', async () => {
    const call = await callAs(world, owner);
    expect(await reasonOf(world, () => replayDelivery(call, webhook, 'wh_ANOTHER_1'))).toBe('not-found');
    await changeWebhook(call, webhook, { enabled: false }, conditions);
    const disabled = await getSubscription(world.env, webhook.id);
    expect(await reasonOf(world, () => replayDeliveries(call, disabled, null, 0))).toBe('disabled');
    expect(await reasonOf(world, () => replayDelivery(call, disabled, `${webhook.id}_1`))).toBe('disabled');
  });
});
