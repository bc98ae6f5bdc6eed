/** Sign-in by a provider whose answers are wrong: none of them begins a session. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { linkIdentity } from '../../../src/auth/outside/identities.ts';
import { INTERNET } from '../../../src/outbound/request.ts';
import { ADMINISTRATOR, Browser, browserOf } from '../../world/browser.ts';
import { inviteUser } from '../../world/people.ts';
import { type Issuer, newIssuer } from '../../world/token-issuer.ts';
import { newWorld, ORIGIN, type World, worldOf } from '../../world/world.ts';

const CALLBACK = `${ORIGIN}/sign-in/provider/callback`;

let world: World;
let issuer: Issuer;
/** The claims that the provider puts into the next ID token. */
let claims: Record<string, unknown>;

beforeEach(async () => {
  issuer = await newIssuer();
  claims = {};
  const json = (body: object, status = 200) => Response.json(body, { status });
  issuer.answers[issuer.configuration] = () =>
    json({
      issuer: issuer.url,
      jwks_uri: issuer.jwks,
      authorization_endpoint: `${issuer.url}/authorize`,
      token_endpoint: `${issuer.url}/token`,
      id_token_signing_alg_values_supported: ['ES256'],
      authorization_response_iss_parameter_supported: true,
    });
  issuer.answers[`${issuer.url}/token`] = async () =>
    json({ access_token: 'x', token_type: 'bearer', expires_in: 60, id_token: await issuer.sign(claims) });
  vi.spyOn(INTERNET, 'fetch').mockImplementation(issuer.world().fetch as never);
  const empty = await newWorld();
  world = worldOf({ ...empty.env, OIDC_ISSUER: issuer.url, OIDC_CLIENT_ID: 'berth' });
  await (await browserOf(world)).page('/');
  await linkIdentity(world.env, 'user:admin', { issuer: issuer.url, subject: 'somebody' }, { subject: 'user:admin' });
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** Begins a sign-in. @returns what the provider learns, and the cookie that the browser keeps */
async function begin(next = '/repositories') {
  const response = await new Browser(world).get(`/sign-in/provider?next=${next}`);
  const asked = new URL(response.headers.get('location') ?? '');
  const cookie = (response.headers.getSetCookie()[0] ?? '').split(';', 1)[0] ?? '';
  const at = Math.floor(Date.now() / 1000);
  claims = { aud: 'berth', sub: 'somebody', nonce: asked.searchParams.get('nonce'), iat: at, nbf: undefined, exp: at + 60 };
  return { asked, cookie, state: asked.searchParams.get('state') ?? '' };
}

async function back(cookie: string | null, query: Record<string, string>): Promise<{ status: number; session: boolean }> {
  const path = `/sign-in/provider/callback?${new URLSearchParams(query)}`;
  const response = await new Browser(world).get(path, cookie === null ? {} : { cookie });
  return { status: response.status, session: response.headers.getSetCookie().some((one) => /^__Host-berth=./.test(one)) };
}

test('the provider is asked for a code with PKCE, a state and a nonce, and for nothing but the identity', async () => {
  const { asked, cookie } = await begin();
  expect(Object.fromEntries(asked.searchParams)).toMatchObject({
    client_id: 'berth',
    redirect_uri: CALLBACK,
    response_type: 'code',
    scope: 'openid',
    code_challenge_method: 'S256',
    state: expect.stringMatching(/^[\w-]{40,}$/),
    nonce: expect.stringMatching(/^[\w-]{40,}$/),
  });
  expect(cookie).toMatch(/^__Host-berth-sign-in=/);
});

test('the right answer begins a session, and leads to the page that was asked for', async () => {
  const { cookie, state } = await begin();
  expect(await back(cookie, { code: 'c', state, iss: issuer.url })).toEqual({ status: 303, session: true });
});

test.each(['//evil.example', '/\\evil.example', 'https:evil.example', '%2f%2fevil.example', '/x%0d%0aset-cookie:a=b'])(
  'a sign-in that is to lead to %s leads to a page of the registry',
  async (next) => {
    const { cookie, state } = await begin(next);
    const query = new URLSearchParams({ code: 'c', state, iss: issuer.url });
    const response = await new Browser(world).get(`/sign-in/provider/callback?${query}`, { cookie });
    expect([response.status, response.headers.get('location')]).toEqual([303, '/']);
  },
);

describe('no session begins', () => {
  test.each<[string, (begun: { cookie: string; state: string }) => Promise<unknown> | unknown, Record<string, string>?]>([
    ['without the cookie of this browser', (begun) => Object.assign(begun, { cookie: null })],
    ['with the cookie of another sign-in', async (begun) => Object.assign(begun, { cookie: (await begin()).cookie })],
    ['with another state', (begun) => Object.assign(begun, { state: 'x'.repeat(43) })],
    ['if the provider says that it is another one', () => {}, { iss: 'https://other.example' }],
    ['if the provider does not say who it is', () => {}, { iss: '' }],
    ['with an error of the provider', () => {}, { error: 'access_denied' }],
    ['with another nonce', () => Object.assign(claims, { nonce: 'another' })],
    ['without a nonce', () => Object.assign(claims, { nonce: undefined })],
    ['for another client', () => Object.assign(claims, { aud: 'another' })],
    ['with an ID token that has expired', () => Object.assign(claims, { exp: 1 })],
    ['with an ID token of another issuer', () => Object.assign(claims, { iss: 'https://other.example' })],
    ['for an identity that is linked to nobody', () => Object.assign(claims, { sub: 'nobody', email: 'admin@registry.test' })],
    [
      'with a signature of a key that the provider does not have',
      async () => {
        issuer.keys = [];
      },
    ],
  ])('%s', async (_, spoil, query = {}) => {
    const begun: { cookie: string | null; state: string } = await begin();
    await spoil(begun as never);
    const { status, session } = await back(begun.cookie, { code: 'c', state: begun.state, iss: issuer.url, ...query });
    expect([session, status]).toEqual([false, expect.toSatisfy((code: number) => code === 401 || code === 403)]);
  });

  test('for a user who is disabled', async () => {
    const { cookie, state } = await begin();
    await world.env.DB.prepare("UPDATE accounts SET disabled = 1 WHERE subject = 'user:admin'").run();
    expect(await back(cookie, { code: 'c', state, iss: issuer.url })).toEqual({ status: 403, session: false });
  });

  test('while the provider cannot be reached: that is a 503, and an access key still signs in', async () => {
    issuer.answers[issuer.configuration] = () => new Response(null, { status: 500 });
    const response = await new Browser(world).get('/sign-in/provider');
    expect(response.status).toBe(503);
    expect((await new Browser(world).signIn()).status).toBe(303);
  });
});

test('an identity that another person went through is linked only by a confirmed form of the same account', async () => {
  const admin = await browserOf(world);
  const response = await admin.get('/account/identities/link');
  const asked = new URL(response.headers.get('location') ?? '');
  const pending = (response.headers.getSetCookie()[0] ?? '').split(';', 1)[0] ?? '';
  const at = Math.floor(Date.now() / 1000);
  claims = { aud: 'berth', sub: 'new', nonce: asked.searchParams.get('nonce'), iat: at, nbf: undefined, exp: at + 60 };
  const query = new URLSearchParams({ code: 'c', state: asked.searchParams.get('state') ?? '', iss: issuer.url });
  const signedOut = await new Browser(world).get(`/sign-in/provider/callback?${query}`, { cookie: pending });
  expect(signedOut.status).toBe(401);
  const page = await admin.get(`/sign-in/provider/callback?${query}`, { cookie: `${admin.cookie}; ${pending}` });
  const identity = /name="identity" value="([^"]+)"/.exec(await page.text())?.[1] ?? '';
  const password = ADMINISTRATOR.password;
  const rows = async () => (await world.env.DB.prepare('SELECT subject FROM identities ORDER BY subject').all()).results;
  expect(await rows()).toEqual([{ subject: 'somebody' }]);
  expect((await admin.post('/account/identities', { identity: `${identity}x`, password })).status).toBe(400);
  // A signed-in browser alone links nothing: the identity could be that of a thief.
  const alone = await admin.post('/account/identities', { identity });
  expect([alone.status, (await alone.text()).includes('name="password"')]).toEqual([401, true]);
  expect(await rows()).toEqual([{ subject: 'somebody' }]);
  expect((await admin.post('/account/identities', { identity, password })).status).toBe(303);
  expect(await rows()).toEqual([{ subject: 'new' }, { subject: 'somebody' }]);
});

describe('a new sign-in at the provider', () => {
  /** A browser that is signed in by the provider. Its person has no access key. */
  let person: Browser;

  beforeEach(async () => {
    person = await signedIn();
  });

  async function signedIn(): Promise<Browser> {
    const { cookie, state } = await begin();
    const browser = new Browser(world);
    const query = new URLSearchParams({ code: 'c', state, iss: issuer.url });
    expect((await browser.get(`/sign-in/provider/callback?${query}`, { cookie })).status).toBe(303);
    return browser;
  }

  /** Begins a new sign-in, which the provider answers with these claims. @returns the callback and the cookie for it */
  async function beginAgain(browser: Browser, changed: Record<string, unknown> = {}) {
    const response = await browser.get('/account/keys/-/new/provider');
    const asked = new URL(response.headers.get('location') ?? '');
    const at = Math.floor(Date.now() / 1000);
    const nonce = asked.searchParams.get('nonce');
    claims = { aud: 'berth', sub: 'somebody', nonce, iat: at, nbf: undefined, exp: at + 60, auth_time: at, ...changed };
    const query = new URLSearchParams({ code: 'c', state: asked.searchParams.get('state') ?? '', iss: issuer.url });
    const pending = (response.headers.getSetCookie()[0] ?? '').split(';', 1)[0] ?? '';
    return { asked, pending, callback: `/sign-in/provider/callback?${query}` };
  }

  /** The answer to the callback, and the confirmation in its form; empty if there is none. */
  async function finish(browser: Browser, { pending, callback }: { pending: string; callback: string }) {
    const response = await browser.get(callback, { cookie: `${browser.cookie}; ${pending}` });
    const confirmation = /name="confirmation" value="([^"]+)"/.exec(await response.text())?.[1] ?? '';
    return { status: response.status, confirmation };
  }

  const make = (browser: Browser, confirmation: string, name = 'first', headers = {}) =>
    browser.post('/account/keys/-/new', { name, confirmation }, headers);
  const keys = async () => (await world.env.DB.prepare('SELECT name FROM access_keys').all()).results.map(({ name }) => name);

  test('makes one key for a person who has none', async () => {
    expect(await person.page('/account/keys/-/new')).toContain('href="/account/keys/-/new/provider"');
    const begun = await beginAgain(person);
    expect(Object.fromEntries(begun.asked.searchParams)).toMatchObject({ prompt: 'login', max_age: '0' });
    const { status, confirmation } = await finish(person, begun);
    expect(status).toBe(200);
    const refused = await make(person, confirmation, '');
    expect([refused.status, (await refused.text()).includes(confirmation)]).toEqual([400, true]);
    const made = await make(person, confirmation);
    expect([made.status, (await made.text()).includes('data-secret')]).toEqual([200, true]);
    const second = await make(person, confirmation, 'second');
    expect([second.status, await keys()]).toEqual([409, ['first']]);
  });

  test('makes one key even if the provider takes its code twice', async () => {
    const begun = await beginAgain(person);
    const all = [await finish(person, begun), await finish(person, begun)];
    const [one = '', two = ''] = all.map(({ confirmation }) => confirmation);
    expect((await make(person, one)).status).toBe(200);
    expect([(await make(person, two, 'second')).status, await keys()]).toEqual([409, ['first']]);
  });

  test.each<[string, Record<string, unknown>]>([
    ['the provider does not say when the person signed in', { auth_time: undefined }],
    ['the person signed in at the provider before', { auth_time: Math.floor(Date.now() / 1000) - 120 }],
    ['the time is in the future', { auth_time: Math.floor(Date.now() / 1000) + 3600 }],
    ['the time is a text', { auth_time: String(Math.floor(Date.now() / 1000)) }],
    ['the identity is linked to nobody', { sub: 'a thief' }],
    ['the identity is linked to another account', { sub: 'bob' }],
    ['the ID token is for another sign-in', { nonce: 'another' }],
  ])('confirms nothing if %s', async (_, changed) => {
    await inviteUser(world, 'bob');
    await linkIdentity(world.env, 'user:bob', { issuer: issuer.url, subject: 'bob' }, { subject: 'user:admin' });
    const { status, confirmation } = await finish(person, await beginAgain(person, changed));
    expect([401, 403]).toContain(status);
    expect(confirmation).toBe('');
  });

  test('confirms nothing in another session: neither its answer nor its confirmation can be given to somebody else', async () => {
    const other = await signedIn();
    const begun = await beginAgain(person);
    expect(await finish(other, begun)).toEqual({ status: 403, confirmation: '' });
    const { confirmation } = await finish(person, begun);
    expect((await make(other, confirmation)).status).toBe(403);
    await linkIdentity(world.env, 'user:admin', { issuer: issuer.url, subject: 'new' }, { subject: 'user:admin' });
    const signedOut = new Browser(world);
    expect((await make(signedOut, confirmation)).status).toBe(303);
    expect(await keys()).toEqual([]);
  });

  test('is needed: neither the session alone, nor what other sign-ins leave, makes a key', async () => {
    expect((await person.post('/account/keys/-/new', { name: 'stolen' })).status).toBe(401);
    expect((await make(person, 'made up')).status).toBe(403);
    // An ordinary sign-in confirms no key, even one that the provider has asked for anew.
    const { cookie, state } = await begin();
    claims = { ...claims, auth_time: claims.iat };
    const query = new URLSearchParams({ code: 'c', state, iss: issuer.url });
    const response = await person.get(`/sign-in/provider/callback?${query}`, { cookie: `${person.cookie}; ${cookie}` });
    expect([response.status, response.headers.get('location')]).toEqual([303, '/repositories']);
    expect((await make(person, cookie.split('=')[1] ?? '')).status).toBe(403);
    expect(await keys()).toEqual([]);
  });

  test('confirms a key for ten minutes, while the identity is linked', async () => {
    const { confirmation } = await finish(person, await beginAgain(person));
    vi.useFakeTimers({ now: Date.now() + 11 * 60_000, toFake: ['Date'] });
    expect((await make(person, confirmation)).status).toBe(403);
    vi.useRealTimers();
    await person.post('/account/identities/remove', { issuer: issuer.url, subject: 'somebody' });
    expect((await make(person, confirmation)).status).toBe(403);
    expect(await person.page('/account/keys/-/new')).not.toContain('href="/account/keys/-/new/provider"');
    expect(await keys()).toEqual([]);
  });
});

test('a registry without a provider has no such page', async () => {
  const plain = worldOf({ ...world.env, OIDC_ISSUER: '', OIDC_CLIENT_ID: '' });
  expect((await new Browser(plain).get('/sign-in/provider')).status).toBe(404);
  expect(await new Browser(plain).page('/sign-in')).not.toContain('/sign-in/provider');
});

describe('by Cloudflare Access', () => {
  const AUDIENCE_TAG = 'a'.repeat(64);
  let behind: World;

  beforeEach(async () => {
    issuer.answers[`${issuer.url}/cdn-cgi/access/certs`] = () => Response.json({ keys: issuer.keys });
    behind = worldOf({ ...world.env, ACCESS_ISSUER: issuer.url, ACCESS_AUDIENCE: AUDIENCE_TAG });
  });

  async function arrive(changed: Record<string, unknown> = {}, key = issuer.key): Promise<Response> {
    const at = Math.floor(Date.now() / 1000);
    const token = await issuer.sign(
      { aud: [AUDIENCE_TAG], sub: 'somebody', iat: at, nbf: at, exp: at + 60, ...changed },
      {},
      key,
    );
    return new Browser(behind).get('/sign-in/access?next=/repositories', { 'cf-access-jwt-assertion': token });
  }

  test('a person whose identity is linked is signed in', async () => {
    const response = await arrive();
    expect([response.status, response.headers.get('location')]).toEqual([303, '/repositories']);
    expect(response.headers.get('set-cookie')).toMatch(/^__Host-berth=./);
  });

  test.each([
    ['for another application', { aud: ['b'.repeat(64)] }],
    ['of another team', { iss: 'https://other.cloudflareaccess.com' }],
    ['that has expired', { exp: 1 }],
    ['of a service, which is no person', { sub: '' }],
    [
      'of somebody who is linked to nobody, with the e-mail of somebody who is',
      { sub: 'nobody', email: 'admin@registry.test' },
    ],
  ])('a token %s begins no session', async (_, changed) => {
    const response = await arrive(changed);
    expect([401, 403]).toContain(response.status);
    expect(response.headers.get('set-cookie')).toBeNull();
  });

  test('a token that somebody else has signed begins no session, and neither does a request without one', async () => {
    const stranger = await newIssuer();
    for (const response of [await arrive({}, stranger.key), await new Browser(behind).get('/sign-in/access')]) {
      expect([response.status, response.headers.get('set-cookie')]).toEqual([401, null]);
    }
  });

  test('the header alone is nothing on other pages, nor for a registry that does not use Access', async () => {
    const at = Math.floor(Date.now() / 1000);
    const token = await issuer.sign({ aud: [AUDIENCE_TAG], sub: 'somebody', iat: at, nbf: at, exp: at + 60 });
    const headers = { 'cf-access-jwt-assertion': token };
    expect((await new Browser(behind).get('/account', headers)).status).toBe(303);
    expect((await new Browser(world).get('/sign-in/access', headers)).status).toBe(404);
  });
});
