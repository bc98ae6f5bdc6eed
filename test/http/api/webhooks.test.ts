/** Webhooks through the API: who may create them, which fields are shown, and how they are changed, tested and deleted. */
import { env as bindings } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Env } from '../../../src/env.ts';
import { TIMEOUT_MS } from '../../../src/webhooks/delivery/attempt.ts';
import { pushImage } from '../../world/images.ts';
import { everyOrder } from '../../world/interleaving.ts';
import { eventsDuring, everyItem, makeOrganization, makeRobot, tally } from '../../world/organizations.ts';
import {
  type ApiAnswer,
  type ApiRequest,
  api as anyApi,
  basicOf,
  inviteUser,
  type Person,
  refused,
} from '../../world/people.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

/** Secrets that must never be shown after they were sent. */
const HIDDEN = { query: 'query-0b6a7', header: 'header-5c1d9', path: 'path-77ab3' };
const URL_ = `https://hooks.example.com/in?token=${HIDDEN.query}`;
const HEADERS = { Authorization: `Bearer ${HIDDEN.header}`, 'X-Team': 'blue' };

const HOUR = 60 * 60;

interface Shown {
  id: string;
  scope: string;
  url: string | null;
  headerNames: string[];
  format: string;
  types: string[];
  repositories: string[] | null;
  tags: string[] | null;
  description: string;
  enabled: boolean;
  disabled: string | null;
  failures: number;
  pausedUntil: string | null;
  previousSecretUntil: string | null;
  createdBy: string;
}

interface Body extends Shown {
  webhook: Shown;
  secret: string;
  items: Shown[];
  next: string | null;
  delivered: boolean;
  password: string;
  errors: [{ code: string; message: string }];
}

const api = (method: string, path: string, request?: ApiRequest) => anyApi<Body>(world, method, path, request);

const REPOSITORY = '/repositories/acme/api/-/webhooks';
const ORGANIZATION = '/organizations/acme/webhooks';
const REGISTRY = '/webhooks';
const PLACES = [REPOSITORY, ORGANIZATION, REGISTRY];

let world: World;
/** An owner of acme, a member, an unrelated user, and one who may administer acme/api by its policy. */
let olga: Person;
let mia: Person;
let sam: Person;
let anna: Person;

const build = builtOnce(async (made) => {
  world = made;
  [olga, mia, sam, anna] = await Promise.all([
    inviteUser(world, 'olga'),
    inviteUser(world, 'mia'),
    inviteUser(world, 'sam'),
    inviteUser(world, 'anna'),
  ]);
  await makeOrganization(world, 'acme', { owners: [olga], members: [mia] });
  await api('PUT', '/repositories/acme/api', {});
  await setPolicy([{ actions: 'all actions', principals: [anna.subject] }]);
});

beforeEach(async () => {
  world = await build();
});

afterEach(() => {
  vi.restoreAllMocks();
});

async function setPolicy(statements: object[]): Promise<void> {
  expect((await api('PUT', '/repositories/acme/api/-/policy', { body: { statements } })).status).toBe(200);
}

interface Made {
  id: string;
  secret: string;
  etag: string;
  shown: Shown;
}

function madeIn({ status, body, headers }: ApiAnswer<Body>): Made {
  expect([200, 201], JSON.stringify(body)).toContain(status);
  return { id: body.webhook.id, secret: body.secret, etag: headers.get('etag') as string, shown: body.webhook };
}

async function make(place: string = REPOSITORY, body: object = {}, request: ApiRequest = {}): Promise<Made> {
  return madeIn(await api('POST', place, { body: { url: URL_, ...body }, ...request }));
}

async function shown(id: string): Promise<Shown> {
  const { status, body } = await api('GET', `/webhooks/${id}`);
  expect(status).toBe(200);
  return body;
}

const change = (id: string, body: object, headers: Record<string, string> = {}) =>
  api('PATCH', `/webhooks/${id}`, { body, headers });

async function tables(): Promise<string> {
  const { results } = await world.env.DB.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all<{ name: string }>();
  const names = results.map(({ name }) => name).filter((name) => !name.startsWith('_cf'));
  const rows = await world.env.DB.batch(names.map((name) => world.env.DB.prepare(`SELECT * FROM ${name}`)));
  return JSON.stringify(rows.map((result) => result.results));
}

/** Subscriptions and events, which a refusal must not change. */
async function state(): Promise<unknown> {
  const results = await world.env.DB.batch(
    ['SELECT * FROM subscriptions', 'SELECT * FROM deliveries', 'SELECT * FROM events'].map((sql) => world.env.DB.prepare(sql)),
  );
  return results.map((result) => result.results);
}

async function unchanged(answer: () => Promise<ApiAnswer<Body>>): Promise<string> {
  const before = await state();
  const code = refused(await answer());
  expect(await state()).toEqual(before);
  return code;
}

async function setColumns(id: string, assignments: string): Promise<void> {
  await world.env.DB.prepare(`UPDATE subscriptions SET ${assignments} WHERE id = ?`).bind(id).run();
}

interface Sent {
  url: string;
  headers: Record<string, string>;
  body: string;
}

/** Replaces the network of the Worker with an endpoint that gives this answer to every request. */
function endpoint(answer: () => Response | Promise<Response> = () => new Response('ok')): Sent[] {
  const sent: Sent[] = [];
  vi.spyOn(globalThis, 'fetch').mockImplementation(async (input, init) => {
    const request = new Request(input as RequestInfo, init as RequestInit);
    sent.push({ url: request.url, headers: Object.fromEntries(request.headers), body: await request.text() });
    return answer();
  });
  return sent;
}

/** Makes waits that are longer than the timeout of an attempt end at once. The timeout of an attempt itself never ends. */
function withoutWaiting(): number[] {
  const waited: number[] = [];
  vi.spyOn(scheduler, 'wait').mockImplementation(async (milliseconds) => {
    if (milliseconds <= TIMEOUT_MS) await new Promise(() => {});
    waited.push(milliseconds);
  });
  return waited;
}

/** Sends a test delivery. @returns the request that the endpoint got, which shows values that the API does not show */
async function sentByTest(id: string): Promise<Sent> {
  const sent = endpoint();
  const { body } = await api('POST', `/webhooks/${id}/test`);
  expect(body).toEqual({ delivered: true });
  expect(sent).toHaveLength(1);
  return sent[0] as Sent;
}

describe('the event types of a webhook', () => {
  test.each([
    ['left out', {}],
    ['null', { types: null }],
  ])('that are %s are pushes', async (_, body) => {
    for (const format of ['native', 'docker-hub', 'distribution', 'harbor', 'eventbridge', 'slack']) {
      const { shown: webhook } = await make(REPOSITORY, { ...body, format });
      // Receivers of other registries' formats expect every push, even one that changes nothing.
      const unchanged = format === 'native' || format === 'slack' ? [] : ['tag.pushed'];
      expect(webhook.types).toEqual(['tag.created', 'tag.moved', ...unchanged]);
    }
  });

  test('are all of the format with "*", whatever is listed beside it', async () => {
    const { id, shown: webhook } = await make(REPOSITORY, { types: ['tag.created', '*'] });
    expect(webhook.types).toEqual(['*']);
    expect((await change(id, { description: 'later' })).body.types).toEqual(['*']);
    expect((await change(id, { types: null })).body.types).toEqual(['tag.created', 'tag.moved']);
  });

  test('are still all for a webhook created without types before there was a default', async () => {
    const { id } = await make();
    const { id: slack } = await make(REPOSITORY, { format: 'slack' });
    await world.env.DB.prepare("UPDATE subscriptions SET filter = json_set(filter, '$.types', NULL)").run();
    for (const one of [id, slack]) {
      expect((await shown(one)).types).toEqual(['*']);
      // A change of another field keeps the types.
      expect((await change(one, { description: 'changed' })).body.types).toEqual(['*']);
    }
    const { results } = await world.env.DB.prepare('SELECT filter FROM subscriptions').all<{ filter: string }>();
    expect(results.map(({ filter }) => JSON.parse(filter).types)).toEqual([null, null]);
  });
});

describe('a new webhook', () => {
  test.each([
    [REPOSITORY, 'repository:acme/api'],
    [ORGANIZATION, 'organization:acme'],
    [REGISTRY, 'registry'],
  ])('at %s is answered with its secret, and shows no other', async (place, scope) => {
    const { status, body, headers } = await api('POST', place, {
      body: {
        url: URL_,
        headers: HEADERS,
        types: ['tag.moved', 'tag.created', 'tag.moved'],
        tags: ['v*'],
        description: ' CI ',
      },
    });
    expect(status).toBe(201);
    expect(body.webhook).toEqual({
      id: expect.stringMatching(/^wh_[a-z2-7]{20}$/),
      scope,
      url: 'https://hooks.example.com/in?…',
      headerNames: ['Authorization', 'X-Team'],
      format: 'native',
      types: ['tag.created', 'tag.moved'],
      repositories: null,
      tags: ['v*'],
      description: 'CI',
      enabled: true,
      disabled: null,
      failures: 0,
      pausedUntil: null,
      previousSecretUntil: null,
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/),
      createdBy: 'user:admin',
    });
    expect(body.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(headers.get('cache-control')).toBe('no-store');
    const later = await api('GET', `/webhooks/${body.webhook.id}`);
    expect(later.body).toEqual(body.webhook);
    expect(later.headers.get('etag')).toBe(headers.get('etag'));
    expect((await api('GET', place)).body).toEqual({ items: [body.webhook], next: null });
  });

  test('is in the list of its own scope only', async () => {
    const made = [];
    for (const place of PLACES) made.push(await make(place));
    for (const [n, place] of PLACES.entries()) {
      expect((await api('GET', place)).body.items.map(({ id }) => id)).toEqual([made[n]?.id]);
    }
    await api('PUT', '/repositories/acme/api2', {});
    expect((await api('GET', '/repositories/acme/api2/-/webhooks')).body.items).toEqual([]);
  });

  test('has a secret of its own', async () => {
    const secrets = [(await make()).secret, (await make()).secret, (await make(REGISTRY)).secret];
    expect(new Set(secrets).size).toBe(3);
  });

  test('is recorded without address and secret', async () => {
    let made = {} as Made;
    const events = await eventsDuring(world, async () => {
      made = await make(REPOSITORY, { headers: HEADERS, format: 'slack' }, { as: anna.basic });
    });
    const target = { id: made.id, scope: 'repository:acme/api', format: 'slack' };
    expect(events).toEqual([{ type: 'webhook.created', target, actor: 'user:anna' }]);
  });

  test('hides its path if that is the secret, as with Slack', async () => {
    const { id } = await make(REPOSITORY, { url: `https://hooks.slack.com/services/${HIDDEN.path}`, format: 'slack' });
    expect((await shown(id)).url).toBe('https://hooks.slack.com/…');
  });

  test.each([
    ['without a URL', { url: undefined }],
    ['that is no text', { url: 7 }],
    ['in plain http', { url: `http://hooks.example.com/?${HIDDEN.query}` }],
    ['to an address of a private network', { url: `https://10.0.0.1/?${HIDDEN.query}` }],
    ['to this machine', { url: `https://localhost/?${HIDDEN.query}` }],
    ['to the registry itself', { url: `https://registry.test/v2/?${HIDDEN.query}` }],
    ['with a password', { url: `https://u:${HIDDEN.query}@hooks.example.com/` }],
    ['with a header that is ours', { headers: { Host: HIDDEN.header } }],
    ['with a header that holds two', { headers: { 'X-A': `a\r\nX-B: ${HIDDEN.header}` } }],
    ['with a header that is no text', { headers: { 'X-A': 7 } }],
    ['of a format that is none', { format: 'xml' }],
    ['of a type that is none', { types: ['tag.renamed'] }],
    ['of no type', { types: [] }],
    ['of tests', { types: ['webhook.test'] }],
    ['of a type that its format has no words for', { format: 'docker-hub', types: ['tag.created', 'tag.deleted'] }],
    ['of a tag that can be none', { tags: ['a/b'] }],
    ['of no tag', { tags: [] }],
    ['with a description of two lines', { description: 'a\nb' }],
    ['with a description that is too long', { description: 'x'.repeat(201) }],
    ['with an id of its own', { id: `wh_${'a'.repeat(20)}` }],
    ['with a secret of its own', { secret: 'whsec_x' }],
    ['in the name of somebody else', { createdBy: 'user:mia' }],
  ])('%s is refused, with words that repeat no secret, and nothing is made', async (_, body) => {
    for (const place of PLACES) {
      const before = await state();
      const answer = await api('POST', place, { body: { url: URL_, headers: HEADERS, ...body } });
      expect(refused(answer)).toBe('400 INVALID');
      for (const secret of Object.values(HIDDEN)) expect(JSON.stringify(answer.body)).not.toContain(secret);
      expect(await state()).toEqual(before);
    }
  });

  test.each(['Acme/*', 'acme/', ''])('for repositories named %j is refused', async (pattern) => {
    const body = { url: URL_, repositories: [pattern] };
    expect(await unchanged(() => api('POST', REGISTRY, { body }))).toBe('400 INVALID');
  });

  test('of a repository is about that one, and accepts no other names', async () => {
    expect(await unchanged(() => api('POST', REPOSITORY, { body: { url: URL_, repositories: ['acme/*'] } }))).toBe(
      '400 INVALID',
    );
    expect((await make(ORGANIZATION, { repositories: ['acme/*'] })).shown.repositories).toEqual(['acme/*']);
    const { id } = await make();
    expect(await unchanged(() => change(id, { repositories: ['acme/*'] }))).toBe('400 INVALID');
    expect((await change(id, { repositories: null })).status).toBe(200);
  });

  test('gets an error that names the missing fields', async () => {
    const { body } = await api('POST', REPOSITORY, { body: { url: URL_, format: 'docker-hub', types: ['tag.deleted'] } });
    expect(body.errors[0].message).toBe('body.types: the format "docker-hub" cannot express tag.deleted');
  });

  test("may not call the deployment's own address, configured or actual", async () => {
    world = worldOf({ ...world.env, PUBLIC_URL: 'https://images.example.com' });
    for (const host of ['images.example.com', 'registry.test']) {
      expect(refused(await api('POST', REGISTRY, { body: { url: `https://${host}/hook` } })), host).toBe('400 INVALID');
    }
    await make(REGISTRY, { url: 'https://other.example.com/hook' });
  });

  test('may use http and private addresses if the deployment allows it', async () => {
    world = worldOf({ ...world.env, INSECURE_WEBHOOKS: 'on' });
    expect((await make(REPOSITORY, { url: 'http://127.0.0.1:8080/hook' })).shown.url).toBe('http://127.0.0.1:8080/hook');
  });

  test('is refused in a repository or organization that does not exist', async () => {
    expect(await unchanged(() => api('POST', '/repositories/acme/absent/-/webhooks', { body: { url: URL_ } }))).toBe(
      '404 NAME_UNKNOWN',
    );
    expect(refused(await api('GET', '/repositories/acme/absent/-/webhooks'))).toBe('404 NAME_UNKNOWN');
    expect(await unchanged(() => api('POST', '/organizations/absent/webhooks', { body: { url: URL_ } }))).toBe('404 NOT_FOUND');
    expect(refused(await api('GET', '/organizations/absent/webhooks'))).toBe('404 NOT_FOUND');
  });

  test('is one of at most fifty in its scope, whoever creates them', async () => {
    const all = await Promise.all(Array.from({ length: 52 }, () => api('POST', REPOSITORY, { body: { url: URL_ } })));
    expect(tally(all.map(({ status }) => status))).toEqual({ 201: 50, 409: 2 });
    expect(await unchanged(() => api('POST', REPOSITORY, { body: { url: URL_ } }))).toBe('409 CONFLICT');
    await make(ORGANIZATION);
    await api('DELETE', `/webhooks/${all.find(({ status }) => status === 201)?.body.webhook.id}`);
    await make();
    const ids = (await everyItem<Shown>(world, REPOSITORY, { n: 7 })).map(({ id }) => id);
    expect(ids).toEqual([...new Set(ids)].sort());
    expect(ids).toHaveLength(50);
  });
});

test('has a secret that is never stored, recorded, logged or shown again', async () => {
  const logged = (['log', 'info', 'warn', 'error', 'debug'] as const).map((level) => vi.spyOn(console, level));
  world = worldOf({ ...world.env, LOG: 'json' });
  endpoint(() => new Response('no', { status: 500 }));
  withoutWaiting();
  const shownLater: unknown[] = [];
  const secrets: string[] = Object.values(HIDDEN);
  for (const place of PLACES) {
    const headers = { 'idempotency-key': 'once' };
    const made = await make(place, { headers: HEADERS, url: `${URL_}&${HIDDEN.path}` }, { headers });
    await make(place, { headers: HEADERS, url: `${URL_}&${HIDDEN.path}` }, { headers });
    const rotated = madeIn(await api('POST', `/webhooks/${made.id}/rotate`));
    secrets.push(made.secret, rotated.secret);
    for (const [method, path, body] of [
      ['PATCH', '', { headers: { Authorization: HIDDEN.header } }],
      ['PATCH', '', { url: `https://other.example.com/?${HIDDEN.query}` }],
      ['PATCH', '', { url: `https://10.0.0.1/?${HIDDEN.query}` }],
      ['POST', '/test', {}],
      ['GET', '', undefined],
      ['GET', '/deliveries', undefined],
    ] as const) {
      shownLater.push((await api(method, `/webhooks/${made.id}${path}`, body ? { body } : {})).body);
    }
    shownLater.push((await api('GET', place)).body, (await api('GET', '/events?n=1000')).body);
    await api('DELETE', `/webhooks/${made.id}`);
  }
  const [stored, log, seen] = [await tables(), JSON.stringify(logged.map((spy) => spy.mock.calls)), JSON.stringify(shownLater)];
  expect(stored).toContain('webhook.rotated');
  for (const secret of secrets) {
    for (const text of [secret, secret.replace('whsec_', ''), btoa(secret)]) {
      expect(stored).not.toContain(text);
      expect(log).not.toContain(text);
      expect(seen).not.toContain(text);
    }
  }
});

describe('an Idempotency-Key', () => {
  const headers = { 'idempotency-key': '"8e03978e-40d5-43dd-bc93-6894a57f9324"' };
  const sent = { headers: HEADERS, types: ['tag.created'], tags: ['v*'], description: 'CI' };

  test('makes one webhook of sixteen concurrent requests, with one answer', async () => {
    const events = await eventsDuring(world, async () => {
      const all = await Promise.all(Array.from({ length: 16 }, () => make(REPOSITORY, sent, { headers })));
      expect(new Set(all.map((one) => JSON.stringify(one))).size).toBe(1);
    });
    expect(events).toHaveLength(1);
    expect((await api('GET', REPOSITORY)).body.items).toHaveLength(1);
  });

  test.each([
    { url: `${URL_}2` },
    { headers: { ...HEADERS, 'X-Team': 'red' } },
    { format: 'slack' },
    { types: null },
    { tags: ['w*'] },
    { description: 'CD' },
  ])('with another request, %o, is a conflict, and shows no secret', async (other) => {
    await make(REPOSITORY, sent, { headers });
    const body = { url: URL_, ...sent, ...other };
    expect(await unchanged(() => api('POST', REPOSITORY, { body, headers }))).toBe('409 CONFLICT');
  });

  test.each(['changed', 'rotated', 'deleted'])('of a webhook that was %s since is a conflict', async (how) => {
    const { id } = await make(REPOSITORY, sent, { headers });
    if (how === 'changed') await change(id, { tags: null });
    if (how === 'rotated') madeIn(await api('POST', `/webhooks/${id}/rotate`));
    if (how === 'deleted') await api('DELETE', `/webhooks/${id}`);
    expect(await unchanged(() => api('POST', REPOSITORY, { body: { url: URL_, ...sent }, headers }))).toBe('409 CONFLICT');
  });

  test('of another user or scope is separate', async () => {
    const made = [
      await make(REPOSITORY, sent, { headers }),
      await make(REPOSITORY, sent, { headers, as: anna.basic }),
      await make(ORGANIZATION, sent, { headers }),
      await make(REPOSITORY, sent, { headers: { 'idempotency-key': 'other' } }),
      await make(REPOSITORY, sent),
      await make(REPOSITORY, sent),
    ];
    expect(new Set(made.map(({ id }) => id)).size).toBe(6);
  });

  test.each(['', 'two words', 'x'.repeat(256)])('that is %j is refused', async (text) => {
    const request = { body: { url: URL_ }, headers: { 'idempotency-key': text } };
    expect(await unchanged(() => api('POST', REPOSITORY, request))).toBe('400 INVALID');
  });
});

describe('users who may administer what a webhook listens to', () => {
  /** The webhooks of the repository, the organization and the registry that each user sees. */
  async function seen(as: string): Promise<string> {
    const statuses = [];
    for (const place of PLACES) {
      const { id } = await make(place);
      statuses.push((await api('GET', `/webhooks/${id}`, { as })).status);
    }
    return statuses.join();
  }

  async function narrowed(owner: Person, ...statements: object[]): Promise<string> {
    const { body } = await api('POST', '/keys', { as: owner.bearer, body: { name: 'x', statements } });
    return `Bearer ${body.secret}`;
  }

  async function login({ name, basic }: Person): Promise<string> {
    return basicOf(name, (await api('POST', '/login-password', { as: basic })).body.password);
  }

  test('see it, and nobody else does', { tags: 'slow' }, async () => {
    const admin = { actions: ['admin'], repositories: ['acme/*'] };
    const robot = await makeRobot(world, 'acme', 'deployer', [admin]);
    const other = await makeRobot(world, 'acme', 'builder', [{ actions: ['pull', 'push'], repositories: ['acme/*'] }]);
    const administrator = await inviteUser(world, 'adele', { administrator: true });
    const all = { actions: 'all actions', repositories: ['*'] };
    expect({
      administrator: await seen(administrator.basic),
      owner: await seen(olga.basic),
      'repository admin': await seen(anna.basic),
      member: await seen(mia.basic),
      stranger: await seen(sam.basic),
      'robot that may administer': await seen(robot.basic),
      robot: await seen(other.basic),
      'key narrowed to it': await seen(await narrowed(anna, { actions: ['admin'], repositories: ['acme/api'] })),
      'key narrowed to pull': await seen(await narrowed(anna, { actions: ['pull'], repositories: ['acme/api'] })),
      'key narrowed to another': await seen(await narrowed(anna, { actions: 'all actions', repositories: ['acme/web'] })),
      "owner's narrowed key": await seen(await narrowed(olga, all)),
      "owner's login": await seen(await login(olga)),
      "administrator's narrowed key": await seen(await narrowed(administrator, all)),
      "administrator's login": await seen(await login(administrator)),
    }).toEqual({
      administrator: '200,200,200',
      owner: '200,200,404',
      'repository admin': '200,404,404',
      member: '404,404,404',
      stranger: '404,404,404',
      'robot that may administer': '200,404,404',
      robot: '404,404,404',
      'key narrowed to it': '200,404,404',
      'key narrowed to pull': '404,404,404',
      'key narrowed to another': '404,404,404',
      // For a webhook of an organization or the registry, a narrowed key is refused.
      "owner's narrowed key": '200,404,404',
      "owner's login": '200,404,404',
      "administrator's narrowed key": '200,404,404',
      "administrator's login": '200,404,404',
    });
  });

  test('create it there, and nowhere else', async () => {
    const answers = async (as: string | null) => {
      const all = [];
      for (const place of PLACES) all.push(refused(await api('POST', place, { as, body: { url: URL_ } })));
      return all.map((answer) => answer.replace(' undefined', ''));
    };
    expect(await answers(olga.basic)).toEqual(['201', '201', '403 DENIED']);
    expect(await answers(anna.basic)).toEqual(['201', '404 NOT_FOUND', '403 DENIED']);
    expect(await answers(mia.basic)).toEqual(['404 NOT_FOUND', '403 DENIED', '403 DENIED']);
    expect(await answers(sam.basic)).toEqual(['404 NOT_FOUND', '404 NOT_FOUND', '403 DENIED']);
    expect(await answers(null)).toEqual(['401 UNAUTHORIZED', '401 UNAUTHORIZED', '401 UNAUTHORIZED']);
  });

  test('cannot change it once they lose that right, even if they created it', { tags: 'slow' }, async () => {
    const own = await make(REPOSITORY, {}, { as: anna.basic });
    const ownersOwn = await make(ORGANIZATION, {}, { as: olga.basic });
    await setPolicy([]);
    await api('PUT', '/organizations/acme/members/mia', { body: { role: 'owner' } });
    await api('PUT', '/organizations/acme/members/olga', { body: { role: 'member' } });
    const at = { id: '', as: '' };
    const routes: [string, string, object?][] = [
      ['GET', ''],
      ['PATCH', '', { enabled: false }],
      ['DELETE', ''],
      ['POST', '/rotate', {}],
      ['POST', '/test', {}],
      ['GET', '/deliveries'],
      ['GET', '/deliveries/wh_aaaaaaaaaaaaaaaaaaaa_1'],
      ['POST', '/deliveries/wh_aaaaaaaaaaaaaaaaaaaa_1/replay', {}],
      ['POST', '/replay', { failed: true }],
    ];
    for (const [id, as] of [
      [own.id, anna.basic],
      [ownersOwn.id, olga.basic],
    ] as const) {
      Object.assign(at, { id, as });
      for (const [method, path, body] of routes) {
        const ask = (webhook: string) => api(method, `/webhooks/${webhook}${path}`, { as, ...(body ? { body } : {}) });
        expect(await unchanged(() => ask(id)), `${method} ${path}`).toBe('404 NOT_FOUND');
        expect((await ask(id)).body).toEqual((await ask('wh_aaaaaaaaaaaaaaaaaaaa')).body);
      }
    }
  });

  test.each(['x', 'wh_', 'WH_AAAAAAAAAAAAAAAAAAAA', 'wh_aaaaaaaaaaaaaaaaaaaa', "wh_'"])(
    'find none by the id %s',
    async (id) => {
      expect(refused(await api('GET', `/webhooks/${id}`))).toBe('404 NOT_FOUND');
    },
  );
});

describe('changing a webhook', () => {
  test('changes only the given fields', async () => {
    const { id, etag } = await make(ORGANIZATION, { headers: HEADERS, types: ['tag.created'], description: 'CI' });
    const before = await shown(id);
    let version = etag;
    for (const [body, differs] of [
      [{ description: 'CD' }, { description: 'CD' }],
      [{ types: ['tag.deleted', 'tag.created'] }, { types: ['tag.created', 'tag.deleted'] }],
      [
        { repositories: ['acme/a*'], tags: ['v*'] },
        { repositories: ['acme/a*'], tags: ['v*'] },
      ],
      [{ format: 'slack' }, { format: 'slack', url: 'https://hooks.example.com/…' }],
      [
        { types: null, tags: null },
        { types: ['tag.created', 'tag.moved'], tags: null },
      ],
      [{ enabled: false }, { enabled: false, disabled: 'by user:admin' }],
      [{ format: 'native' }, { format: 'native', url: before.url }],
      [{ enabled: true }, { enabled: true, disabled: null }],
    ]) {
      Object.assign(before, differs);
      const { status, body: after, headers } = await change(id, body as object);
      expect(status).toBe(200);
      expect(after).toEqual(before);
      expect(headers.get('etag')).not.toBe(version);
      version = headers.get('etag') as string;
    }
    expect(await shown(id)).toEqual(before);
    expect(await sentByTest(id)).toMatchObject({ url: URL_, headers: { authorization: HEADERS.Authorization } });
  });

  test('is recorded without address and secret', async () => {
    const { id } = await make();
    const events = await eventsDuring(world, async () => {
      await change(id, { url: `${URL_}&2`, headers: HEADERS });
      await change(id, { enabled: false });
    });
    expect(events.map(({ type, target }) => [type, target])).toEqual([
      ['webhook.changed', { id, scope: 'repository:acme/api', enabled: null }],
      ['webhook.changed', { id, scope: 'repository:acme/api', enabled: false }],
    ]);
  });

  test('to the same values records nothing and keeps the ETag', async () => {
    const { id, etag } = await make(REPOSITORY, { types: ['tag.created'], description: 'CI' });
    const before = await state();
    for (const body of [{}, { description: 'CI', types: ['tag.created'], tags: null }, { enabled: true, format: 'native' }]) {
      const { status, headers } = await change(id, body);
      expect([status, headers.get('etag')]).toEqual([200, etag]);
    }
    expect(await state()).toEqual(before);
    for (const headers of [{ 'if-match': '"999"' }, { 'if-none-match': '*' }]) {
      expect(await unchanged(() => change(id, {}, headers))).toBe('412 PRECONDITION_FAILED');
    }
  });

  test('in its URL within the host keeps the headers, and in its headers keeps the URL', async () => {
    const { id } = await make(REPOSITORY, { headers: HEADERS });
    expect((await change(id, { url: 'https://hooks.example.com/other' })).body.headerNames).toEqual([
      'Authorization',
      'X-Team',
    ]);
    expect(await sentByTest(id)).toMatchObject({
      url: 'https://hooks.example.com/other',
      headers: { authorization: HEADERS.Authorization, 'x-team': 'blue' },
    });
    expect((await change(id, { headers: { 'X-Key': 'k' } })).body.headerNames).toEqual(['X-Key']);
    const { url, headers } = await sentByTest(id);
    expect([url, headers['x-key'], headers.authorization]).toEqual(['https://hooks.example.com/other', 'k', undefined]);
    expect((await change(id, { headers: {} })).body.headerNames).toEqual([]);
  });

  test.each(['https://evil.example.net/in', 'https://hooks.example.com:8443/in', 'https://example.com/in'])(
    'in its URL to %s sends no header that was given for another host',
    async (url) => {
      const { id } = await make(REPOSITORY, { headers: HEADERS });
      expect((await change(id, { url })).body.headerNames).toEqual([]);
      const { headers } = await sentByTest(id);
      expect(JSON.stringify(headers)).not.toContain(HIDDEN.header);
      expect((await change(id, { url: URL_ })).body.headerNames).toEqual([]);
      expect((await change(id, { url, headers: { 'X-Key': 'k' } })).body.headerNames).toEqual(['X-Key']);
      expect((await sentByTest(id)).headers).toMatchObject({ 'x-key': 'k' });
    },
  );

  test.each([
    { url: 'https://10.0.0.1/' },
    { url: 'https://registry.test/' },
    { url: '' },
    { url: null },
    { headers: { Host: 'x' } },
    { headers: null },
    { format: 'docker-hub' },
    { types: ['webhook.test'] },
    { types: [] },
    { tags: ['a/b'] },
    { enabled: 'no' },
    { scope: 'registry' },
    { secret: 'x' },
    { createdBy: 'user:mia' },
  ])('to %o is refused', async (body) => {
    const { id } = await make(REPOSITORY, { types: ['tag.deleted'] });
    expect(await unchanged(() => change(id, body))).toBe('400 INVALID');
  });

  test('in its format is checked against its types, and the reverse', async () => {
    const { id } = await make(REPOSITORY, { types: ['tag.deleted'] });
    expect(await unchanged(() => change(id, { format: 'docker-hub' }))).toBe('400 INVALID');
    expect((await change(id, { format: 'docker-hub', types: ['tag.created'] })).status).toBe(200);
    expect(await unchanged(() => change(id, { types: ['tag.deleted'] }))).toBe('400 INVALID');
    expect((await change(id, { types: ['*'] })).body.types).toEqual(['*']);
  });

  test('requires the current version if the request names one', async () => {
    const { id, etag } = await make();
    expect((await change(id, { description: 'second' }, { 'if-match': etag })).status).toBe(200);
    for (const headers of [{ 'if-match': etag }, { 'if-none-match': '*' }, { 'if-match': 'x' }]) {
      expect(await unchanged(() => change(id, { description: 'third' }, headers))).toBe('412 PRECONDITION_FAILED');
      const request = { headers, body: {} };
      expect(await unchanged(() => api('POST', `/webhooks/${id}/rotate`, request))).toBe('412 PRECONDITION_FAILED');
      expect(await unchanged(() => api('DELETE', `/webhooks/${id}`, { headers }))).toBe('412 PRECONDITION_FAILED');
    }
  });

  test('in each of its parts concurrently keeps all changes', async () => {
    const { id } = await make(ORGANIZATION, { headers: HEADERS });
    const parts = [
      { description: 'CD' },
      { tags: ['v*'] },
      { types: ['tag.created'] },
      { repositories: ['acme/a*'] },
      { headers: { 'X-Key': 'k' } },
      { url: 'https://hooks.example.com/other' },
    ];
    const all = await Promise.all(parts.map((body) => change(id, body)));
    expect(all.map(({ status }) => status)).toEqual(parts.map(() => 200));
    expect(await shown(id)).toMatchObject({
      description: 'CD',
      tags: ['v*'],
      types: ['tag.created'],
      repositories: ['acme/a*'],
      headerNames: ['X-Key'],
      url: 'https://hooks.example.com/other',
    });
  });

  test('in types and format concurrently never leaves types that the format cannot express', async () => {
    for (let n = 0; n < 5; n++) {
      const { id } = await make(REPOSITORY, { types: ['tag.created'] });
      const [one, other] = await Promise.all([change(id, { format: 'docker-hub' }), change(id, { types: ['tag.deleted'] })]);
      expect([one.status, other.status].sort()).toEqual([200, 400]);
    }
  });

  test('to enabled or to another endpoint resets the failures', async () => {
    for (const body of [{ enabled: true }, { url: URL_ }, { headers: {} }]) {
      const { id } = await make();
      await setColumns(id, "failures = 7, open_until = unixepoch() + 3000, disabled = 'gone'");
      const before = await shown(id);
      expect(before).toMatchObject({ failures: 7, enabled: false, disabled: 'gone' });
      expect(Date.parse(before.pausedUntil as string) - Date.now()).toBeGreaterThan(2900 * 1000);
      const stays = 'enabled' in body ? { enabled: true, disabled: null } : { enabled: false, disabled: 'gone' };
      expect((await change(id, body)).body).toMatchObject({ failures: 0, pausedUntil: null, ...stays });
    }
  });

  test('to enabled when it is enabled already tries a failed endpoint at once', async () => {
    const { id } = await make();
    await setColumns(id, 'failures = 7, open_until = unixepoch() + 3000');
    expect((await change(id, { enabled: true })).body).toMatchObject({ failures: 0, pausedUntil: null });
  });
});

describe("when the registry's secret is replaced", () => {
  const OTHER = 'another-secret-of-the-tests-0123456789ab';

  test('webhooks work as long as the previous one is accepted, and are sealed again with their URL', async () => {
    const { id } = await make(REPOSITORY, { headers: HEADERS });
    const old = world.env.REGISTRY_SECRET as string;
    world = worldOf({ ...world.env, REGISTRY_SECRET: OTHER, REGISTRY_SECRET_PREVIOUS: old });
    expect((await shown(id)).url).toBe('https://hooks.example.com/in?…');
    expect((await change(id, { url: URL_ })).body.headerNames).toEqual(['Authorization', 'X-Team']);
    world = worldOf({ ...world.env, REGISTRY_SECRET: OTHER, REGISTRY_SECRET_PREVIOUS: '' });
    expect(await sentByTest(id)).toMatchObject({ url: URL_, headers: { authorization: HEADERS.Authorization } });
  });

  test('and the previous one is gone, their URLs and headers have to be given again', async () => {
    const { id } = await make(REPOSITORY, { headers: HEADERS });
    world = worldOf({ ...world.env, REGISTRY_SECRET: OTHER });
    expect(await shown(id)).toMatchObject({ url: null, headerNames: [], enabled: true });
    expect((await api('GET', REPOSITORY)).body.items).toMatchObject([{ id, url: null }]);
    expect(await unchanged(() => change(id, { headers: HEADERS }))).toBe('409 CONFLICT');
    expect((await change(id, { description: 'CD' })).status).toBe(200);
    expect((await change(id, { url: URL_ })).body).toMatchObject({ url: 'https://hooks.example.com/in?…', headerNames: [] });
  });
});

describe('rotating the secret', () => {
  const rotate = (id: string, body: object = {}, headers: Record<string, string> = {}) =>
    api('POST', `/webhooks/${id}/rotate`, { body, headers });

  test.each([
    [{}, 24 * HOUR],
    [{ overlap: 7 * 24 * HOUR }, 7 * 24 * HOUR],
    [{ overlap: 60 }, 60],
  ])('with %o has the old secret sign beside the new one for %i seconds', async (body, seconds) => {
    const old = await make();
    const now = Date.now();
    const made = madeIn(await rotate(old.id, body));
    expect(made.secret).toMatch(/^whsec_/);
    expect(made.secret).not.toBe(old.secret);
    const until = Date.parse(made.shown.previousSecretUntil as string);
    expect(Math.abs(until - now - seconds * 1000)).toBeLessThan(5000);
    expect(made.etag).not.toBe(old.etag);
    expect(await shown(old.id)).toEqual(made.shown);
    expect((await sentByTest(old.id)).headers['webhook-signature']?.split(' ')).toHaveLength(2);
  });

  test('without overlap ends the old secret at once', async () => {
    const { id } = await make();
    expect(madeIn(await rotate(id, { overlap: 0 })).shown.previousSecretUntil).toBeNull();
    expect((await sentByTest(id)).headers['webhook-signature']?.split(' ')).toHaveLength(1);
  });

  test('with If-Match happens once, however often it is sent', async () => {
    const { id, etag } = await make();
    const all = await Promise.all(Array.from({ length: 4 }, () => rotate(id, {}, { 'if-match': etag })));
    expect(tally(all.map(({ status }) => status))).toEqual({ 200: 1, 412: 3 });
  });

  test('is recorded', async () => {
    const { id } = await make();
    const events = await eventsDuring(world, () => rotate(id, {}));
    expect(events).toEqual([{ type: 'webhook.rotated', target: { id, scope: 'repository:acme/api' }, actor: 'user:admin' }]);
  });

  test.each([{ overlap: -1 }, { overlap: 7 * 24 * HOUR + 1 }, { overlap: 1.5 }, { overlap: '60' }, { secret: 'x' }])(
    'with %o is refused',
    async (body) => {
      const { id } = await make();
      expect(await unchanged(() => rotate(id, body))).toBe('400 INVALID');
    },
  );
});

describe('a test delivery', () => {
  async function verify(secret: string, { headers, body }: Sent): Promise<boolean> {
    const bytes = Uint8Array.from(atob(secret.slice('whsec_'.length)), (char) => char.charCodeAt(0));
    const key = await crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify']);
    const signature = Uint8Array.from(atob(headers['webhook-signature']?.slice(3) ?? ''), (char) => char.charCodeAt(0));
    const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
    return crypto.subtle.verify('HMAC', key, signature, new TextEncoder().encode(signed));
  }

  test.each(PLACES)('of one created at %s is sent once, signed, and reports only that it was delivered', async (place) => {
    const { id, secret } = await make(place, { headers: HEADERS });
    const before = await state();
    const sent = await sentByTest(id);
    expect(sent).toMatchObject({ url: URL_, headers: { authorization: HEADERS.Authorization } });
    expect(JSON.parse(sent.body)).toMatchObject({ type: 'berth.webhook.test', data: { actor: { subject: 'user:admin' } } });
    expect(await verify(secret, sent)).toBe(true);
    expect(await verify(secret, { ...sent, body: `${sent.body} ` })).toBe(false);
    expect(await state()).toEqual(before);
  });

  test.each(['docker-hub', 'distribution', 'harbor', 'eventbridge', 'slack'])(
    'in the format %s is sent, too',
    async (format) => {
      await pushImage(world, 'acme/api', 'v1');
      const { id } = await make(REPOSITORY, { format });
      JSON.parse((await sentByTest(id)).body);
    },
  );

  test.each([
    ['with an error', () => new Response('a secret of the inside', { status: 500 })],
    ['with a redirect', () => Response.redirect('https://elsewhere.example.com/', 302)],
    ['with 404', () => new Response(null, { status: 404 })],
    ['not at all', () => Promise.reject(new Error('connection refused'))],
  ])('that is answered %s has failed, after the same time, and says nothing else', async (_, answer) => {
    const { id } = await make();
    const before = await state();
    endpoint(answer);
    const waited = withoutWaiting();
    const { status, body } = await api('POST', `/webhooks/${id}/test`);
    expect([status, body]).toEqual([200, { delivered: false }]);
    expect(waited).toEqual([10_500]);
    expect(await state()).toEqual(before);
  });

  test('of a disabled webhook is sent, because one tests before enabling', async () => {
    const { id } = await make();
    await change(id, { enabled: false });
    await sentByTest(id);
  });

  test('is limited to a few a minute for each webhook', async () => {
    const { TEST_DELIVERIES } = bindings as unknown as Required<Env>;
    world = worldOf({ ...world.env, TEST_DELIVERIES });
    const [one, other] = [await make(), await make()];
    const sent = endpoint();
    // A new minute of the rate limit may begin between two requests.
    const all = await Promise.all(Array.from({ length: 25 }, () => api('POST', `/webhooks/${one.id}/test`)));
    const tooMany = all.filter(({ status }) => status === 429);
    expect(refused(tooMany[0] as ApiAnswer<Body>)).toBe('429 TOOMANYREQUESTS');
    expect(tooMany[0]?.headers.get('retry-after')).toBe('60');
    expect(sent).toHaveLength(25 - tooMany.length);
    await sentByTest(other.id);
  });
});

describe('deleting', () => {
  test('a webhook removes it at once and is recorded', async () => {
    const { id } = await make();
    const other = await make();
    const events = await eventsDuring(world, async () => {
      expect((await api('DELETE', `/webhooks/${id}`)).status).toBe(204);
    });
    expect(events).toEqual([{ type: 'webhook.deleted', target: { id, scope: 'repository:acme/api' }, actor: 'user:admin' }]);
    expect(refused(await api('GET', `/webhooks/${id}`))).toBe('404 NOT_FOUND');
    expect(await unchanged(() => api('DELETE', `/webhooks/${id}`))).toBe('404 NOT_FOUND');
    expect((await api('GET', REPOSITORY)).body.items.map((one) => one.id)).toEqual([other.id]);
  });

  test('a repository ends its webhooks, and a recreated one does not have them', async () => {
    const [repository, organization, registry] = [await make(REPOSITORY), await make(ORGANIZATION), await make(REGISTRY)];
    await pushImage(world, 'acme/api', 'v1');
    expect(await unchanged(() => api('DELETE', '/repositories/acme/api'))).toBe('409 CONFLICT');
    expect((await shown(repository.id)).id).toBe(repository.id);
    expect((await api('DELETE', '/repositories/acme/api?force=true')).status).toBe(200);
    const last = await world.env.DB.prepare(
      'SELECT last_event, (SELECT max(id) FROM events) AS newest FROM subscriptions WHERE id = ?',
    )
      .bind(repository.id)
      .first<{ last_event: number; newest: number }>();
    // The event of the deletion is the last event that the webhook gets.
    expect(last?.last_event).toBe(last?.newest);
    for (let n = 0; n < 2; n++) {
      expect(await unchanged(() => api('GET', `/webhooks/${repository.id}`))).toBe('404 NOT_FOUND');
      await api('PUT', '/repositories/acme/api', {});
      expect((await api('GET', REPOSITORY)).body.items).toEqual([]);
    }
    for (const { id } of [organization, registry]) await shown(id);
  });

  test('a repository while a webhook is created for it leaves none', async () => {
    const headers = { 'content-type': 'application/json' };
    const runs = await everyOrder(world, async (run) => {
      const path = `/repositories/acme/r${run}`;
      await api('PUT', path, {});
      return {
        outer: (at) => at.fetch('POST', `/api/v1${path}/-/webhooks`, { headers, body: JSON.stringify({ url: URL_ }) }),
        inner: (at) => at.fetch('DELETE', `/api/v1${path}`),
        check: async (made, deleted) => {
          expect([201, 404]).toContain(made.status);
          expect(deleted.status).toBe(200);
          await api('PUT', path, {});
          expect((await api('GET', `${path}/-/webhooks`)).body.items).toEqual([]);
        },
      };
    });
    expect(runs).toBeGreaterThan(1);
  });

  test('a webhook that is changed at the same time is deleted completely', async () => {
    const headers = { 'content-type': 'application/json' };
    await everyOrder(world, async () => {
      const { id } = await make(REPOSITORY, { headers: HEADERS });
      return {
        outer: (at) => at.fetch('PATCH', `/api/v1/webhooks/${id}`, { headers, body: JSON.stringify({ url: URL_ }) }),
        inner: (at) => at.fetch('DELETE', `/api/v1/webhooks/${id}`),
        check: async (changed, deleted) => {
          expect([200, 404]).toContain(changed.status);
          expect(deleted.status).toBe(204);
          expect(refused(await api('GET', `/webhooks/${id}`))).toBe('404 NOT_FOUND');
        },
      };
    });
  });

  test('an organization ends its webhooks', async () => {
    const [organization, registry] = [await make(ORGANIZATION), await make(REGISTRY)];
    expect(await unchanged(() => api('DELETE', '/organizations/acme'))).toBe('409 CONFLICT');
    await api('DELETE', '/repositories/acme/api');
    expect((await api('DELETE', '/organizations/acme')).status).toBe(204);
    const last = await world.env.DB.prepare(
      `SELECT last_event = (SELECT max(id) FROM events WHERE type = 'organization.deleted') AS heard FROM subscriptions WHERE id = ?`,
    )
      .bind(organization.id)
      .first<{ heard: number }>();
    expect(last).toEqual({ heard: 1 });
    expect(refused(await api('GET', `/webhooks/${organization.id}`))).toBe('404 NOT_FOUND');
    await shown(registry.id);
  });
});

describe('a request that is itself a delivery of a registry', () => {
  test.each(['/v2/', '/token', '/api/v1/me', '/api/v1/webhooks', '/api', '/join', '/nowhere'])(
    'is refused at %s, so that no event causes itself',
    async (path) => {
      for (const method of ['GET', 'POST']) {
        const before = await state();
        const headers = { 'berth-webhook': 'wh_aaaaaaaaaaaaaaaaaaaa_1' };
        const response = await world.fetch(method, path, { headers, body: method === 'POST' ? '{}' : null });
        expect(response.status).toBe(508);
        expect(await response.json()).toMatchObject({ errors: [{ code: 'DENIED' }] });
        expect(await state()).toEqual(before);
      }
    },
  );

  test('is recognized by the headers of a delivery', async () => {
    const { id } = await make();
    expect((await sentByTest(id)).headers).toHaveProperty('berth-webhook');
  });
});

test('the JSON schema of the native format is public', async () => {
  const response = await world.fetch('GET', '/api/event.schema.json', { authorization: null });
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('application/schema+json');
  expect(response.headers.get('cache-control')).toBe('public, max-age=3600');
  expect(await response.json()).toMatchObject({ $schema: 'https://json-schema.org/draft/2020-12/schema' });
  expect(await (await world.fetch('GET', '/api', { authorization: null })).text()).toContain('href="/api/event.schema.json"');
});

test('an organization has at most 200 webhooks with all its repositories, and is refused with the reason at the limit', async () => {
  await world.env.DB.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
     INSERT INTO subscriptions (id, scope, description, endpoint, filter, format, origin, first_event, created_at, created_by)
     SELECT 'wh_' || i, 'repository:acme/r' || (i / 20), '', '', '{}', 'native', 'https://x', 0, 0, 'user:olga' FROM n`,
  ).run();
  for (const place of [REPOSITORY, ORGANIZATION]) {
    const { status, body } = await api('POST', place, { body: { url: URL_ } });
    expect([status, body.errors[0].message]).toEqual([409, expect.stringContaining('acme has 200 webhooks')]);
  }
  // Webhooks of organizations with similar names do not count.
  await makeOrganization(world, 'acme2');
  await make('/organizations/acme2/webhooks');
  await make(REGISTRY);
});
