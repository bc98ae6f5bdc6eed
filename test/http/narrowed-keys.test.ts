/** Rights of a narrowed key, from creating it to moving images, through every endpoint. */
import { decodeJwt } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import { contentOf, imageIn, noise, pushBlob, pushImage, putManifest, refusal, textOf } from '../world/images.ts';
import { api, basicOf, inviteUser, type Person, refused } from '../world/people.ts';
import { digestAt, tagsOf } from '../world/reading.ts';
import { builtOnce, type World } from '../world/world.ts';

const EVERYTHING = { actions: 'all actions', repositories: ['*'] };

let world: World;
let dev: Person;

/** Creates a user with all rights in acme, with some content. */
const build = builtOnce(async (made) => {
  world = made;
  dev = await inviteUser(world, 'dev');
  await allow([{ actions: 'all actions', repositories: ['acme/*'] }]);
  await pushImage(world, 'acme/api', 'v1');
});

beforeEach(async () => {
  world = await build();
});

async function allow(statements: object[]): Promise<void> {
  const { status, body } = await api(world, 'PUT', '/users/dev/policy', { body: { statements } });
  expect(status, JSON.stringify(body)).toBe(200);
}

interface Key {
  id: string;
  basic: string;
  bearer: string;
}

async function keyWith(...statements: object[]): Promise<Key> {
  const request = { as: dev.bearer, body: { name: 'ci', statements } };
  const { status, body } = await api<{ key: { id: string }; secret: string }>(world, 'POST', '/keys', request);
  expect(status, JSON.stringify(body)).toBe(201);
  return { id: body.key.id, basic: basicOf('dev', body.secret), bearer: `Bearer ${body.secret}` };
}

/** The same registry, with these credentials in each request. */
function as(authorization: string): World {
  return { ...world, fetch: (method, path, init = {}) => world.fetch(method, path, { authorization, ...init }) };
}

/** The part of the requested scope that the token service grants: `acme/web: pull,push`. */
async function granted(authorization: string, ...scopes: string[]): Promise<{ token: string; grants: string[] }> {
  const query = scopes.map((scope) => `scope=${encodeURIComponent(scope)}`).join('&');
  const response = await world.fetch('GET', `/token?service=registry.test&${query}`, { authorization });
  expect(response.status).toBe(200);
  const { token } = (await response.json()) as { token: string };
  const access = decodeJwt(token).access as { name: string; actions: string[] }[];
  return { token, grants: access.map(({ name, actions }) => `${name}: ${actions.join()}`) };
}

/** Two worlds: one sends the key itself, as a script does, and one sends a token for everything, as docker does. */
async function bothWays(key: Key, ...repositories: string[]): Promise<[name: string, world: World][]> {
  const scopes = repositories.map((name) => `repository:${name}:pull,push,delete,retag,admin,create,*`);
  const { token } = await granted(key.basic, ...scopes);
  return [
    ['Basic', as(key.basic)],
    ['Bearer', as(`Bearer ${token}`)],
  ];
}

/** All rows that a refusal must not change. The last use of a key is left out, because it is recorded. */
async function contents(): Promise<unknown> {
  const tables = 'repositories blobs repository_blobs manifests tags accounts members policies events'.split(' ');
  const results = await world.env.DB.batch(tables.map((table) => world.env.DB.prepare(`SELECT * FROM ${table}`)));
  const { objects } = await world.env.BLOBS.list();
  return [results.map((result) => result.results), objects.map(({ key }) => key)];
}

async function nothingWritten(request: () => Promise<Response>): Promise<string> {
  const before = await contents();
  const code = await refusal(await request());
  expect(await contents()).toEqual(before);
  return code;
}

describe('a key that may only pull', () => {
  test.each(['basic', 'refresh token'])('gets pull at the token service, whatever it asks for (%s)', async (how) => {
    const key = await keyWith({ actions: 'pull only', repositories: ['acme/*'] });
    const all = ['repository:acme/api:pull,push,delete,*', 'repository:acme/new:push,admin', 'repository:other/x:pull,push'];
    if (how === 'basic') {
      expect((await granted(key.basic, ...all)).grants).toEqual(['acme/api: pull']);
      expect((await granted(key.basic, 'repository:acme/api:push,delete')).grants).toEqual([]);
      return;
    }
    const first = await world.fetch('GET', '/token?offline_token=true', { authorization: key.basic });
    const { refresh_token } = (await first.json()) as { refresh_token: string };
    const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token, scope: all.join(' ') }).toString();
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const answer = await world.fetch('POST', '/token', { authorization: null, headers, body });
    expect(((await answer.json()) as { scope: string }).scope).toBe('repository:acme/api:pull');
  });

  test('pulls, and cannot push or delete, with Basic or Bearer', async () => {
    const key = await keyWith({ actions: 'pull only', repositories: ['acme/*'] });
    const image = await imageIn(world, 'acme/api', 2);
    const blob = await contentOf(noise(10, 9));
    for (const [how, there] of await bothWays(key, 'acme/api')) {
      expect(await digestAt(there, 'acme/api', 'v1'), how).toMatch(/^sha256:/);
      const upload = `/v2/acme/api/blobs/uploads/?digest=${blob.digest}`;
      const requests = [
        () => there.fetch('POST', '/v2/acme/api/blobs/uploads/'),
        () => there.fetch('POST', upload, { body: blob.bytes }),
        () => putManifest(there, 'acme/api', 'v2', textOf(image)),
        () => putManifest(there, 'acme/api', 'v1', textOf(image)),
        () => there.fetch('DELETE', '/v2/acme/api/manifests/v1'),
        () => there.fetch('DELETE', `/v2/acme/api/manifests/${image.digest}`),
      ];
      const expected = how === 'Basic' ? '403 DENIED' : '401 UNAUTHORIZED';
      for (const request of requests) expect(await nothingWritten(request), how).toBe(expected);
    }
  });
});

describe('a key for acme/web-*', () => {
  const WEB = { actions: 'all actions', repositories: ['acme/web-*'] };
  const SIBLINGS = ['acme/web', 'acme/webx', 'acme/api', 'acme', 'acme/w', 'acmeweb-1', 'other/acme/web-1'];

  test('reaches repositories that begin with that, and no sibling', { tags: 'slow' }, async () => {
    await allow([EVERYTHING]);
    const key = await keyWith(WEB);
    const { grants } = await granted(key.basic, ...['acme/web-1', ...SIBLINGS].map((name) => `repository:${name}:pull,push`));
    expect(grants).toEqual(['acme/web-1: pull,push']);
    for (const repository of SIBLINGS) await pushImage(world, repository, 'v1');
    for (const [how, there] of await bothWays(key, 'acme/web-1', 'acme/web-1/sub', ...SIBLINGS)) {
      await pushImage(there, 'acme/web-1', 'v1');
      await pushImage(there, 'acme/web-1/sub', 'v1');
      for (const repository of SIBLINGS) {
        const where = `${how} ${repository}`;
        const blob = await contentOf(noise(10, 9));
        const path = `/v2/${repository}/blobs/uploads/?digest=${blob.digest}`;
        const status = how === 'Basic' ? 403 : 401;
        expect((await there.fetch('GET', `/v2/${repository}/manifests/v1`)).status, where).toBe(status);
        expect((await there.fetch('GET', `/v2/${repository}/tags/list`)).status, where).toBe(status);
        const answer = await nothingWritten(() => there.fetch('POST', path, { body: blob.bytes }));
        expect(answer, where).toBe(how === 'Basic' ? '403 DENIED' : '401 UNAUTHORIZED');
      }
    }
  });

  test('cannot mount from a sibling or list one', async () => {
    const blob = await pushBlob(world, 'acme/web', noise(10, 9));
    const key = await keyWith(WEB);
    for (const [how, there] of await bothWays(key, 'acme/web-1', 'acme/web')) {
      const mount = `/v2/acme/web-1/blobs/uploads/?mount=${blob.digest}&from=acme/web`;
      expect((await there.fetch('POST', mount)).status, how).not.toBe(201);
      expect((await world.fetch('HEAD', `/v2/acme/web-1/blobs/${blob.digest}`)).status, how).toBe(404);
    }
    await pushImage(as(key.basic), 'acme/web-1', 'v1');
    const { token } = await granted(key.basic, 'registry:catalog:*');
    const catalog = await world.fetch('GET', '/v2/_catalog', { authorization: `Bearer ${token}` });
    expect(await catalog.json()).toEqual({ repositories: ['acme/web-1'] });
    const list = await api<{ items: { name: string }[] }>(world, 'GET', '/repositories', { as: key.bearer });
    expect(list.body.items.map(({ name }) => name)).toEqual(['acme/web-1']);
  });
});

describe('a key for tags main-*', () => {
  const MAIN = { actions: ['push', 'retag'], repositories: ['acme/*'], tags: ['main-*'] };
  const PULL = { actions: 'pull only', repositories: ['acme/*'] };

  test('creates and moves those, and pushes the content that they need', async () => {
    const key = await keyWith(PULL, MAIN);
    for (const [how, there] of await bothWays(key, 'acme/api')) {
      const made = await pushImage(there, 'acme/api', `main-${how}`, 3);
      expect(await digestAt(world, 'acme/api', `main-${how}`)).toBe(made.digest);
      const moved = await pushImage(there, 'acme/api', `main-${how}`, 4);
      expect(await digestAt(world, 'acme/api', `main-${how}`)).toBe(moved.digest);
    }
  });

  test('creates and moves no other tag, alone or together with one of its own, and deletes nothing', async () => {
    const key = await keyWith(PULL, MAIN);
    await pushImage(as(key.basic), 'acme/api', 'main-1', 3);
    const image = await imageIn(world, 'acme/api', 5);
    const put = (there: World, reference: string) => putManifest(there, 'acme/api', reference, textOf(image));
    for (const [how, there] of await bothWays(key, 'acme/api')) {
      for (const tag of ['latest', 'v1', 'main', 'Main-1', 'xmain-1']) {
        expect(await nothingWritten(() => put(there, tag)), `${how} ${tag}`).toBe('403 DENIED');
      }
      expect(await nothingWritten(() => put(there, `${image.digest}?tag=main-2&tag=latest`)), how).toBe('403 DENIED');
      expect(await nothingWritten(() => put(there, 'main-2?tag=latest')), how).toBe('403 DENIED');
      const manifest = await digestAt(world, 'acme/api', 'main-1');
      for (const reference of ['main-1', 'v1', manifest]) {
        const answer = await nothingWritten(() => there.fetch('DELETE', `/v2/acme/api/manifests/${reference}`));
        expect(answer, `${how} ${reference}`).toBe(how === 'Basic' ? '403 DENIED' : '401 UNAUTHORIZED');
      }
    }
    expect(await tagsOf(world, 'acme/api')).toEqual(['main-1', 'v1']);
  });

  test('creates no repository unless it has that right', async () => {
    const image = await imageIn(world, 'acme/api', 5);
    const blob = await contentOf(noise(10, 9));
    const upload = (key: Key) =>
      as(key.basic).fetch('POST', `/v2/acme/new/blobs/uploads/?digest=${blob.digest}`, { body: blob.bytes });
    const without = await keyWith(PULL, MAIN);
    expect(await nothingWritten(() => upload(without))).toBe('404 NAME_UNKNOWN');
    expect(await nothingWritten(() => putManifest(as(without.basic), 'acme/new', 'main-1', textOf(image)))).toMatch(/^40[034]/);
    const key = await keyWith(PULL, MAIN, { actions: ['create'], repositories: ['acme/new'] });
    await pushImage(as(key.basic), 'acme/new', 'main-1');
    expect(await tagsOf(world, 'acme/new')).toEqual(['main-1']);
  });
});

describe('a key that denies', () => {
  test('takes rights from its holder', async () => {
    const all = { actions: 'all actions', repositories: ['acme/*'] };
    const key = await keyWith(
      all,
      { effect: 'deny', actions: ['delete'], repositories: ['acme/*'] },
      { effect: 'deny', actions: ['push', 'retag'], repositories: ['acme/*'], tags: ['v*'] },
      { effect: 'deny', actions: ['pull', 'push'], repositories: ['acme/secret'] },
    );
    await pushImage(world, 'acme/secret', 'v1');
    const scopes = ['repository:acme/api:pull,push,delete', 'repository:acme/secret:pull,push,delete'];
    expect((await granted(key.basic, ...scopes)).grants).toEqual(['acme/api: pull,push']);
    const there = as(key.basic);
    const image = await pushImage(there, 'acme/api', 'main', 6);
    expect(await nothingWritten(() => putManifest(there, 'acme/api', 'v1', textOf(image)))).toBe('403 DENIED');
    expect(await nothingWritten(() => putManifest(there, 'acme/api', 'v2', textOf(image)))).toBe('403 DENIED');
    expect(await nothingWritten(() => there.fetch('DELETE', '/v2/acme/api/manifests/main'))).toBe('403 DENIED');
    expect(await nothingWritten(() => there.fetch('GET', '/v2/acme/secret/manifests/v1'))).toBe('403 DENIED');
    expect((await as(dev.basic).fetch('GET', '/v2/acme/secret/manifests/v1')).status).toBe(200);
  });

  test.each([[], [{ effect: 'deny', actions: ['pull'], repositories: ['acme/x'] }]])(
    'and allows nothing has no rights: %j',
    async (...statements) => {
      const key = await keyWith(...statements.filter((one) => one !== undefined));
      expect((await granted(key.basic, 'repository:acme/api:pull,push,delete')).grants).toEqual([]);
      expect((await as(key.basic).fetch('GET', '/v2/acme/api/manifests/v1')).status).toBe(403);
    },
  );

  test('denies nothing to its owner', async () => {
    await keyWith({ effect: 'deny', actions: 'all actions', repositories: ['*'] });
    expect((await as(dev.basic).fetch('GET', '/v2/acme/api/manifests/v1')).status).toBe(200);
  });
});

describe('the right of the owner', () => {
  test('limits a key, whatever the statements of the key say', async () => {
    const key = await keyWith(EVERYTHING);
    await pushImage(world, 'other/app', 'v1');
    expect((await granted(key.basic, 'repository:other/app:pull', 'repository:acme/api:pull')).grants).toEqual([
      'acme/api: pull',
    ]);
    expect(await nothingWritten(() => as(key.basic).fetch('GET', '/v2/other/app/manifests/v1'))).toBe('403 DENIED');
  });

  test('is lost for the key as soon as it is taken away, and for the tokens that it got', async () => {
    const key = await keyWith(EVERYTHING);
    const image = await imageIn(world, 'acme/api', 5);
    const ways = await bothWays(key, 'acme/api');
    await allow([]);
    expect((await granted(key.basic, 'repository:acme/api:pull,push')).grants).toEqual([]);
    for (const [how, there] of ways) {
      expect(await nothingWritten(() => putManifest(there, 'acme/api', 'v2', textOf(image))), how).toBe('403 DENIED');
      expect(await nothingWritten(() => there.fetch('DELETE', '/v2/acme/api/manifests/v1')), how).toBe('403 DENIED');
    }
    expect((await as(key.basic).fetch('GET', '/v2/acme/api/manifests/v1')).status).toBe(403);
  });
});

test("a narrowed key does not read the usage of its owner's whole namespace", async () => {
  const key = await keyWith({ actions: ['pull'], repositories: ['dev/app'] });
  expect(refused(await api(world, 'GET', '/users/dev/usage', { as: key.basic }))).toBe('403 DENIED');
  expect((await api(world, 'GET', '/users/dev/usage', { as: dev.basic })).status).toBe(200);
});

test("a narrowed key makes no key, invites nobody and saves no policy, even if its owner's other keys may", async () => {
  await api(world, 'PATCH', '/users/dev', { body: { administrator: true } });
  const key = await keyWith(EVERYTHING);
  const requests: [method: string, path: string, body: object][] = [
    ['POST', '/keys', { name: 'x' }],
    ['PATCH', `/keys/${key.id}`, { statements: null }],
    ['PUT', '/users/eve', {}],
    ['PATCH', '/users/dev', { description: 'x' }],
    ['PUT', '/users/dev/policy', { statements: [EVERYTHING] }],
    ['PUT', '/organizations/acme', {}],
  ];
  for (const [method, path, body] of requests) {
    const before = await contents();
    expect(refused(await api(world, method, path, { as: key.bearer, body })), `${method} ${path}`).toBe('403 DENIED');
    expect(refused(await api(world, method, path, { as: key.basic, body })), `${method} ${path}`).toBe('403 DENIED');
    expect(await contents()).toEqual(before);
  }
  for (const [method, path, body] of requests) {
    expect((await api(world, method, path, { as: dev.bearer, body })).status, `${method} ${path}`).toBeLessThan(300);
  }
});

describe('a narrowed key of an administrator who owns an organization, and a login made with it,', () => {
  let key: Key;
  let login: string;
  let spare: string;

  beforeEach(async () => {
    await api(world, 'PATCH', '/users/dev', { body: { administrator: true } });
    await inviteUser(world, 'mia');
    await api(world, 'PUT', '/organizations/acme');
    for (const [name, role] of [
      ['dev', 'owner'],
      ['mia', 'member'],
    ] as const) {
      const added = await api(world, 'PUT', `/organizations/acme/members/${name}`, { body: { role } });
      expect(added.status, JSON.stringify(added.body)).toBeLessThan(300);
    }
    await api(world, 'PUT', '/organizations/acme/teams/ops', { body: {} });
    await api(world, 'PUT', '/organizations/other');
    key = await keyWith(EVERYTHING);
    spare = (await keyWith(EVERYTHING)).id;
    const made = await api<{ password: string }>(world, 'POST', '/login-password', { as: key.bearer, body: {} });
    login = `Bearer ${made.body.password}`;
  });

  const both = (): [string, string][] => [
    ['the key', key.bearer],
    ['a login', login],
  ];

  test('sees itself, and nothing about people', async () => {
    for (const [what, as] of both()) {
      const me = await api(world, 'GET', '/me', { as });
      expect(me.body, what).toMatchObject({ subject: 'user:dev', administrator: false, organizations: [], teams: [] });
      expect(me.body, what).toMatchObject({ credential: { narrowed: true, key: key.id } });
      const keys = await api<{ items: { id: string }[] }>(world, 'GET', '/keys', { as });
      expect(keys.body.items.map(({ id }) => id)).toEqual([key.id]);
      expect((await api(world, 'GET', `/keys/${key.id}`, { as })).status).toBe(200);
      expect((await api(world, 'GET', '/users/dev', { as })).body).toEqual({ name: 'dev', subject: 'user:dev' });
      const hidden = [`/keys/${spare}`, `/keys/${dev.keyId}`, '/keys/BRTHAAAAAAAAAAAAAAAA', '/users/mia', '/users/nobody'];
      for (const path of [...hidden, '/keys?owner=user:mia', '/keys?owner=user:nobody']) {
        expect(refused(await api(world, 'GET', path, { as })), `${what} ${path}`).toBe('404 NOT_FOUND');
      }
      const people = ['/organizations', '/organizations/acme', '/organizations/acme/members', '/organizations/acme/teams'];
      const teams = ['/organizations/acme/teams/ops', '/organizations/acme/teams/ops/members', '/organizations/none/members'];
      for (const path of [...people, ...teams]) {
        expect(refused(await api(world, 'GET', path, { as })), `${what} ${path}`).toBe('403 DENIED');
      }
    }
  });

  test('ends no logins, and rotates and revokes no other key', async () => {
    const before = await contents();
    for (const [what, as] of both()) {
      for (const query of ['', '?keys=true']) {
        expect(refused(await api(world, 'DELETE', `/me/logins${query}`, { as })), what).toBe('403 DENIED');
      }
      for (const id of [spare, dev.keyId]) {
        expect(refused(await api(world, 'DELETE', `/keys/${id}`, { as })), what).toBe('403 DENIED');
        expect(refused(await api(world, 'POST', `/keys/${id}/rotate`, { as, body: {} })), what).toBe('403 DENIED');
      }
    }
    expect(await contents()).toEqual(before);
  });

  test('learns nothing from dry runs and explain about who exists or belongs to what', async () => {
    await api(world, 'PUT', '/organizations/acme/teams/ops/members/mia', { body: {} });
    for (const [what, as] of both()) {
      const about = (one: string) =>
        api<{ changes: { principal: string }[] }>(world, 'PUT', '/repositories/acme/api/-/policy?dryRun=true', {
          as,
          body: { statements: [{ actions: ['pull', 'push'], principals: [one] }] },
        });
      for (const one of ['team:acme/ops', 'team:acme/none', 'organization:acme', 'user:mia', 'user:nobody', 'robot:acme/x']) {
        const { body } = await about(one);
        expect(
          body.changes.map(({ principal }) => principal),
          `${what} ${one}`,
        ).toEqual([one]);
      }
      const asked = async (principal: string) => {
        const query = new URLSearchParams({ principal, action: 'pull', repository: 'acme/api' });
        const { body } = await api(world, 'GET', `/explain?${query}`, { as });
        return JSON.parse(JSON.stringify(body).replaceAll(principal, '<principal>'));
      };
      expect(await asked('user:mia')).toEqual(await asked('user:nobody'));
      expect(await asked('user:dev')).toEqual(await asked('user:nobody'));
      expect(await asked(`key:${spare}`)).toEqual(await asked('key:BRTHAAAAAAAAAAAAAAAA'));
      expect(await asked(`key:${key.id}`)).toMatchObject({ allowed: true });
    }
  });

  test('gets the same warning for colleagues, teams, robots and unknown names, even if its owner is an administrator', {
    tags: 'slow',
  }, async () => {
    await api(world, 'PUT', '/organizations/acme/robots/ci', { body: {} });
    for (const administrator of [false, true]) {
      expect((await api(world, 'PATCH', '/users/dev', { body: { administrator } })).status).toBe(200);
      for (const [what, as] of both()) {
        for (const query of ['', '?dryRun=true']) {
          const warned = async (one: string) => {
            const body = { statements: [{ actions: ['pull'], principals: [one] }] };
            const path = `/repositories/acme/api/-/policy${query}`;
            const answer = await api<{ warnings?: string[] }>(world, 'PUT', path, { as, body });
            expect(answer.status).toBe(200);
            return JSON.stringify(answer.body.warnings).replaceAll(one, '<name>');
          };
          const ofNobody = await warned('user:nobody');
          for (const one of [
            'user:mia',
            'user:admin',
            'team:acme/ops',
            'team:acme/none',
            'robot:acme/ci',
            'organization:acme',
          ]) {
            expect(await warned(one), `${what} ${query} ${one}`).toBe(ofNobody);
          }
        }
      }
    }
  });
});
