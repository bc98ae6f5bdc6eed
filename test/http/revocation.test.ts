/**
 * A right that was revoked. Every write is refused at once, even if an access token still allows it. Pulls with the token work
 * until it expires, at most five minutes later. This also holds for public repositories and anonymous callers.
 */
import { decodeJwt } from 'jose';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { counting } from '../world/counting.ts';
import { type Content, contentOf, noise, pushBlob, pushImage, refusal, textOf } from '../world/images.ts';
import { makeOrganization, makeRobot, makeTeam } from '../world/organizations.ts';
import { api, basicOf, inviteUser, type Person } from '../world/people.ts';
import { newIssuer } from '../world/token-issuer.ts';
import { builtOnce, type World, worldOf } from '../world/world.ts';

const REPOSITORY = 'acme/api';
const TYPE = { 'content-type': 'application/vnd.oci.image.manifest.v1+json' };
const ALL = `repository:${REPOSITORY}:pull,push,delete repository:acme/absent:pull,push,delete`;

let world: World;
let image: Content;
let blob: Content;

const build = builtOnce(async (made) => {
  world = made;
  image = await pushImage(world, REPOSITORY, 'v1');
  blob = await pushBlob(world, REPOSITORY, noise(1000, 9));
});

beforeEach(async () => {
  world = await build();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

async function done(method: string, path: string, body?: object): Promise<void> {
  const answer = await api(world, method, path, body ? { body } : {});
  expect(answer.status, `${method} ${path}: ${JSON.stringify(answer.body)}`).toBeLessThan(300);
}

/** An access token as an Authorization header. `null`: requested without an account, as docker does. */
async function bearerOf(authorization: string | null, scope = ALL): Promise<string> {
  const query = scope.split(' ').map((one) => `scope=${encodeURIComponent(one)}`);
  const response = await world.fetch('GET', `/token?${query.join('&')}`, { authorization });
  expect(response.status).toBe(200);
  return `Bearer ${((await response.json()) as { token: string }).token}`;
}

const TEAM = '/organizations/acme/teams/dev';
const POLICY = `/repositories/${REPOSITORY}/-/policy`;

interface Scene {
  /** Creates a user who may pull, push, move and delete. @returns the credential of the user */
  somebody: () => Promise<string>;
  /** Revokes the right. */
  end: () => Promise<unknown>;
  /** 401: the credential is no longer valid. 403: it is valid and the right is gone. */
  status: 401 | 403;
  /** True if the user may still pull. */
  mayPull?: true;
}

const everything = { actions: 'all actions', repositories: ['acme/*'] };

async function member(role: 'owner' | 'member' = 'member'): Promise<Person> {
  const alice = await inviteUser(world, 'alice');
  await makeOrganization(world, 'acme', role === 'owner' ? { owners: [alice] } : { members: [alice] });
  return alice;
}

async function inTeam(): Promise<string> {
  const alice = await member();
  await makeTeam(world, 'acme', 'dev', [alice], [everything]);
  return alice.basic;
}

async function withLoginPassword(): Promise<string> {
  const { body } = await api<{ password: string }>(world, 'POST', '/login-password', { as: await inTeam(), body: {} });
  return basicOf('AWS', body.password);
}

async function byPolicy(principal: string): Promise<string> {
  const alice = await member();
  await done('PUT', POLICY, { statements: [{ actions: 'all actions', principals: [principal] }] });
  return alice.basic;
}

let keyId = '';

async function byKey(statements: object[] | null): Promise<string> {
  const alice = await member('owner');
  const { body } = await api<{ key: { id: string }; secret: string }>(world, 'POST', '/keys', {
    as: alice.basic,
    body: { name: 'k', statements },
  });
  keyId = body.key.id;
  return basicOf('alice', body.secret);
}

const RULE = '/organizations/acme/trust-rules/deploy';
let rule: object;

async function job(): Promise<string> {
  await makeOrganization(world, 'acme');
  const issuer = await newIssuer();
  vi.spyOn(globalThis, 'fetch').mockImplementation(issuer.world().fetch);
  rule = { issuer: issuer.url, claims: { project: '42' }, statements: [everything] };
  await done('PUT', RULE, rule);
  const now = Math.floor(Date.now() / 1000);
  return basicOf('ci', await issuer.sign({ sub: 'job', project: '42', iat: now, nbf: now, exp: now + 900 }));
}

const scenes: Record<string, Scene> = {
  'somebody was removed from the team': {
    somebody: inTeam,
    end: () => done('DELETE', `${TEAM}/members/alice`),
    status: 403,
  },
  'somebody was removed from the organization': {
    somebody: inTeam,
    end: () => done('DELETE', '/organizations/acme/members/alice'),
    status: 403,
  },
  'the team was deleted': { somebody: inTeam, end: () => done('DELETE', TEAM), status: 403 },
  "the team's policy was emptied": {
    somebody: inTeam,
    end: () => done('PUT', `${TEAM}/policy`, { statements: [] }),
    status: 403,
  },
  'the team may only pull now': {
    somebody: inTeam,
    end: () => done('PUT', `${TEAM}/policy`, { statements: [{ ...everything, actions: 'pull only' }] }),
    status: 403,
    mayPull: true,
  },
  'the user was disabled': { somebody: inTeam, end: () => done('PATCH', '/users/alice', { disabled: true }), status: 401 },
  'the user logged out everywhere': {
    somebody: withLoginPassword,
    end: () => done('DELETE', '/users/alice/logins'),
    status: 401,
  },
  'the user is denied it': {
    somebody: inTeam,
    end: () => done('PUT', '/users/alice/policy', { statements: [{ ...everything, effect: 'deny' }] }),
    status: 403,
  },
  'an owner of the organization is one no longer': {
    somebody: async () => {
      const { basic } = await member('owner');
      await done('PUT', '/users/boss', {});
      await done('PUT', '/organizations/acme/members/boss', { role: 'owner' });
      return basic;
    },
    end: () => done('PUT', '/organizations/acme/members/alice', { role: 'member' }),
    status: 403,
  },
  'an administrator is one no longer': {
    somebody: async () => (await inviteUser(world, 'alice', { administrator: true })).basic,
    end: () => done('PATCH', '/users/alice', { administrator: false }),
    status: 403,
  },
  "the repository's policy no longer names the user": {
    somebody: () => byPolicy('user:alice'),
    end: () => done('PUT', POLICY, { statements: [] }),
    status: 403,
  },
  "the repository's policy no longer names the organization": {
    somebody: () => byPolicy('organization:acme'),
    end: () => done('PUT', POLICY, { statements: [{ actions: 'all actions', principals: ['organization:acme2'] }] }),
    status: 403,
  },
  "the repository's policy no longer names everybody": {
    somebody: () => byPolicy('*'),
    end: () => done('PUT', POLICY, { statements: [{ actions: 'all actions', principals: ['user:bob'] }] }),
    status: 403,
  },
  "the repository's policy denies it to everybody": {
    somebody: inTeam,
    end: () => done('PUT', POLICY, { statements: [{ effect: 'deny', actions: 'all actions', principals: ['*'] }] }),
    status: 403,
  },
  'the key was revoked': { somebody: () => byKey(null), end: () => done('DELETE', `/keys/${keyId}`), status: 401 },
  'the key has expired': {
    somebody: () => byKey(null),
    end: () => world.env.DB.prepare('UPDATE access_keys SET expires_at = unixepoch() - 1 WHERE id = ?').bind(keyId).run(),
    status: 401,
  },
  'the key was narrowed': {
    somebody: () => byKey([everything]),
    end: () => done('PATCH', `/keys/${keyId}`, { statements: [{ actions: ['pull'], repositories: ['acme/web'] }] }),
    status: 403,
  },
  'the robot was deleted': {
    somebody: async () => {
      await makeOrganization(world, 'acme');
      return (await makeRobot(world, 'acme', 'ci', [everything])).basic;
    },
    end: () => done('DELETE', '/organizations/acme/robots/ci'),
    status: 401,
  },
  'the trust rule was deleted': { somebody: job, end: () => done('DELETE', RULE), status: 401 },
  'the trust rule says less': {
    somebody: job,
    end: () => done('PUT', RULE, { ...rule, statements: [{ ...everything, repositories: ['acme/web'] }] }),
    status: 403,
  },
};

/** Every request that writes. Requests about an upload are sent by the client that has started it. */
async function writes(
  upload: string,
  repository = REPOSITORY,
): Promise<[label: string, method: string, path: string, body: Content | null][]> {
  const more = await contentOf(noise(50, 77));
  const other = await contentOf(textOf(image).replace('"schemaVersion"', ' "schemaVersion"'));
  const at = (rest: string) => `/v2/${repository}/${rest}`;
  return [
    ['begins an upload', 'POST', at('blobs/uploads/'), null],
    ['uploads at once', 'POST', at(`blobs/uploads/?digest=${more.digest}`), more],
    ['mounts', 'POST', at(`blobs/uploads/?mount=${blob.digest}&from=${REPOSITORY}`), null],
    ['sends a chunk', 'PATCH', upload, more],
    ['finishes an upload', 'PUT', `${upload}?digest=${more.digest}`, more],
    ['cancels an upload', 'DELETE', upload, null],
    ['makes a tag', 'PUT', at('manifests/new'), image],
    ['moves a tag', 'PUT', at('manifests/v1'), other],
    ['puts a manifest', 'PUT', at(`manifests/${other.digest}`), other],
    ['deletes a tag', 'DELETE', at('manifests/v1'), null],
    ['deletes a manifest', 'DELETE', at(`manifests/${image.digest}`), null],
    ['deletes a blob', 'DELETE', at(`blobs/${blob.digest}`), null],
  ];
}

async function stores(): Promise<string> {
  const tables = ['repositories', 'blobs', 'repository_blobs', 'manifests', 'tags', 'uploads', 'tombstones'];
  const rows = await Promise.all(
    tables.map(async (table) => (await world.env.DB.prepare(`SELECT * FROM ${table}`).all()).results),
  );
  const { objects } = await world.env.BLOBS.list();
  return JSON.stringify([rows, objects.map(({ key }) => key).sort()]);
}

const send = (authorization: string, method: string, path: string, body: Content | null, isolate = world) =>
  isolate.fetch(method, path, { authorization, body: body?.bytes ?? null, headers: path.includes('/manifests/') ? TYPE : {} });

describe.each(Object.entries(scenes))('once %s', (_, { somebody, end, status, mayPull }) => {
  let authorization: string;
  let basic: string;
  let upload: string;

  beforeEach(async () => {
    basic = await somebody();
    authorization = await bearerOf(basic);
    const begun = await world.fetch('POST', `/v2/${REPOSITORY}/blobs/uploads/`, { authorization });
    expect(begun.status).toBe(202);
    upload = begun.headers.get('location') as string;
  });

  test(`every write with an older token gets a ${status} and changes nothing, and a pull still works`, async () => {
    // Each write comes to an isolate that remembers the rights as they were. What an isolate remembers belongs to its binding.
    const all = await writes(upload);
    const isolates = all.map(() => worldOf(counting(world.env).env));
    for (const isolate of isolates) await send(authorization, 'POST', `/v2/${REPOSITORY}/blobs/uploads/`, null, isolate);
    await end();
    const before = await stores();
    for (const [n, [label, method, path, body]] of all.entries()) {
      const response = await send(authorization, method, path, body, isolates[n]);
      expect(`${label}: ${await refusal(response)}`).toBe(`${label}: ${status} ${status === 401 ? 'UNAUTHORIZED' : 'DENIED'}`);
    }
    expect(await stores()).toBe(before);
    for (const [method, rest] of [
      ['GET', 'manifests/v1'],
      ['HEAD', 'manifests/v1'],
      ['GET', `manifests/${image.digest}`],
      ['GET', `blobs/${blob.digest}`],
      ['GET', 'tags/list'],
      ['GET', `referrers/${image.digest}`],
    ] as const) {
      const response = await world.fetch(method, `/v2/${REPOSITORY}/${rest}`, { authorization });
      expect(`${method} ${rest} ${response.status}`).toBe(`${method} ${rest} 200`);
    }
  });

  test('before that, the same writes were allowed', async () => {
    for (const [label, method, path, body] of await writes(upload)) {
      const response = await send(authorization, method, path, body);
      expect([label, [401, 403].includes(response.status)]).toEqual([label, false]);
    }
  });

  test('neither a new token nor the API grants the right, and the old token expires within five minutes', async () => {
    await end();
    const again = await world.fetch('GET', `/token?scope=${encodeURIComponent(ALL.split(' ')[0] ?? '')}`, {
      authorization: basic,
    });
    expect(again.status).toBe(status === 401 ? 401 : 200);
    if (status === 403) {
      const { access } = decodeJwt(((await again.json()) as { token: string }).token);
      expect(access).toEqual(mayPull ? [{ type: 'repository', name: REPOSITORY, actions: ['pull'] }] : []);
    }
    const direct = await world.fetch('GET', `/v2/${REPOSITORY}/manifests/v1`, { authorization: basic });
    expect(direct.status).toBe(mayPull ? 200 : status);
    const described = await api(world, 'GET', `/repositories/${REPOSITORY}`, { as: basic });
    expect(described.status).toBe(mayPull ? 200 : status === 401 ? 401 : 404);
    vi.useFakeTimers({ toFake: ['Date'] });
    vi.advanceTimersByTime(301_000);
    const late = await world.fetch('GET', `/v2/${REPOSITORY}/manifests/v1`, { authorization });
    expect(await refusal(late)).toBe('401 UNAUTHORIZED');
  });

  if (status === 403 && !mayPull) {
    test('a refusal reveals no more about the repository than about one that does not exist', async () => {
      await end();
      const elsewhere = await writes(upload.replace(REPOSITORY, 'acme/absent'), 'acme/absent');
      const here = await writes(upload);
      const seen = async ([, method, path, body]: (typeof here)[number]) => {
        const response = await send(authorization, method, path, body);
        return { status: response.status, body: await response.text(), headers: [...response.headers].sort() };
      };
      for (const [n, write] of here.entries()) {
        const absent = await seen(elsewhere[n] as typeof write);
        // If the right came from the policy of the repository, the user has none in an absent one, and the answers differ.
        if (absent.status === 403) expect(await seen(write), write[0]).toEqual(absent);
      }
    });
  }
});

describe('an upload that was started before', () => {
  test('continues where it was once the right is restored', async () => {
    const authorization = await bearerOf(await inTeam());
    const begun = await world.fetch('POST', `/v2/${REPOSITORY}/blobs/uploads/`, { authorization });
    const content = await contentOf(noise(100, 31));
    const first = await world.fetch('PATCH', begun.headers.get('location') as string, {
      authorization,
      body: content.bytes.slice(0, 60),
    });
    const upload = first.headers.get('location') as string;
    await done('DELETE', `${TEAM}/members/alice`);
    const refused = await world.fetch('PATCH', upload, { authorization, body: content.bytes.slice(60) });
    expect(refused.status).toBe(403);
    await done('PUT', `${TEAM}/members/alice`);
    const put = await world.fetch('PUT', `${upload}?digest=${content.digest}`, {
      authorization,
      body: content.bytes.slice(60),
    });
    expect(put.status).toBe(201);
  });
});

describe('a public repository', () => {
  beforeEach(async () => {
    await done('PATCH', `/repositories/${REPOSITORY}`, { visibility: 'public' });
  });

  const at = (rest: string) => `/v2/${REPOSITORY}/${rest}`;
  const wanted = `repository:${REPOSITORY}:pull`;

  test('can be pulled without an account as docker does it: a challenge, a token, the image', async () => {
    const first = await world.fetch('GET', at('manifests/v1'), { authorization: null });
    expect(await refusal(first.clone())).toBe('401 UNAUTHORIZED');
    const challenge = first.headers.get('www-authenticate') ?? '';
    const [, realm, service, scope] = /^Bearer realm="([^"]+)",service="([^"]+)",scope="([^"]+)"$/.exec(challenge) ?? [];
    const query = new URLSearchParams({ service: service ?? '', scope: scope ?? '' });
    const answer = await world.fetch('GET', `${realm}?${query}`, { authorization: null });
    const { token } = (await answer.json()) as { token: string };
    expect(decodeJwt(token)).toMatchObject({ sub: '', access: [{ name: REPOSITORY, actions: ['pull'] }] });
    const authorization = `Bearer ${token}`;
    for (const rest of [
      'manifests/v1',
      `manifests/${image.digest}`,
      `blobs/${blob.digest}`,
      'tags/list',
      `referrers/${image.digest}`,
    ]) {
      expect(`${rest} ${(await world.fetch('GET', at(rest), { authorization })).status}`).toBe(`${rest} 200`);
    }
    expect((await world.fetch('HEAD', at(`blobs/${blob.digest}`), { authorization })).status).toBe(200);
  });

  test('cannot be pushed to by anonymous callers, with a token or without', async () => {
    const authorization = await bearerOf(null);
    expect(decodeJwt(authorization.slice('Bearer '.length)).access).toEqual([
      { type: 'repository', name: REPOSITORY, actions: ['pull'] },
    ]);
    const before = await stores();
    for (const [label, method, path, body] of await writes(at('blobs/uploads/none'))) {
      const headers = path.includes('/manifests/') ? TYPE : {};
      for (const shown of [authorization, null]) {
        const response = await world.fetch(method, path, { authorization: shown, body: body?.bytes ?? null, headers });
        expect(`${label}: ${await refusal(response)}`).toBe(`${label}: 401 UNAUTHORIZED`);
      }
    }
    expect(await stores()).toBe(before);
    expect((await world.fetch('GET', '/v2/_catalog', { authorization })).status).toBe(401);
  });

  test('can be pulled by anybody with an account, and pushed to by none of them', async () => {
    const authorization = await bearerOf((await inviteUser(world, 'bob')).basic);
    expect((await world.fetch('GET', at('manifests/v1'), { authorization })).status).toBe(200);
    for (const [, method, path, body] of await writes(at('blobs/uploads/none'))) {
      expect((await send(authorization, method, path, body)).status).toBe(401);
    }
  });

  test('makes no other public: a private one gets a 401 like one that does not exist, with and without a token', async () => {
    await pushImage(world, 'acme/secret', 'v1');
    const authorization = await bearerOf(null, `${wanted} repository:acme/secret:pull repository:acme/absent:pull`);
    for (const shown of [null, authorization]) {
      const seen = async (name: string) => {
        const response = await world.fetch('GET', `/v2/${name}/manifests/v1`, { authorization: shown });
        const text = JSON.stringify([await response.text(), [...response.headers].sort()]).replaceAll(name, 'NAME');
        return [response.status, text];
      };
      const secret = await seen('acme/secret');
      expect(secret[0]).toBe(401);
      expect(secret).toEqual(await seen('acme/absent'));
    }
    const mount = await world.fetch('POST', at(`blobs/uploads/?mount=${blob.digest}&from=acme/secret`), { authorization });
    expect(mount.status).toBe(401);
  });

  test('made private can be pulled with an old token for at most five minutes, and no new token allows it', async () => {
    const old = await bearerOf(null, wanted);
    const pull = async (authorization: string | null) =>
      (await world.fetch('GET', at('manifests/v1'), { authorization })).status;
    await done('PATCH', `/repositories/${REPOSITORY}`, { visibility: 'private' });
    expect(await pull(old)).toBe(200);
    const fresh = await bearerOf(null, wanted);
    expect(decodeJwt(fresh.slice('Bearer '.length)).access).toEqual([]);
    expect(await pull(fresh)).toBe(401);
    expect((await api(world, 'GET', `/repositories/${REPOSITORY}`, { as: null })).status).toBe(401);
    const { iat = 0, exp = 0 } = decodeJwt(old.slice('Bearer '.length));
    expect(exp - iat).toBe(300);
    vi.useFakeTimers({ toFake: ['Date'], now: exp * 1000 - 1000 });
    expect(await pull(old)).toBe(200);
    vi.setSystemTime(exp * 1000 + 1000);
    expect(await pull(old)).toBe(401);
  });

  test('made private cannot be mounted from any more, whatever the token says', async () => {
    const bob = await inviteUser(world, 'bob');
    const authorization = await bearerOf(bob.basic, `repository:bob/own:pull,push ${wanted}`);
    const mount = (name: string, from: string) =>
      world.fetch('POST', `/v2/bob/own/blobs/uploads/?mount=${name}${from}`, { authorization });
    expect((await mount(blob.digest, `&from=${REPOSITORY}`)).status).toBe(201);
    await done('PATCH', `/repositories/${REPOSITORY}`, { visibility: 'private' });
    const layer = (JSON.parse(textOf(image)) as { layers: { digest: string }[] }).layers[0]?.digest ?? '';
    expect((await mount(layer, `&from=${REPOSITORY}`)).status).toBe(202);
    expect((await mount(layer, '')).status).toBe(202);
    expect((await world.fetch('HEAD', `/v2/bob/own/blobs/${layer}`, { authorization })).status).toBe(404);
  });

  test('made private keeps its policy for those it names', async () => {
    const bob = await inviteUser(world, 'bob');
    const statements = [
      { actions: 'push and pull', principals: [bob.subject] },
      { actions: 'pull only', principals: ['*'] },
    ];
    await done('PUT', POLICY, { statements });
    const authorization = await bearerOf(bob.basic);
    await done('PATCH', `/repositories/${REPOSITORY}`, { visibility: 'private' });
    expect((await world.fetch('POST', at('blobs/uploads/'), { authorization })).status).toBe(202);
    await done('PUT', POLICY, { statements: [] });
    expect((await world.fetch('POST', at('blobs/uploads/'), { authorization })).status).toBe(403);
  });
});
