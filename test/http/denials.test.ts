/** The messages to callers who lack a right. Some clients print the message of the challenge, others that of the body. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { pushImage } from '../world/images.ts';
import { makeOrganization } from '../world/organizations.ts';
import { api, basicOf, inviteUser, type Person } from '../world/people.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

let world: World;
let owner: Person;
let member: Person;
let outsider: Person;

beforeEach(async () => {
  world = await newWorld();
  owner = await inviteUser(world, 'olga');
  member = await inviteUser(world, 'mia');
  outsider = await inviteUser(world, 'otto');
  await makeOrganization(world, 'acme', { owners: [owner], members: [member] });
  await pushImage(world, 'acme/api', 'v1');
  await allow('mia', [{ actions: 'pull only', repositories: ['acme/api'] }]);
});

afterEach(() => {
  vi.useRealTimers();
});

async function allow(user: string, statements: object[]): Promise<void> {
  const { status, body } = await api(world, 'PUT', `/users/${user}/policy`, { body: { statements } });
  expect(status, JSON.stringify(body)).toBe(200);
}

/** Sends a request with a token for a pull or a push, as docker does. @param authorization `null` for no login */
async function withToken(
  authorization: string | null,
  repository: string,
  push: boolean,
  headers: Record<string, string> = {},
): Promise<Response> {
  const scope = `repository:${repository}:pull${push ? ',push' : ''}`;
  const answer = await world.fetch('GET', `/token?scope=${scope}`, { authorization });
  const { token } = (await answer.json()) as { token: string };
  const path = push ? 'blobs/uploads/' : 'manifests/v1';
  return world.fetch(push ? 'POST' : 'GET', `/v2/${repository}/${path}`, { authorization: `Bearer ${token}`, headers });
}

async function messageIn(response: Response): Promise<string> {
  const { errors } = (await response.json()) as { errors: [{ message: string }] };
  return errors[0].message;
}

/** The message in the body, which must also be in the challenge if there is one for a token. */
async function told(authorization: string | null, repository: string, push: boolean): Promise<string> {
  const response = await withToken(authorization, repository, push);
  expect(response.status).toBe(401);
  const message = await messageIn(response);
  expect(response.headers.get('www-authenticate')).toContain(`error="insufficient_scope",error_description="${message}"`);
  return message;
}

const pull = (authorization: string | null, repository: string) => told(authorization, repository, false);
const push = (authorization: string | null, repository: string) => told(authorization, repository, true);

test('a caller without a login is told to log in, and where', async () => {
  expect(await pull(null, 'acme/api')).toBe('log in first: docker login registry.test');
  expect(await push(null, 'acme/absent')).toBe('log in first: docker login registry.test');
});

test.each([
  [
    'docker with the image store of containerd',
    'docker/28.5.2 go/go1.27 containerd-client/2.1.9+unknown storage-driver/native',
    true,
  ],
  ['containerd', 'containerd/v2.1.9', true],
  ['BuildKit, which needs the code', 'buildkit/v0.25', false],
  ['docker with its own image store', 'docker/28.5.2 go/go1.27 git-commit/3ef3c07 os/linux arch/amd64', false],
])('%s gets the message in the parameter of the challenge that it prints', async (_, agent, isMessage) => {
  const response = await withToken(outsider.basic, 'acme/api', true, { 'user-agent': agent });
  const message = await messageIn(response);
  const error = isMessage ? message : 'insufficient_scope';
  expect(response.headers.get('www-authenticate')).toContain(`,error="${error}",error_description="`);
});

test.each([
  ['a bearer token', 'Bearer'],
  ['a password', `Basic ${btoa('otto:')}`],
])('a caller whose variable with the key is empty is told so, also with %s', async (_, authorization) => {
  const message = 'the Authorization header holds no key: is the variable KEY empty?';
  for (const path of ['/api/v1/me', '/v2/', '/v2/acme/api/manifests/v1']) {
    const response = await world.fetch('GET', path, { authorization });
    expect([response.status, await response.json()]).toEqual([401, { errors: [{ code: 'UNAUTHORIZED', message }] }]);
  }
});

test.each([
  ['DELETE', '/api/v1/keys/', 405],
  ['GET', '/api/v1/webhooks//deliveries', 404],
])('a path with an empty part, as of a script whose variable is empty, is refused with that cause: %s %s', async (...call) => {
  const [method, path, status] = call;
  const response = await world.fetch(method, path, { authorization: outsider.basic });
  expect([response.status, await messageIn(response)]).toEqual([
    status,
    expect.stringContaining('. A part of the path is empty: is a variable empty?'),
  ]);
});

describe('who may not know of a repository', () => {
  test('is told where to push, and the same about a private repository and an absent one', async () => {
    await allow('otto', [{ actions: 'push and pull', repositories: ['tools/*'] }]);
    const message = 'the repository does not exist, or you may not push to it. You may push to otto/*, tools/*';
    expect(await push(outsider.basic, 'acme/api')).toBe(message);
    expect(await push(outsider.basic, 'acme/absent')).toBe(message);
    const upload = await world.fetch('POST', '/v2/acme/api/blobs/uploads/', { authorization: outsider.basic });
    expect([upload.status, await messageIn(upload)]).toEqual([403, message]);
  });

  test('is told whom to ask, without names', async () => {
    const message =
      'the repository does not exist, or you may not pull it. If the name is right: its owner or an administrator can grant it';
    expect(await pull(outsider.basic, 'acme/api')).toBe(message);
    expect(await pull(outsider.basic, 'nobody/absent')).toBe(message);
  });
});

test('who may pull is told whether the tag is missing or the repository', async () => {
  for (const [path, message] of [
    ['acme/api/manifests/v2', 'there is no tag v2 in acme/api'],
    ['acme/apo/manifests/v1', 'there is no repository acme/apo: check the name'],
  ]) {
    const answer = await world.fetch('GET', `/v2/${path}`, { authorization: owner.basic });
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({ errors: [{ code: 'MANIFEST_UNKNOWN', message }] });
  }
});

test('who may push but not create is told the address at which somebody else creates the repository', async () => {
  const strict = worldOf({ ...world.env, CREATE_ON_PUSH: 'off' });
  const answer = await strict.fetch('POST', '/v2/olga/new/blobs/uploads/', { authorization: owner.basic });
  expect([answer.status, await messageIn(answer)]).toEqual([
    404,
    expect.stringContaining('(PUT /api/v1/repositories/olga/new)'),
  ]);
});

describe('a member of the organization', () => {
  test('is told the names of owners who can grant the right', async () => {
    const message =
      'you may pull acme/api, but the right to push is missing: an owner of acme (olga) or an administrator can grant it';
    expect(await push(member.basic, 'acme/api')).toBe(message);
    const { body } = await api<{ errors: [{ message: string }] }>(world, 'PATCH', '/repositories/acme/api', {
      as: member.bearer,
      body: { description: 'x' },
    });
    expect(body.errors[0].message).toBe(message.replace('push', 'admin'));
  });

  test('is told who the owners are where only they may do something', async () => {
    const { status, body } = await api(world, 'PUT', '/organizations/acme/teams/new', { as: member.bearer });
    expect(status).toBe(403);
    expect(JSON.stringify(body)).toContain('only an owner of acme (olga) or an administrator may do this');
  });
});

test('a narrowed key is told the same whatever its owner may do, and whether or not the repository exists', async () => {
  const statements = [{ actions: 'pull only', repositories: ['acme/api'] }];
  const made = await api<{ secret: string }>(world, 'POST', '/keys', { as: owner.bearer, body: { name: 'x', statements } });
  const key = basicOf('olga', made.body.secret);
  const message = (it: string) =>
    `this access key is narrowed: whether or not the repository exists, the key may not ${it}. Use another key`;
  expect(await push(key, 'acme/api')).toBe(message('push to it'));
  await pushImage(world, 'acme/other', 'v1');
  for (const name of ['acme/other', 'acme/absent', 'elsewhere/api']) expect(await pull(key, name)).toBe(message('pull it'));
});

test('a key that is narrowed to some tags is told that it is narrowed only about other tags', async () => {
  const repositories = ['acme/api'];
  const statements = [
    { actions: ['pull'], repositories },
    { actions: ['push', 'retag', 'delete'], repositories, tags: ['v*'] },
  ];
  const request = { as: member.bearer, body: { name: 'x', statements } };
  const made = await api<{ secret: string }>(world, 'POST', '/keys', request);
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  const key = basicOf('mia', made.body.secret);
  const remove = async (reference: string) =>
    messageIn(await world.fetch('DELETE', `/v2/acme/api/manifests/${reference}`, { authorization: key }));
  expect(await remove('v1')).not.toContain('narrowed');
  expect(await remove('latest')).toContain('narrowed');
  expect(await remove(`sha256:${'0'.repeat(64)}`)).toContain('narrowed');
  const pushed = await world.fetch('POST', '/v2/acme/api/blobs/uploads/', { authorization: key });
  expect(await messageIn(pushed)).not.toContain('narrowed');
});

test('a token that covers another scope is not told that the account lacks the right', async () => {
  const response = await withToken(owner.basic, 'acme/api', false);
  expect(response.status).toBe(200);
  const answer = await world.fetch('GET', '/token?scope=repository:acme/api:pull', { authorization: owner.basic });
  const { token } = (await answer.json()) as { token: string };
  const upload = await world.fetch('POST', '/v2/acme/api/blobs/uploads/', { authorization: `Bearer ${token}` });
  expect(await messageIn(upload)).toBe('this token does not cover the scope repository:acme/api:pull,push: get another one');
});

describe('a login that docker keeps', () => {
  async function refreshed(before: () => unknown): Promise<string> {
    const login = await world.fetch('GET', '/token?offline_token=true', { authorization: owner.basic });
    const { refresh_token } = (await login.json()) as { refresh_token: string };
    await before();
    const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token }).toString();
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    return messageIn(await world.fetch('POST', '/token', { authorization: null, headers, body }));
  }
  const REMEDY = 'log in again with docker login registry.test. A public image needs no login: docker logout registry.test';

  test('says that it has expired, how to log in again, and how to pull public images', async () => {
    const later = () => vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 31 * 24 * 60 * 60 * 1000 });
    expect(await refreshed(later)).toBe(`this login has expired: ${REMEDY}`);
  });

  test('says that it was ended', async () => {
    const message = `this login was ended, or its access key has expired or was revoked: ${REMEDY}`;
    expect(await refreshed(() => api(world, 'DELETE', '/me/logins', { as: owner.bearer }))).toBe(message);
  });
});

test('the API says how it wants a credential, not how docker logs in', async () => {
  const none = await api(world, 'GET', '/me', { as: null });
  expect(JSON.stringify(none.body)).toContain('log in first: this needs an access key');
  const wrong = await api(world, 'GET', '/me', { as: 'Bearer wrong' });
  expect(JSON.stringify(wrong.body)).toContain('has expired or was revoked: send another one');
});
