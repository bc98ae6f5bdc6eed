/** The audit log: logins, failed logins, addresses, and the old and new values of changes. */
import { beforeEach, describe, expect, test } from 'vitest';
import { noteFailure, noteLogin } from '../../../src/auth/audit-log.ts';
import { anonymous } from '../../../src/auth/authority.ts';
import { NOTHING_LOADED } from '../../../src/auth/loaded-rights.ts';
import { runScheduled } from '../../../src/cron.ts';
import { counting } from '../../world/counting.ts';
import { intercepted } from '../../world/intercept.ts';
import { makeOrganization, makeRobot, makeTeam } from '../../world/organizations.ts';
import { type ApiRequest, api as anyApi, basicOf, inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

interface Item {
  type: string;
  target: Record<string, unknown>;
  address?: string;
  organization: string | null;
  actor: { subject: string; key: string | null };
}

let world: World;
let alice: Person;

const build = builtOnce(async (made) => {
  world = made;
  alice = await inviteUser(world, 'alice');
});

beforeEach(async () => {
  world = await build();
});

const api = (method: string, path: string, request?: ApiRequest) => anyApi<{ items: Item[] }>(world, method, path, request);

const log = async (query: string, as?: string) => {
  const { status, body } = await api('GET', `/events?${query}`, as ? { as } : {});
  expect(status).toBe(200);
  return body.items;
};

const DOCKER = '/token?account=alice&client_id=docker&offline_token=true&service=registry.test';

function login(from: string, authorization: string, path = DOCKER): Promise<Response> {
  return world.fetch('GET', path, { authorization, headers: { 'cf-connecting-ip': from } });
}

const rowsOf = (type: string) =>
  world.env.DB.prepare('SELECT count(*) AS n FROM events WHERE type = ?1').bind(type).first<number>('n');

describe('a login', () => {
  test('is logged with user, key and address, and visible to administrators and to that user', async () => {
    expect((await login('192.0.2.7', alice.basic)).status).toBe(200);
    for (const as of [undefined, alice.basic]) {
      expect(await log('type=login.succeeded', as)).toMatchObject([
        { target: { credential: 'key' }, address: '192.0.2.7', actor: { subject: 'user:alice', key: alice.keyId } },
      ]);
    }
    const bob = await inviteUser(world, 'bob');
    expect(await log('type=login.succeeded', bob.basic)).toEqual([]);
  });

  test('is logged once a day for each credential and address, however often and with whichever client', async () => {
    for (let n = 0; n < 30; n++) await login('192.0.2.7', alice.basic, n % 2 ? DOCKER : '/token');
    await login('192.0.2.8', alice.basic);
    await login('192.0.2.7', `Basic ${btoa('admin:the-password-of-the-tests')}`);
    expect(await rowsOf('login.succeeded')).toBe(3);
  });

  test('that the database could not record is recorded by the next one, and a failed attempt likewise', async () => {
    let fails = true;
    const DB = intercepted(world.env.DB, (_, effect) => {
      if (fails) throw new Error('D1_ERROR: Network connection lost.');
      return effect();
    });
    const bindings = { ...world.env, DB };
    const where = { address: '192.0.2.7' };
    const authority = { ...anonymous(NOTHING_LOADED), subject: 'user:alice', credentialKind: 'key' as const };
    const both = () => [noteLogin(bindings, authority, where, Date.now()), noteFailure(bindings, 'alice', where, Date.now())];
    for (const noted of both()) await expect(noted).rejects.toThrow('lost');
    fails = false;
    await Promise.all(both());
    expect([await rowsOf('login.succeeded'), await rowsOf('login.failed')]).toEqual([1, 1]);
  });

  test('of a robot is visible to the owners of its organization', async () => {
    await makeOrganization(world, 'acme', { owners: [alice] });
    const robot = await makeRobot(world, 'acme', 'ci');
    await login('192.0.2.9', robot.basic);
    expect(await log('organization=acme&type=login.succeeded', alice.basic)).toMatchObject([
      { organization: 'acme', actor: { subject: 'robot:acme/ci' }, address: '192.0.2.9' },
    ]);
  });

  test('continued with a refresh token is not logged again', async () => {
    const { refresh_token } = (await (await login('192.0.2.7', alice.basic)).json()) as { refresh_token: string };
    const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token, service: 'registry.test' }).toString();
    const headers = { 'content-type': 'application/x-www-form-urlencoded', 'cf-connecting-ip': '192.0.2.99' };
    expect((await world.fetch('POST', '/token', { body, headers, authorization: null })).status).toBe(200);
    expect(await rowsOf('login.succeeded')).toBe(1);
  });

  test('succeeds even if it cannot be logged', async () => {
    const prepare = (sql: string) => {
      if (/'login\.(?:succeeded|failed)'/.test(sql)) throw new Error('storage is gone');
      return world.env.DB.prepare(sql);
    };
    const DB = new Proxy(world.env.DB, { get: (db, name) => (name === 'prepare' ? prepare : bound(db, name)) });
    const { fetch } = worldOf({ ...world.env, DB });
    expect((await fetch('GET', DOCKER, { authorization: alice.basic })).status).toBe(200);
    expect((await fetch('GET', DOCKER, { authorization: basicOf('alice', 'wrong') })).status).toBe(401);
    expect(await rowsOf('login.succeeded')).toBe(0);
  });

  test('costs nothing more if it is logged already, and a plain token request writes nothing', async () => {
    await login('192.0.2.7', alice.basic);
    const counted = counting(world.env);
    const headers = { 'cf-connecting-ip': '192.0.2.7' };
    await worldOf(counted.env).fetch('GET', DOCKER, { authorization: alice.basic, headers });
    expect(counted.counts.rowsWritten).toBeLessThanOrEqual(2);
    const alone = counting(world.env);
    await worldOf(alone.env).fetch('GET', '/token', { authorization: alice.basic, headers });
    expect(alone.counts).toMatchObject({ d1: 1, rowsWritten: 0 });
    expect(await rowsOf('login.succeeded')).toBe(1);
  });
});

describe('a failed login', () => {
  const fail = (from: string, name = 'alice') => login(from, basicOf(name, 'wrong'));

  test('is logged: the first, the tenth and the hundredth of an address in an hour', async () => {
    for (let n = 0; n < 120; n++) expect((await fail('192.0.2.7')).status).toBe(401);
    expect((await log('type=login.failed')).map(({ target, address }) => [target.attempts, target.account, address])).toEqual([
      [100, 'alice', '192.0.2.7'],
      [10, 'alice', '192.0.2.7'],
      [1, 'alice', '192.0.2.7'],
    ]);
    expect(await log('type=login.failed', alice.basic)).toEqual([]);
  });

  test('does not fill the database, from however many addresses it comes', async () => {
    for (let n = 0; n < 300; n++) await fail(`2001:db8:${n.toString(16)}::1`);
    expect(await rowsOf('login.failed')).toBeLessThanOrEqual(20);
    // The same holds across isolates.
    await world.env.DB.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
       INSERT INTO events (at, type, about, sequence, target, actor)
       SELECT unixepoch(), 'login.failed', 'failed-logins:', 1000 + i, '{}', '' FROM n`,
    ).run();
    const before = await rowsOf('login.failed');
    world = worldOf({ ...world.env, DB: new Proxy(world.env.DB, { get: (db, name) => bound(db, name) }) });
    for (let n = 0; n < 30; n++) await fail(`198.51.100.${n}`);
    expect(await rowsOf('login.failed')).toBe(before);
  });

  test('is logged without the user name if that could not be a name', async () => {
    await fail('192.0.2.7', 'my secret pass phrase!');
    const { results } = await world.env.DB.prepare('SELECT target FROM events').all<{ target: string }>();
    expect(JSON.stringify(results)).not.toContain('pass phrase');
  });
});

function bound(database: D1Database, name: string | symbol): unknown {
  const value: unknown = Reflect.get(database, name);
  return typeof value === 'function' ? value.bind(database) : value;
}

test('creating a login password is logged with its expiry, and never with the password', async () => {
  const headers = { 'cf-connecting-ip': '192.0.2.7' };
  const { status, body } = await api('POST', '/login-password', { as: alice.basic, body: { lifetime: 3600 }, headers });
  expect(status).toBe(200);
  const [issued, ...others] = await log('type=login.issued');
  expect(others).toEqual([]);
  expect(issued).toMatchObject({ actor: { subject: 'user:alice', key: alice.keyId }, address: '192.0.2.7' });
  expect(Date.parse(String(issued?.target.until))).toBeGreaterThan(Date.now());
  const { results } = await world.env.DB.prepare('SELECT * FROM events').all();
  expect(JSON.stringify(results)).not.toContain((body as unknown as { password: string }).password);
});

describe('the client address', () => {
  const headers = { 'cf-connecting-ip': '192.0.2.7' };
  const seen = async () => (await log('type=organization.created'))[0];

  test('is logged for changes by the API, and is in no delivery', async () => {
    await api('PUT', '/organizations/acme', { headers });
    expect((await seen())?.address).toBe('192.0.2.7');
    const made = await anyApi<{ webhook: { id: string } }>(world, 'POST', '/organizations/acme/webhooks', {
      body: { url: 'https://hooks.example.com/', types: ['*'] },
    });
    const body = { since: '2020-01-01T00:00:00Z' };
    expect((await api('POST', `/webhooks/${made.body.webhook.id}/replay`, { body })).status).toBe(202);
    const { results } = await world.env.DB.prepare('SELECT * FROM deliveries').all();
    expect(results.length).toBeGreaterThan(0);
    expect(JSON.stringify(results)).not.toContain('192.0.2.7');
  });

  test('can be stored as a keyed hash, the same for the same address, or not at all', async () => {
    const env = world.env;
    world = worldOf({ ...env, AUDIT_ADDRESSES: 'hashed' });
    await api('PUT', '/organizations/acme', { headers });
    const hash = (await seen())?.address;
    expect(hash).toMatch(/^hash:[0-9a-f]{20}$/);
    await api('PUT', '/organizations/bravo', { headers });
    expect((await seen())?.address).toBe(hash);
    world = worldOf({ ...env, AUDIT_ADDRESSES: 'off' });
    await api('PUT', '/organizations/corp', { headers });
    expect(await seen()).not.toHaveProperty('address');
    const { results } = await world.env.DB.prepare('SELECT * FROM events').all();
    expect(JSON.stringify(results)).not.toContain('192.0.2.7');
  });

  test('is deleted after some days, and the event stays', async () => {
    await api('PUT', '/organizations/acme', { headers });
    await api('PUT', '/organizations/bravo', { headers });
    // The last of the six runs of the schedule in an hour runs the hourly jobs.
    const hourly = Date.UTC(2026, 0, 1, 0, 57);
    await runScheduled(world.env, hourly);
    expect((await log('type=organization.created')).map(({ address }) => address)).toEqual(['192.0.2.7', '192.0.2.7']);
    await world.env.DB.prepare('UPDATE events SET at = at - 8 * 86400').run();
    await runScheduled(world.env, hourly);
    expect((await log('type=organization.created')).map(({ address }) => address)).toEqual([undefined, undefined]);
    expect(await world.env.DB.prepare('SELECT count(*) AS n FROM events WHERE address IS NOT NULL').first('n')).toBe(0);
  });
});

describe('the log contains the old and new values of a change to', () => {
  const long = 'x'.repeat(150_000 / 2);

  async function changesOf(type: string): Promise<unknown> {
    return (await log(`type=${type}`))[0]?.target.changes;
  }

  const done = async (method: string, path: string, body?: object) => {
    const answer = await api(method, path, body ? { body } : {});
    expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300);
  };

  beforeEach(async () => {
    await makeOrganization(world, 'acme', { owners: [alice] });
    await done('PUT', '/repositories/acme/api', { description: 'one', overview: '# One' });
  });

  test('a repository', async () => {
    await done('PATCH', '/repositories/acme/api', { description: 'two' });
    expect(await changesOf('repository.changed')).toEqual({ description: { from: 'one', to: 'two' } });
    await done('PATCH', '/repositories/acme/api', { visibility: 'public' });
    expect(await changesOf('repository.changed')).toEqual({ visibility: { from: 'private', to: 'public' } });
    await done('PATCH', '/repositories/acme/api', { visibility: 'public', description: 'three' });
    expect(await changesOf('repository.changed')).toEqual({ description: { from: 'two', to: 'three' } });
    await done('PATCH', '/repositories/acme/api', { overview: long });
    expect(await changesOf('repository.changed')).toEqual({ overview: { from: '# One', to: `${'x'.repeat(100)}…` } });
    await done('PATCH', '/repositories/acme/api', { overview: `${long}!` });
    expect(Object.keys((await changesOf('repository.changed')) as object)).toEqual(['overview']);
  });

  test('a user', async () => {
    await done('PATCH', '/users/alice', { description: 'Alice', administrator: true });
    expect(await changesOf('user.changed')).toEqual({
      administrator: { from: false, to: true },
      description: { from: '', to: 'Alice' },
    });
  });

  test('an organization, a team and a robot', async () => {
    await done('PATCH', '/organizations/acme', { description: 'Anvils' });
    expect(await changesOf('organization.changed')).toEqual({ description: { from: '', to: 'Anvils' } });
    await makeTeam(world, 'acme', 'dev');
    await done('PUT', '/organizations/acme/teams/dev', { description: 'Developers' });
    expect(await changesOf('team.changed')).toEqual({ description: { from: '', to: 'Developers' } });
    await makeRobot(world, 'acme', 'ci');
    expect(await changesOf('robot.created'), 'what is made changes nothing').toBe(undefined);
    await done('PUT', '/organizations/acme/robots/ci', { disabled: true });
    expect(await changesOf('robot.changed')).toEqual({ disabled: { from: false, to: true } });
  });

  test('a trust rule', async () => {
    const rule = {
      issuer: 'https://token.actions.githubusercontent.com',
      claims: { repository_id: '123456789' },
      statements: [{ actions: ['pull'], repositories: ['acme/api'] }],
    };
    const path = '/organizations/acme/trust-rules/deploy';
    await done('PUT', path, rule);
    expect(await changesOf('trust-rule.saved')).toBe(undefined);
    await done('PUT', path, { ...rule, lifetime: 600, claims: { repository_id: '987654321' } });
    expect(await changesOf('trust-rule.saved')).toEqual({
      claims: { from: { repository_id: '123456789' }, to: { repository_id: '987654321' } },
      lifetime: { from: 3600, to: 600 },
    });
  });

  test('a key', async () => {
    await done('PATCH', `/keys/${alice.keyId}`, { name: 'laptop' });
    expect(await changesOf('key.changed')).toMatchObject({ name: { to: 'laptop' } });
    expect(Object.keys((await changesOf('key.changed')) as object)).toEqual(['name']);
  });

  test('a webhook, without the secrets that its URL may contain', async () => {
    const { body } = await anyApi<{ webhook: { id: string } }>(world, 'POST', '/organizations/acme/webhooks', {
      body: { url: 'https://hooks.example.com/old-secret' },
    });
    const path = `/webhooks/${body.webhook.id}`;
    await done('PATCH', path, { enabled: false, tags: ['v*'], url: 'https://hooks.example.com/new-secret' });
    const changes = await changesOf('webhook.changed');
    expect(changes).toMatchObject({
      enabled: { from: true, to: false },
      endpoint: { to: 'replaced' },
      filter: { from: { tags: null }, to: { tags: ['v*'] } },
    });
    expect(JSON.stringify(changes)).not.toContain('secret');
    await done('PATCH', path, { enabled: true });
    expect(await changesOf('webhook.changed')).toEqual({ enabled: { from: false, to: true } });
  });

  test('a quota, a mutability rule and a lifecycle policy', async () => {
    await done('PUT', '/organizations/acme/quota', { maxBytes: 1000 });
    await done('PUT', '/organizations/acme/quota', { maxBytes: 2000 });
    expect(await changesOf('quota.saved')).toEqual({ maxBytes: { from: 1000, to: 2000 } });
    await done('PUT', '/repositories/acme/api/-/tag-mutability', { imageTagMutability: 'IMMUTABLE' });
    expect(await changesOf('tag-mutability.saved')).toMatchObject({ rule: { from: null } });
    const rule = (count: number) => ({
      rules: [
        {
          rulePriority: 1,
          selection: { tagStatus: 'any', countType: 'imageCountMoreThan', countNumber: count },
          action: { type: 'expire' },
        },
      ],
    });
    await done('PUT', '/repositories/acme/api/-/lifecycle', rule(5));
    await done('PUT', '/repositories/acme/api/-/lifecycle', rule(6));
    const { rules } = (await changesOf('lifecycle.saved')) as { rules: { from: object; to: object } };
    expect([JSON.stringify(rules.from), JSON.stringify(rules.to)]).toEqual([
      expect.stringContaining('"countNumber":5'),
      expect.stringContaining('"countNumber":6'),
    ]);
  });
});
