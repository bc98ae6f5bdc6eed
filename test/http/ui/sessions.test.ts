/** Sessions of browsers: signing in and out, where a session counts, and what forms of other sites can do. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { createKey } from '../../../src/app/keys.ts';
import { createLoginPassword } from '../../../src/app/login.ts';
import { Browser, browserOf } from '../../world/browser.ts';
import { callAs, reasonOf } from '../../world/call.ts';
import { api, inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, ORIGIN, type World, worldOf } from '../../world/world.ts';

let alice: Person;
const fresh = builtOnce(async (built) => {
  alice = await inviteUser(built, 'alice');
  await api(built, 'PUT', '/repositories/alice/api', { as: alice.basic, body: {} });
});

let world: World;
beforeEach(async () => {
  world = await fresh();
});

describe('signing in', () => {
  test('by an access key sets one cookie that scripts and other sites cannot use', async () => {
    const response = await new Browser(world).signIn('alice', alice.secret);
    expect([response.status, response.headers.get('location')]).toEqual([303, '/']);
    expect(response.headers.get('set-cookie')).toMatch(
      /^__Host-berth=[\w.-]+; Path=\/; HttpOnly; SameSite=Lax; Max-Age=4\d{4}; Secure$/,
    );
  });

  test('by the key alone works, and by a wrong key or name does not', async () => {
    expect((await new Browser(world).signIn('', alice.secret)).status).toBe(303);
    for (const [name, secret] of [
      ['alice', `${alice.secret}x`],
      ['bob', alice.secret],
      ['alice', ''],
    ] as const) {
      const response = await new Browser(world).signIn(name, secret);
      expect(response.headers.get('set-cookie')).toBeNull();
      expect([response.status, (await response.text()).includes('role="alert"')]).toEqual([401, true]);
    }
  });

  test('by a login password is refused: it may not administer, and a session may', async () => {
    const { body } = await api<{ password: string }>(world, 'POST', '/login-password', { as: alice.basic, body: {} });
    const response = await new Browser(world).signIn('alice', body.password);
    expect([response.status, response.headers.get('set-cookie')]).toEqual([403, null]);
  });

  test.each([
    '//evil.example',
    'https://evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    '/%09/evil.example',
    '/\t/evil.example',
    'javascript:alert(1)',
    '/x\r\nset-cookie: a=b',
    'evil.example',
  ])('leads to / if the page to return to is %j', async (next) => {
    const response = await new Browser(world).post('/sign-in', { name: 'alice', password: alice.secret, next });
    const location = response.headers.get('location') ?? '';
    expect(new URL(location, ORIGIN).origin).toBe(ORIGIN);
    expect(location.startsWith('/') && !location.startsWith('//')).toBe(true);
  });

  test('leads back to the page that asked for it', async () => {
    const browser = new Browser(world);
    const refused = await browser.get('/repositories/alice/api?sort=name');
    const signIn = refused.headers.get('location') ?? '';
    expect([refused.status, signIn]).toEqual([303, '/sign-in?next=%2Frepositories%2Falice%2Fapi%3Fsort%3Dname']);
    const next = new URL(signIn, ORIGIN).searchParams.get('next') ?? '';
    const response = await browser.post('/sign-in', { name: 'alice', password: alice.secret, next });
    expect(response.headers.get('location')).toBe('/repositories/alice/api?sort=name');
  });
});

describe('a session', () => {
  test('counts in the console only: /v2, /token and /api treat it as no credential', async () => {
    const browser = await browserOf(world, 'alice', alice.secret);
    const headers = { cookie: browser.cookie ?? '' };
    const ask = (path: string) => world.fetch('GET', path, { authorization: null, headers });
    expect((await ask('/v2/')).status).toBe(401);
    expect((await ask('/api/v1/me')).status).toBe(401);
    const { access_token: token } = await (await ask('/token?scope=repository:alice/api:pull')).json<{
      access_token: string;
    }>();
    expect(JSON.parse(atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/')))).toMatchObject({ sub: '' });
    for (const value of [browser.cookie?.split('=')[1] ?? '']) {
      expect((await world.fetch('GET', '/api/v1/me', { authorization: `Bearer ${value}` })).status).toBe(401);
      expect((await world.fetch('GET', '/v2/', { authorization: `Bearer ${value}` })).status).toBe(401);
    }
  });

  test('is the only credential that the console reads', async () => {
    const response = await world.fetch('GET', '/repositories/alice/api', { headers: { accept: 'text/html' } });
    expect(response.status).toBe(303);
  });

  test('counts as none if the browser sends two', async () => {
    const browser = await browserOf(world, 'alice', alice.secret);
    const other = await browserOf(world);
    const both = await new Browser(world).get('/repositories/alice/api', { cookie: `${browser.cookie}; ${other.cookie}` });
    expect(both.status).toBe(303);
  });

  test.each([
    ['the key is revoked', () => api(world, 'DELETE', `/keys/${alice.keyId}`, { as: alice.basic })],
    ['the user is disabled', () => api(world, 'PATCH', '/users/alice', { body: { disabled: true } })],
    ['the user logs out everywhere', () => api(world, 'DELETE', '/me/logins', { as: alice.basic })],
  ])('ends at the next click if %s', async (_, end) => {
    const browser = await browserOf(world, 'alice', alice.secret);
    expect((await browser.get('/repositories/alice/api')).status).toBe(200);
    await end();
    expect((await browser.get('/repositories/alice/api')).status).toBe(303);
    expect(await (await browser.get('/repositories')).text()).not.toContain('alice/api');
  });

  test('ends when the person signs out, also for a copy of the cookie', async () => {
    const browser = await browserOf(world, 'alice', alice.secret);
    const copy = new Browser(world);
    copy.cookie = browser.cookie;
    const response = await browser.post('/sign-out', {});
    expect([response.status, response.headers.get('clear-site-data'), browser.cookie]).toEqual([303, '"cache"', null]);
    expect((await copy.get('/repositories/alice/api')).status).toBe(303);
  });

  test('is renewed while it is used, and ends after 30 days', async () => {
    const browser = await browserOf(world, 'alice', alice.secret);
    const first = browser.cookie;
    const begun = Date.now();
    vi.useFakeTimers({ now: begun, toFake: ['Date'] });
    try {
      vi.setSystemTime(begun + 5 * 3600_000);
      await browser.page('/repositories/alice/api');
      expect(browser.cookie).toBe(first);
      vi.setSystemTime(begun + 7 * 3600_000);
      await browser.page('/repositories/alice/api');
      expect(browser.cookie).not.toBe(first);
      vi.setSystemTime(begun + 20 * 3600_000);
      expect((await browser.get('/repositories/alice/api')).status).toBe(303);
    } finally {
      vi.useRealTimers();
    }
  });

  test('makes no key and no login password, whatever door asks', async () => {
    const call = await callAs(world, alice);
    const signedIn = { ...call, authority: { ...call.authority, credentialKind: 'session' as const } };
    expect(await reasonOf(world, () => createKey(signedIn, { name: 'x' }, null))).toBe('forbidden');
    expect(await reasonOf(world, () => createLoginPassword(signedIn, undefined))).toBe('forbidden');
    expect((await createKey(call, { name: 'x' }, null)).secret).not.toBe('');
  });

  test('is no more than the key: a narrowed one shows what the key shows', async () => {
    const statements = [{ effect: 'allow', actions: ['pull'], repositories: ['alice/other'] }];
    const { body } = await api<{ secret: string }>(world, 'POST', '/keys', {
      as: alice.basic,
      body: { name: 'n', statements },
    });
    const browser = await browserOf(world, 'alice', body.secret);
    expect((await browser.get('/repositories/alice/api')).status).toBe(404);
  });
});

describe('a form', () => {
  const forge = (headers: Record<string, string>) => async (browser: Browser) =>
    browser.post('/repositories/-/new', { namespace: 'alice', name: 'forged', visibility: 'private' }, headers);

  test.each([
    ['another site', forge({ 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' })],
    ['a neighbouring host', forge({ 'sec-fetch-site': 'same-site', origin: 'https://other.registry.test' })],
    ['another origin, of an old browser', forge({ 'sec-fetch-site': '', origin: 'https://evil.example' })],
    ['nowhere', forge({ 'sec-fetch-site': 'none', origin: 'null' })],
  ])('that %s sent is refused, and changes nothing', async (_, send) => {
    const browser = await browserOf(world, 'alice', alice.secret);
    expect((await send(browser)).status).toBe(403);
    expect((await browser.get('/repositories/alice/forged')).status).toBe(404);
  });

  test('without Origin and Sec-Fetch-Site is refused', async () => {
    const browser = await browserOf(world, 'alice', alice.secret);
    const response = await world.fetch('POST', '/repositories/-/new', {
      authorization: null,
      headers: { cookie: browser.cookie ?? '', 'content-type': 'application/x-www-form-urlencoded' },
      body: 'namespace=alice&name=forged',
    });
    expect(response.status).toBe(403);
  });

  test.each(['text/plain', 'application/json', 'multipart/form-data; boundary=x'])('of type %s is refused', async (type) => {
    const browser = await browserOf(world, 'alice', alice.secret);
    expect((await forge({ 'content-type': type })(browser)).status).toBe(400);
    expect((await browser.get('/repositories/alice/forged')).status).toBe(404);
  });

  test('that is refused comes back filled in, with the reason', async () => {
    const browser = await browserOf(world, 'alice', alice.secret);
    const sent = { namespace: 'alice', name: 'UPPER', description: 'keep <me>', visibility: 'public' };
    const response = await browser.post('/repositories/-/new', sent);
    const text = await response.text();
    expect(response.status).toBe(400);
    expect(text).toContain('value="UPPER"');
    expect(text).toContain('value="keep &lt;me&gt;"');
    expect(text).toContain('role="alert"');
  });

  test('creates a repository, and leads to its page', async () => {
    const browser = await browserOf(world, 'alice', alice.secret);
    const response = await browser.post('/repositories/-/new', { namespace: 'alice', name: 'web', visibility: 'public' });
    expect([response.status, response.headers.get('location')]).toEqual([303, '/repositories/alice/web?notice=created']);
    const page = await browser.page('/repositories/alice/web?notice=created');
    expect(page).toContain('Created.');
    expect(page).toContain('docker push registry.test/alice/web:latest');
    expect(await new Browser(world).page('/repositories')).toContain('alice/web');
  });
});

test('another host name that leads to a laptop gets no form to sign in, and no session', async () => {
  const laptop = worldOf({ ...world.env, PUBLIC_URL: 'http://localhost:8787' });
  const page = await (await laptop.fetch('GET', '/sign-in', { authorization: null })).text();
  expect(page).not.toContain('type="password"');
  const response = await new Browser(laptop).post(
    '/sign-in',
    { name: 'alice', password: alice.secret },
    { origin: 'http://localhost:8787' },
  );
  expect([response.status, response.headers.get('set-cookie')]).toEqual([403, null]);
});

test('a proxy may change the host of a request: sessions are those of PUBLIC_URL', async () => {
  const proxied = worldOf({ ...world.env, PUBLIC_URL: 'https://registry.example.com' });
  const browser = new Browser(proxied);
  const headers = { origin: 'https://registry.example.com' };
  expect((await browser.post('/sign-in', { name: 'alice', password: alice.secret }, headers)).status).toBe(303);
  expect((await browser.get('/repositories/alice/api')).status).toBe(200);
});

describe('a reference in the address bar', () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  test.each([
    ['/alice/api', '/repositories/alice/api'],
    ['/hello-world:v1', '/repositories/hello-world/-/tags/v1'],
    ['/alice/api:v1.2', '/repositories/alice/api/-/tags/v1.2'],
    [`/alice/api@${digest}`, `/repositories/alice/api/-/images/${digest}`],
    [`/alice/api:v1@${digest}`, `/repositories/alice/api/-/images/${digest}`],
  ])('%s leads to %s, whether or not it exists', async (path, page) => {
    const response = await new Browser(world).get(path);
    expect([response.status, response.headers.get('location')]).toEqual([303, page]);
  });

  test.each(['/alice', '/Alice/api', '/alice/api:', '/alice/api@sha256:abc', '/alice//api'])(
    '%s leads nowhere',
    async (path) => {
      expect([400, 404]).toContain((await new Browser(world).get(path)).status);
    },
  );
});
