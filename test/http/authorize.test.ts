import { UnsecuredJWT } from 'jose';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { type Method, ROUTES } from '../../src/http/routes.ts';
import { type Content, pushImage, refusal } from '../world/images.ts';
import { forge, tokenFor } from '../world/tokens.ts';
import { forgetOwner, newWorld, type World, worldOf } from '../world/world.ts';

let world: World;
let image: Content;

beforeAll(async () => {
  world = await newWorld();
  image = await pushImage(world, 'acme/api', 'v1');
});

const challenge = (response: Response) => response.headers.get('www-authenticate');

describe('an anonymous request', () => {
  test('to /v2/ gets a challenge that names the token service', async () => {
    const response = await world.fetch('GET', '/v2/', { authorization: null });
    expect(await refusal(response.clone())).toBe('401 UNAUTHORIZED');
    expect(challenge(response)).toBe('Bearer realm="https://registry.test/token",service="registry.test"');
  });

  test('gets the scope that the request needs, for HEAD as well', async () => {
    const response = await world.fetch('HEAD', '/v2/acme/api/manifests/v1', { authorization: null });
    expect(response.status).toBe(401);
    expect(await response.text()).toBe('');
    expect(challenge(response)).toContain('scope="repository:acme/api:pull"');
    const push = await world.fetch('POST', '/v2/acme/api/blobs/uploads/', { authorization: null });
    expect(challenge(push)).toContain('scope="repository:acme/api:pull,push"');
  });

  test('gets the public address in its challenge if that differs from the one the Worker sees', async () => {
    const proxied = worldOf({ ...world.env, PUBLIC_URL: 'https://images.example' });
    expect(challenge(await proxied.fetch('GET', '/v2/', { authorization: null }))).toContain(
      'realm="https://images.example/token"',
    );
  });

  test('gets the same answer for content that exists and for content that does not', async () => {
    const see = async (path: string) => {
      const response = await world.fetch('GET', path, { authorization: null });
      return { status: response.status, body: await response.text() };
    };
    const there = await see('/v2/acme/api/manifests/v1');
    expect(await see('/v2/acme/api/manifests/none')).toEqual(there);
    expect(await see('/v2/acme/none/manifests/v1')).toEqual(there);
    expect(await see(`/v2/acme/api/manifests/${image.digest}`)).toEqual(there);
    expect(await see('/v2/acme/api/tags/list')).toEqual(await see('/v2/acme/none/tags/list'));
  });
});

/** Every route with a path whose content exists, so that a refusal is about the right and not about missing content. */
function requests(): { method: Method; path: string; requirement: string }[] {
  const fill = (path: string) =>
    path.replace(':name{.+}', 'acme/api').replace(':reference', 'v1').replace(':digest', image.digest).replace(':upload', 'x');
  return Object.entries(ROUTES).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, requirement]) => ({ method: method as Method, path: fill(path), requirement })),
  );
}

describe('every route', () => {
  test('except the token service refuses an anonymous request', async () => {
    for (const { method, path, requirement } of requests()) {
      const { status } = await world.fetch(method, path, { authorization: null });
      if (requirement !== 'anyone') expect(`${method} ${path} ${status}`).toBe(`${method} ${path} 401`);
    }
  });

  test('requires the right in its table row and no other', async () => {
    const tokens = {
      pull: await tokenFor(world, 'repository:acme/api:pull'),
      push: await tokenFor(world, 'repository:acme/api:push'),
      delete: await tokenFor(world, 'repository:acme/api:delete'),
      catalog: await tokenFor(world, 'registry:catalog:*'),
      elsewhere: await tokenFor(world, 'repository:acme/api2:*', 'repository:acme:*', 'repository:acme/api/sub:*'),
    };
    for (const { method, path, requirement } of requests()) {
      // Access tokens are valid on /v2 only.
      if (!path.startsWith('/v2/') || requirement === 'login') continue;
      for (const [right, token] of Object.entries(tokens)) {
        if (right === requirement) continue;
        const response = await world.fetch(method, path, { authorization: `Bearer ${token}` });
        expect(`${method} ${path} with ${right}: ${response.status}`).toBe(`${method} ${path} with ${right}: 401`);
        expect(challenge(response)).toContain('error="insufficient_scope"');
      }
    }
    expect((await world.fetch('GET', '/v2/acme/api/tags/list', { authorization: `Bearer ${tokens.pull}` })).status).toBe(200);
    expect((await world.fetch('POST', '/v2/acme/api/blobs/uploads/', { authorization: `Bearer ${tokens.push}` })).status).toBe(
      202,
    );
    expect((await world.fetch('GET', '/v2/_catalog', { authorization: `Bearer ${tokens.catalog}` })).status).toBe(200);
    expect((await world.fetch('GET', '/v2/', { authorization: `Bearer ${tokens.elsewhere}` })).status).toBe(200);
  });
});

describe('an access token is refused', () => {
  const now = Math.floor(Date.now() / 1000);
  test.each<[string, Record<string, unknown>]>([
    ['past its time', { exp: now - 1 }],
    ['without an end', { exp: undefined }],
    ['whose end is no number', { exp: 'tomorrow' }],
    ['that lives longer than we ever give', { exp: now + 100_000 }],
    ['that never ends', { exp: 1e308 }],
    ['before its time', { nbf: now + 1000 }],
    ['issued in the future', { iat: now + 1000, exp: now + 1200 }],
    ['without a time of issue', { iat: undefined }],
    ['of another issuer', { iss: 'other' }],
    ['for another audience', { aud: 'elsewhere.test' }],
    ['for several audiences', { aud: ['registry.test', 'elsewhere.test'] }],
    ['without an audience', { aud: undefined }],
    ['without a subject', { sub: undefined }],
    ['without an id', { jti: undefined }],
  ])('%s', async (_, claims) => {
    const authorization = `Bearer ${await forge(world, 'access-token', claims)}`;
    expect(await refusal(await world.fetch('GET', '/v2/acme/api/tags/list', { authorization }))).toBe('401 UNAUTHORIZED');
  });

  test.each<[string, Record<string, unknown>]>([
    ['of an account that is not there', { sub: 'user:nobody' }],
    ['made in an epoch that is over', { via: { epoch: 7 } }],
    ['of a key that is not there', { via: { epoch: 0, key: 'BRTHAAAAAAAAAAAAAAAA' } }],
    ['of a job as older versions wrote it down', { sub: 'ci:acme/x', via: { epoch: 0, rules: ['ci:acme/x'] } }],
    [
      'of a job that no trust rule is about',
      {
        sub: 'ci:acme/x',
        via: {
          epoch: 0,
          job: { claims: { iss: 'https://ci.test', sub: 'a' }, omitted: [], audiences: [], at: 2e9, since: 2e9 },
        },
      },
    ],
    ['that does not say what it was made with', { via: undefined }],
  ])('where something would change: one %s', async (_, claims) => {
    const authorization = `Bearer ${await forge(world, 'access-token', claims)}`;
    expect(await refusal(await world.fetch('POST', '/v2/acme/api/blobs/uploads/', { authorization }))).toBe('401 UNAUTHORIZED');
    expect(await refusal(await world.fetch('DELETE', '/v2/acme/api/manifests/v1', { authorization }))).toBe('401 UNAUTHORIZED');
  });

  test('of another kind, even if we signed it', async () => {
    const kinds = [
      await forge(world, 'access-token', {}, { typ: 'berth-refresh+jwt' }),
      await forge(world, 'access-token', {}, { typ: 'JWT' }),
      await forge(world, 'refresh-token', {}),
      await forge(world, 'upload-location', {}, { typ: 'berth-upload+jwt' }),
    ];
    for (const token of kinds) {
      expect((await world.fetch('GET', '/v2/acme/api/tags/list', { authorization: `Bearer ${token}` })).status).toBe(401);
    }
  });

  test('of a deployment with another secret', async () => {
    const other = worldOf({ ...world.env, REGISTRY_SECRET: 'another-secret-of-the-tests-0123456789' });
    const authorization = `Bearer ${await forge(other, 'access-token', {})}`;
    expect((await world.fetch('GET', '/v2/acme/api/tags/list', { authorization })).status).toBe(401);
  });

  test('if its header names a key, wherever that key is', async () => {
    const tricks = [
      { kid: '../../key' },
      { kid: '__proto__' },
      { kid: "' OR 1=1" },
      { jku: 'https://evil.test/jwks' },
      { x5u: 'https://evil.test/x' },
    ];
    const other = worldOf({ ...world.env, REGISTRY_SECRET: 'another-secret-of-the-tests-0123456789' });
    for (const header of tricks) {
      const authorization = `Bearer ${await forge(other, 'access-token', {}, header)}`;
      expect((await world.fetch('GET', '/v2/acme/api/tags/list', { authorization })).status).toBe(401);
    }
  });

  test('without a signature', async () => {
    const claims = { access: [{ type: 'repository', name: 'acme/api', actions: ['pull'] }], jti: 'x' };
    const unsigned = new UnsecuredJWT(claims)
      .setIssuer('berth')
      .setAudience('registry.test')
      .setSubject('user:admin')
      .setIssuedAt()
      .setNotBefore('0s')
      .setExpirationTime('1m')
      .encode();
    expect((await world.fetch('GET', '/v2/acme/api/tags/list', { authorization: `Bearer ${unsigned}` })).status).toBe(401);
  });

  test.each(['Bearer', 'Bearer ', 'Bearer x', 'Bearer a.b.c', 'Digest x', 'x', `Bearer ${'x'.repeat(60_000)}`])(
    'if it is %.20s',
    async (authorization) => {
      const response = await world.fetch('GET', '/v2/acme/api/tags/list', { authorization });
      expect(await refusal(response.clone())).toBe('401 UNAUTHORIZED');
      expect(challenge(response)).toContain('error="invalid_token"');
    },
  );

  test('for a host that is not ours, even if all else is valid', async () => {
    const authorization = `Bearer ${await forge(world, 'access-token', {})}`;
    expect((await world.fetch('GET', 'https://elsewhere.test/v2/acme/api/tags/list', { authorization })).status).toBe(401);
    expect((await world.fetch('GET', '/v2/acme/api/tags/list', { authorization })).status).toBe(200);
  });
});

test('a cached valid token is checked again for its time, host and secret', async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  try {
    const authorization = `Bearer ${await forge(world, 'access-token', {})}`;
    const status = async (at: World, path = '/v2/acme/api/tags/list') =>
      (await at.fetch('GET', path, { authorization })).status;
    expect(await status(world)).toBe(200);
    expect(await status(worldOf({ ...world.env, REGISTRY_SECRET: 'another-secret-of-the-tests-0123456789' }))).toBe(401);
    expect(await status(world, 'https://elsewhere.test/v2/acme/api/tags/list')).toBe(401);
    expect(await status(world)).toBe(200);
    vi.advanceTimersByTime(301_000);
    expect(await status(world)).toBe(401);
  } finally {
    vi.useRealTimers();
  }
});

test('a password works on /v2/ without a token', async () => {
  expect((await world.fetch('GET', '/v2/')).status).toBe(200);
  expect((await world.fetch('GET', '/v2/acme/api/manifests/v1')).status).toBe(200);
  expect((await world.fetch('GET', '/v2/', { authorization: `Basic ${btoa('admin:wrong')}` })).status).toBe(401);
});

test('after the secret is replaced, a token signed with the previous secret works until it expires', async () => {
  await forgetOwner(world);
  const token = await tokenFor(world, 'repository:acme/api:pull');
  const replaced = {
    ...world.env,
    REGISTRY_SECRET: 'the-secret-that-came-after-0123456789',
    REGISTRY_SECRET_PREVIOUS: world.env.REGISTRY_SECRET ?? '',
  };
  const authorization = `Bearer ${token}`;
  expect((await worldOf(replaced).fetch('GET', '/v2/acme/api/tags/list', { authorization })).status).toBe(200);
  expect(
    (await worldOf({ ...replaced, REGISTRY_SECRET_PREVIOUS: '' }).fetch('GET', '/v2/acme/api/tags/list', { authorization }))
      .status,
  ).toBe(401);
});

test("mounting from a repository outside the token's scope starts an upload, and without a token it gets a challenge with both scopes", async () => {
  const { layers } = JSON.parse(new TextDecoder().decode(image.bytes)) as { layers: { digest: string }[] };
  const mount = `/v2/acme/other/blobs/uploads/?mount=${layers[0]?.digest}&from=acme/api`;
  const narrow = await tokenFor(world, 'repository:acme/other:pull,push');
  const begun = await world.fetch('POST', mount, { authorization: `Bearer ${narrow}` });
  expect([begun.status, begun.headers.get('location')]).toEqual([
    202,
    expect.stringContaining('/v2/acme/other/blobs/uploads/'),
  ]);
  const both = 'scope="repository:acme/other:pull,push repository:acme/api:pull"';
  expect(challenge(await world.fetch('POST', mount, { authorization: null }))).toContain(both);
  const wide = await tokenFor(world, 'repository:acme/other:pull,push', 'repository:acme/api:pull');
  expect((await world.fetch('POST', mount, { authorization: `Bearer ${wide}` })).status).toBe(201);
});
