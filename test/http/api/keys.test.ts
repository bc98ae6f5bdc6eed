import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { counting } from '../../world/counting.ts';
import { pushBlob, pushImage } from '../../world/images.ts';
import {
  type ApiAnswer,
  type ApiRequest,
  api as anyApi,
  basicOf,
  inviteUser,
  type Person,
  refused,
} from '../../world/people.ts';
import { tokenFor } from '../../world/tokens.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

const DAY = 24 * 60 * 60;
const PULL = { effect: 'allow', actions: ['pull'], repositories: ['alice/*'] };
const ALL = { effect: 'allow', actions: ['pull', 'push', 'retag', 'delete', 'admin', 'create'], repositories: ['*'] };

interface Shown {
  id: string;
  name: string;
  owner: string;
  createdBy: string;
  createdAt: string;
  expiresAt: string;
  lastUsedOn: string;
  state: string;
  revokedAt: string;
}

/** Every field that an answer about keys may have. */
interface Body extends Shown {
  key: Shown;
  secret: string;
  aws: object;
  login: string;
  items: Shown[];
  next: string | null;
  errors: [{ code: string }];
  password: string;
}

const api = (at: World, method: string, path: string, request?: ApiRequest) => anyApi<Body>(at, method, path, request);

let world: World;
let alice: Person;
let bob: Person;

const build = builtOnce(async (made) => {
  world = made;
  alice = await inviteUser(world, 'alice');
  bob = await inviteUser(world, 'bob');
});

beforeEach(async () => {
  world = await build();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

interface Made {
  id: string;
  secret: string;
  bearer: string;
  basic: string;
  etag: string;
}

function madeIn({ status, body, headers }: ApiAnswer<Body>): Made {
  expect(status, JSON.stringify(body)).toBe(201);
  const { secret, key } = body;
  const name = key.owner.replace(/^\w+:/, '').replace('/', '+');
  return { id: key.id, secret, bearer: `Bearer ${secret}`, basic: basicOf(name, secret), etag: headers.get('etag') as string };
}

async function make(body: object = {}, as = alice.bearer, headers: Record<string, string> = {}): Promise<Made> {
  return madeIn(await api(world, 'POST', '/keys', { as, body: { name: 'laptop', ...body }, headers }));
}

async function rotate(
  id: string,
  as: string,
  body: object = {},
  headers: Record<string, string> = {},
): Promise<ApiAnswer<Body>> {
  return api(world, 'POST', `/keys/${id}/rotate`, { as, body, headers });
}

/** The header of a request that is sent again. */
const REPEATED = { 'idempotency-key': '0d9e2f64-6d5c-4f51-a9f1-8a7e1c1f9d55' };

async function shown(id: string, as = alice.bearer) {
  const { status, body } = await api(world, 'GET', `/keys/${id}`, { as });
  expect(status).toBe(200);
  return body;
}

const secondsOf = (key: Shown) => (Date.parse(key.expiresAt) - Date.parse(key.createdAt)) / 1000;

/** Rows of keys and events, which a refusal must not change. */
async function state(): Promise<unknown> {
  const [keys, events] = await world.env.DB.batch([
    world.env.DB.prepare('SELECT id, owner, name, statements, expires_at, revoked_at, version FROM access_keys ORDER BY id'),
    world.env.DB.prepare('SELECT type, target, actor FROM events ORDER BY id'),
  ]);
  return { keys: keys?.results, events: events?.results };
}

async function unchanged(answer: () => Promise<ApiAnswer<Body>>): Promise<string> {
  const before = await state();
  const code = refused(await answer());
  expect(await state()).toEqual(before);
  return code;
}

interface Event {
  type: string;
  target: Record<string, unknown>;
  actor: string;
}

async function eventsAbout(id: string): Promise<Event[]> {
  const { results } = await world.env.DB.prepare("SELECT type, target, actor FROM events WHERE target ->> 'id' = ? ORDER BY id")
    .bind(id)
    .all<{ type: string; target: string; actor: string }>();
  return results.map(({ type, target, actor }) => ({ type, target: JSON.parse(target), actor }));
}

async function setColumns(id: string, assignments: string): Promise<void> {
  await world.env.DB.prepare(`UPDATE access_keys SET ${assignments} WHERE id = ?`).bind(id).run();
}

const expire = (id: string) => setColumns(id, 'expires_at = unixepoch()');

async function statusAt(path: string, authorization: string, method = 'GET'): Promise<number> {
  return (await world.fetch(method, path, { authorization })).status;
}

/** How each endpoint answers the key: the token service, Basic at /v2, Basic and Bearer at the API. */
async function doors({ basic, bearer }: { basic: string; bearer: string }): Promise<number[]> {
  return Promise.all([
    statusAt('/token?scope=repository:alice/app:pull', basic),
    statusAt('/v2/', basic),
    statusAt('/api/v1/keys', basic),
    statusAt('/api/v1/keys', bearer),
  ]);
}

describe('a new key', () => {
  test('is returned once with its secret, for docker, the API and AWS programs', async () => {
    const { status, body, headers } = await api(world, 'POST', '/keys', { as: alice.bearer, body: { name: ' laptop ' } });
    expect(status).toBe(201);
    const { key, secret, aws, login } = body;
    expect(key).toMatchObject({ name: 'laptop', owner: 'user:alice', createdBy: 'user:alice', statements: null });
    expect(key).toMatchObject({ state: 'active', revokedAt: null, lastUsedOn: null });
    expect(key.id).toMatch(/^[A-Z0-9]{20}$/);
    expect(secondsOf(key)).toBe(90 * DAY);
    expect(aws).toEqual({ accessKeyId: key.id, secretAccessKey: secret });
    expect(login).toBe('docker login -u alice registry.test');
    expect(headers.get('cache-control')).toBe('no-store');
    const later = await world.fetch('GET', `/api/v1/keys/${key.id}`, { authorization: alice.bearer });
    expect(await later.clone().json()).toEqual(key);
    expect(await later.text()).not.toContain(secret.split('_')[2]);
  });

  test("works at every endpoint under its owner's name or its own, and no other name", async () => {
    const { id, secret, basic, bearer } = await make();
    expect(await doors({ basic, bearer })).toEqual([200, 200, 200, 200]);
    for (const name of ['ALICE', id]) expect((await doors({ basic: basicOf(name, secret), bearer }))[0], name).toBe(200);
    const see = async (authorization: string) => {
      const response = await world.fetch('GET', '/token', { authorization });
      return { status: response.status, body: await response.text(), headers: [...response.headers] };
    };
    const wrongSecret = await see(basicOf('alice', `${secret.slice(0, -1)}${secret.endsWith('a') ? 'b' : 'a'}`));
    expect(wrongSecret.status).toBe(401);
    for (const name of ['bob', 'nobody', '', 'AWS', bob.keyId])
      expect(await see(basicOf(name, secret)), name).toEqual(wrongSecret);
  });

  test("lives as many days as requested, up to the registry's limit", async () => {
    world = worldOf({ ...world.env, KEY_DEFAULT_DAYS: '7', KEY_MAX_DAYS: '30' });
    expect(secondsOf(await shown((await make()).id))).toBe(7 * DAY);
    expect(secondsOf(await shown((await make({ days: 30 })).id))).toBe(30 * DAY);
    const withDays = (days: number) => api(world, 'POST', '/keys', { as: alice.bearer, body: { name: 'x', days } });
    for (const days of [31, 0]) {
      expect(await unchanged(() => withDays(days))).toBe('400 INVALID');
      const told = 'days: must be 1 to 30 in this registry. Without it, a new key works for 7. Nothing was saved';
      expect((await withDays(days)).body).toMatchObject({ errors: [{ message: told }] });
    }
  });

  test.each([
    ['without a name', {}],
    ['with an empty name', { name: ' ' }],
    ['with a name that is too long', { name: 'x'.repeat(101) }],
    ['with a name that shows as another', { name: 'a\u202eb' }],
    ['for no days', { name: 'x', days: 0 }],
    ['for half a day', { name: 'x', days: 0.5 }],
    ['with a pattern that is none', { name: 'x', statements: [{ actions: ['pull'], repositories: ['Alice/*'] }] }],
    ['with an action that is none', { name: 'x', statements: [{ actions: ['sudo'], repositories: ['alice/*'] }] }],
    ['with tags that cannot count', { name: 'x', statements: [{ actions: ['pull'], repositories: ['a/b'], tags: ['v1'] }] }],
    ['for somebody else', { name: 'x', owner: 'user:bob' }],
    ['with an id of its own', { name: 'x', id: 'BRTHAAAAAAAAAAAAAAAA' }],
    ['in the name of somebody else', { name: 'x', createdBy: 'user:bob' }],
  ])('%s is refused, and nothing is made', async (_, body) => {
    expect(await unchanged(() => api(world, 'POST', '/keys', { as: alice.bearer, body }))).toBe('400 INVALID');
  });

  test('is recorded with who made it and with which credential', async () => {
    const { id } = await make({ statements: [PULL] });
    const target = { id, owner: 'user:alice', name: 'laptop', statements: [PULL] };
    expect(await eventsAbout(id)).toEqual([{ type: 'key.created', target, actor: 'user:alice' }]);
  });

  test('is never stored or logged as a secret, nor shown again', async () => {
    const logged = (['log', 'info', 'warn', 'error', 'debug'] as const).map((level) => vi.spyOn(console, level));
    world = worldOf({ ...world.env, LOG: 'json' });
    const made = await make({ statements: [PULL] }, alice.bearer, { 'idempotency-key': 'once' });
    await doors(made);
    const next = madeIn(await rotate(made.id, made.bearer));
    await doors(next);
    await api(world, 'DELETE', `/keys/${made.id}`, { as: alice.bearer });
    await doors(made);
    const { results } = await world.env.DB.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all<{
      name: string;
    }>();
    const tables = results.map(({ name }) => name).filter((name) => !name.startsWith('_cf'));
    const rows = await world.env.DB.batch(tables.map((name) => world.env.DB.prepare(`SELECT * FROM ${name}`)));
    const stored = JSON.stringify(rows.map((result) => result.results));
    expect(stored).toContain(made.id);
    const log = JSON.stringify(logged.map((spy) => spy.mock.calls));
    for (const { secret } of [made, next]) {
      for (const text of [secret, secret.split('_')[2] as string]) {
        expect(stored).not.toContain(text);
        expect(log).not.toContain(text);
      }
    }
  });

  test('is one of at most a hundred usable ones, and expired ones do not count', async () => {
    const { id } = await make();
    await world.env.DB.batch(
      Array.from({ length: 99 }, (_, n) =>
        world.env.DB.prepare(
          `INSERT INTO access_keys (id, owner, name, created_at, created_by, expires_at, revoked_at)
           VALUES (?1, 'user:alice', 'x', 0, 'user:alice', unixepoch() + ?2, ?3)`,
        ).bind(`K${100 + n}`, n === 0 ? -1 : 1000, n === 1 ? 1 : null),
      ),
    );
    // There are 99 usable keys, including the key from the invitation.
    const last = await make();
    const one = { as: alice.bearer, body: { name: 'x' } };
    expect(await unchanged(() => api(world, 'POST', '/keys', one))).toBe('409 CONFLICT');
    await make({}, bob.bearer);
    madeIn(await rotate(id, alice.bearer));
    expect(await unchanged(() => rotate(last.id, alice.bearer))).toBe('409 CONFLICT');
    await api(world, 'DELETE', `/keys/${last.id}`, { as: alice.bearer });
    await api(world, 'DELETE', `/keys/${id}`, { as: alice.bearer });
    await make();
  });

  test('costs two round trips', async () => {
    await statusAt('/api/v1/keys', alice.bearer);
    const { env, counts } = counting(world.env);
    const answer = await api(worldOf(env), 'POST', '/keys', { as: alice.bearer, body: { name: 'x' } });
    madeIn(answer);
    expect(counts.d1).toBe(2);
  });
});

describe('an Idempotency-Key', () => {
  const header = { 'idempotency-key': '"8e03978e-40d5-43dd-bc93-6894a57f9324"' };

  test('creates one key for two requests, with one answer', async () => {
    const [one, other] = [await make({ days: 3 }, alice.bearer, header), await make({ days: 3 }, alice.bearer, header)];
    expect(other).toEqual(one);
    expect(await eventsAbout(one.id)).toHaveLength(1);
    expect(await make({ days: 3 }, alice.bearer, { 'idempotency-key': header['idempotency-key'].slice(1, -1) })).toEqual(one);
  });

  test('creates one key for sixteen concurrent requests', async () => {
    const all = await Promise.all(Array.from({ length: 16 }, () => make({ statements: [PULL] }, alice.bearer, header)));
    expect(new Set(all.map(({ id, secret }) => `${id} ${secret}`)).size).toBe(1);
    expect(await eventsAbout(all[0]?.id as string)).toHaveLength(1);
    expect((await api(world, 'GET', '/keys', { as: alice.bearer })).body.items).toHaveLength(2);
  });

  test.each([{ name: 'other' }, { statements: [PULL] }, { statements: [] }, { days: 4 }])(
    'with another request, %o, is a conflict and shows no secret',
    async (other) => {
      await make({ days: 3 }, alice.bearer, header);
      const again = { as: alice.bearer, body: { name: 'laptop', days: 3, ...other }, headers: header };
      expect(await unchanged(() => api(world, 'POST', '/keys', again))).toBe('409 CONFLICT');
    },
  );

  test.each(['changed', 'revoked', 'expired'])('of a key that was %s since is a conflict', async (how) => {
    const { id } = await make({}, alice.bearer, header);
    if (how === 'changed') await api(world, 'PATCH', `/keys/${id}`, { as: alice.bearer, body: { statements: [PULL] } });
    if (how === 'revoked') await api(world, 'DELETE', `/keys/${id}`, { as: alice.bearer });
    if (how === 'expired') await expire(id);
    const again = { as: alice.bearer, body: { name: 'laptop' }, headers: header };
    expect(await unchanged(() => api(world, 'POST', '/keys', again))).toBe('409 CONFLICT');
  });

  test('is separate for each user, and without one each request creates a key', async () => {
    const ids = [
      await make({}, alice.bearer, header),
      await make({}, bob.bearer, header),
      await make({}, alice.bearer, { 'idempotency-key': 'other' }),
      await make(),
      await make(),
    ].map(({ id }) => id);
    expect(new Set(ids).size).toBe(5);
  });

  test.each(['', '""', 'two words', '"two words"', '"open', 'x'.repeat(256), 'ü'])('that is %j is refused', async (text) => {
    const request = { as: alice.bearer, body: { name: 'x' }, headers: { 'idempotency-key': text } };
    expect(await unchanged(() => api(world, 'POST', '/keys', request))).toBe('400 INVALID');
  });
});

describe('the list of keys', () => {
  test("contains the caller's own keys only, page by page, without secrets", async () => {
    const made = await Promise.all([make(), make(), make(), make({}, bob.bearer)]);
    const mine = [alice.keyId, ...made.slice(0, 3).map(({ id }) => id)].sort();
    const first = await api(world, 'GET', '/keys?n=3', { as: alice.bearer });
    const second = await api(world, 'GET', `/keys?n=3&last=${first.body.next}`, { as: alice.bearer });
    expect([...first.body.items, ...second.body.items].map(({ id }) => id)).toEqual(mine);
    expect(second.body.next).toBeNull();
    for (const { secret } of made) expect(JSON.stringify(first.body)).not.toContain(secret.split('_')[2]);
  });

  test('shows which keys have ended and how', async () => {
    const [expired, revoked] = [await make(), await make()];
    await expire(expired.id);
    await api(world, 'DELETE', `/keys/${revoked.id}`, { as: alice.bearer });
    const { body } = await api(world, 'GET', '/keys', { as: alice.bearer });
    const states = Object.fromEntries(body.items.map((key) => [key.id, key.state]));
    expect(states).toEqual({ [alice.keyId]: 'active', [expired.id]: 'expired', [revoked.id]: 'revoked' });
    expect((await shown(revoked.id)).revokedAt).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
  });

  test('of another user is for administrators with an unrestricted key', async () => {
    const { id } = await make();
    const ids = async (as?: string) => {
      const { body } = await api(world, 'GET', '/keys?owner=User:Alice', as === undefined ? {} : { as });
      return body.items?.map((key) => key.id) ?? body.errors[0].code;
    };
    expect(await ids()).toEqual([alice.keyId, id].sort());
    expect(await ids(alice.bearer)).toEqual([alice.keyId, id].sort());
    expect(await ids(bob.bearer)).toBe('NOT_FOUND');
    const narrowed = madeIn(await api(world, 'POST', '/keys', { body: { name: 'x', statements: [ALL] } }));
    expect(await ids(narrowed.bearer)).toBe('NOT_FOUND');
    expect((await api(world, 'GET', '/keys', { as: narrowed.bearer })).status).toBe(200);
  });
});

describe('changing a key', () => {
  const change = (id: string, body: object, as = alice.bearer, headers: Record<string, string> = {}) =>
    api(world, 'PATCH', `/keys/${id}`, { as, body, headers });

  test('can rename, narrow and widen it, and set its expiry', async () => {
    const { id, etag } = await make({ days: 10 });
    const narrowed = await change(id, {
      name: 'ci',
      statements: [{ actions: 'pull only', repositories: ['alice/*'] }],
      days: 5,
    });
    expect(narrowed.body).toMatchObject({ name: 'ci', statements: [PULL] });
    expect(secondsOf(narrowed.body)).toBe(5 * DAY);
    expect(narrowed.headers.get('etag')).not.toBe(etag);
    expect(await shown(id)).toEqual(narrowed.body);
    expect((await change(id, { statements: null })).body).toMatchObject({ name: 'ci', statements: null });
    const events = (await eventsAbout(id)).slice(1);
    expect(events.map(({ type, target }) => [type, target.name, target.statements])).toEqual([
      ['key.changed', 'ci', [PULL]],
      ['key.changed', 'ci', null],
    ]);
  });

  test('to the same values records nothing and keeps the ETag', async () => {
    const { id, etag } = await make({ statements: [PULL], days: 9 });
    const before = await state();
    for (const body of [{}, { name: 'laptop' }, { statements: [PULL], days: 9 }]) {
      const { status, headers } = await change(id, body);
      expect([status, headers.get('etag')]).toEqual([200, etag]);
    }
    expect(await state()).toEqual(before);
  });

  test('requires the current version if the request names one', async () => {
    const { id, etag } = await make();
    expect((await change(id, { name: 'second' }, alice.bearer, { 'if-match': etag })).status).toBe(200);
    for (const headers of [{ 'if-match': etag }, { 'if-none-match': '*' }, { 'if-match': 'x' }]) {
      expect(await unchanged(() => change(id, { name: 'third' }, alice.bearer, headers))).toBe('412 PRECONDITION_FAILED');
    }
  });

  test('in its name and its statements concurrently keeps both changes', async () => {
    const { id } = await make();
    await Promise.all([change(id, { name: 'ci' }), change(id, { statements: [PULL] }), change(id, { days: 2 })]);
    const key = await shown(id);
    expect(key).toMatchObject({ name: 'ci', statements: [PULL] });
    expect(secondsOf(key)).toBe(2 * DAY);
  });

  test('is refused if it has ended', async () => {
    const [expired, revoked] = [await make(), await make()];
    await expire(expired.id);
    await api(world, 'DELETE', `/keys/${revoked.id}`, { as: alice.bearer });
    for (const { id } of [expired, revoked]) {
      expect(await unchanged(() => change(id, { name: 'x', days: 100 }))).toBe('409 CONFLICT');
      expect(await unchanged(() => rotate(id, alice.bearer))).toBe('409 CONFLICT');
    }
  });

  test('is refused if it would have ended already', async () => {
    const { id } = await make({ days: 10 });
    await setColumns(id, `created_at = created_at - ${5 * DAY}, expires_at = expires_at - ${5 * DAY}`);
    expect(await unchanged(() => change(id, { days: 5 }))).toBe('409 CONFLICT');
    expect(await unchanged(() => change(id, { days: 10_000 }))).toBe('400 INVALID');
    expect((await change(id, { days: 6 })).status).toBe(200);
  });

  test.each([{ owner: 'user:bob' }, { id: 'x' }, { revokedAt: null }, { name: '' }, { version: 7 }])(
    'to %o is refused',
    async (body) => {
      const { id } = await make();
      expect(await unchanged(() => change(id, body))).toBe('400 INVALID');
    },
  );

  test('in its own statements is not for a narrowed key', async () => {
    const { id, bearer } = await make({ statements: [ALL] });
    expect(await unchanged(() => change(id, { statements: null }, bearer))).toBe('403 DENIED');
  });
});

describe('revoking a key', () => {
  test('ends it at every endpoint at once, keeps its row, and is recorded once', async () => {
    const key = await make();
    expect(await doors(key)).toEqual([200, 200, 200, 200]);
    expect((await api(world, 'DELETE', `/keys/${key.id}`, { as: alice.bearer })).status).toBe(204);
    expect(await doors(key)).toEqual([401, 401, 401, 401]);
    const before = await state();
    expect((await api(world, 'DELETE', `/keys/${key.id}`, { as: alice.bearer })).status).toBe(204);
    expect(await state()).toEqual(before);
    expect((await shown(key.id)).state).toBe('revoked');
    const target = { id: key.id, owner: 'user:alice', name: 'laptop' };
    expect((await eventsAbout(key.id))[1]).toEqual({ type: 'key.revoked', target, actor: 'user:alice' });
  });

  test('works with the key itself', async () => {
    const { id, bearer } = await make();
    expect((await api(world, 'DELETE', `/keys/${id}`, { as: bearer })).status).toBe(204);
    expect(await statusAt('/api/v1/keys', bearer)).toBe(401);
  });

  test('works for a narrowed key on itself, and on no other', async () => {
    const { id, bearer } = await make({ statements: [ALL] });
    const other = await make();
    expect(await unchanged(() => api(world, 'DELETE', `/keys/${other.id}`, { as: bearer }))).toBe('403 DENIED');
    expect((await api(world, 'DELETE', `/keys/${id}`, { as: bearer })).status).toBe(204);
    expect(await statusAt('/api/v1/keys', bearer)).toBe(401);
  });

  test('is possible for an administrator on any key', async () => {
    const { id, bearer } = await make();
    expect((await api(world, 'DELETE', `/keys/${id}`)).status).toBe(204);
    expect(await statusAt('/api/v1/keys', bearer)).toBe(401);
    expect((await eventsAbout(id))[1]?.actor).toBe('user:admin');
  });
});

describe('revoking a key that was rotated', () => {
  /** Creates a key and replaces it twice, with the replaced key or with another key of the owner. */
  async function line(by: 'itself' | 'owner'): Promise<Made[]> {
    const keys = [await make({ statements: [PULL] })];
    for (let n = 0; n < 3; n++) {
      const last = keys.at(-1) as Made;
      keys.push(madeIn(await rotate(last.id, by === 'itself' ? last.bearer : alice.bearer)));
    }
    return keys;
  }
  const state401 = async (keys: Made[]) => Promise.all(keys.map(async (key) => (await doors(key))[0] === 401));

  test.each(['itself', 'owner'] as const)(
    'by %s revokes its successors and what was made with them, and no other key',
    async (by) => {
      const keys = await line(by);
      const login = await api(world, 'POST', '/login-password', { as: keys.at(-1)?.bearer as string, body: {} });
      const offline = await world.fetch('GET', '/token?offline_token=true', { authorization: keys.at(-1)?.basic as string });
      const { refresh_token } = (await offline.json()) as { refresh_token: string };
      expect((await api(world, 'DELETE', `/keys/${keys[1]?.id}`, { as: alice.bearer })).status).toBe(204);
      expect(await state401(keys)).toEqual([false, true, true, true]);
      for (const key of keys.slice(1)) expect((await eventsAbout(key.id)).at(-1)?.type).toBe('key.revoked');
      expect(await statusAt('/token', basicOf('AWS', login.body.password))).toBe(401);
      const refresh = await world.fetch('POST', '/token', {
        authorization: null,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token }).toString(),
      });
      expect(refresh.status).toBe(401);
      const before = await state();
      expect((await api(world, 'DELETE', `/keys/${keys[1]?.id}`, { as: alice.bearer })).status).toBe(204);
      expect(await state()).toEqual(before);
      expect(await statusAt('/api/v1/keys', alice.bearer)).toBe(200);
    },
  );

  test('works even if the key itself has ended, or makes the request', async () => {
    const [expired, asking] = [await line('itself'), await line('itself')];
    await expire(expired[0]?.id as string);
    expect((await api(world, 'DELETE', `/keys/${expired[0]?.id}`, { as: alice.bearer })).status).toBe(204);
    expect(await state401(expired)).toEqual([true, true, true, true]);
    expect((await api(world, 'DELETE', `/keys/${asking[0]?.id}`, { as: asking[0]?.bearer as string })).status).toBe(204);
    expect(await state401(asking)).toEqual([true, true, true, true]);
  });

  test('spares the successors if its owner says so, and never if the key itself does', async () => {
    const keys = await line('owner');
    const keep = (id: string, as: string) => api(world, 'DELETE', `/keys/${id}?successors=keep`, { as });
    for (const key of keys) expect(await unchanged(() => keep(keys[0]?.id as string, key.bearer))).toBe('403 DENIED');
    expect((await keep(keys[0]?.id as string, alice.bearer)).status).toBe(204);
    expect(await state401(keys)).toEqual([true, false, false, false]);
    expect((await api(world, 'DELETE', `/keys/${keys[0]?.id}`, { as: alice.bearer })).status).toBe(204);
    expect(await state401(keys)).toEqual([true, true, true, true]);
  });
});

describe('rotating a key', () => {
  test('creates one with the same owner, name, narrowing and lifetime, and ends the old one after a day', async () => {
    const old = await make({ statements: [PULL], days: 30 });
    await setColumns(old.id, `created_at = created_at - ${20 * DAY}, expires_at = expires_at - ${20 * DAY}`);
    const { body } = await rotate(old.id, alice.bearer);
    expect(body.key).toMatchObject({ name: 'laptop', owner: 'user:alice', statements: [PULL], state: 'active' });
    expect(body.key.id).not.toBe(old.id);
    expect(secondsOf(body.key)).toBe(30 * DAY);
    const next = { basic: basicOf('alice', body.secret), bearer: `Bearer ${body.secret}` };
    expect([...(await doors(old)), ...(await doors(next))]).toEqual(Array(8).fill(200));
    expect(Date.parse((await shown(old.id)).expiresAt) - Date.parse(body.key.createdAt)).toBe(DAY * 1000);
    const [created, changed] = [(await eventsAbout(body.key.id))[0], (await eventsAbout(old.id))[1]];
    expect(created).toMatchObject({ type: 'key.created', target: { replaces: old.id } });
    expect(changed).toMatchObject({ type: 'key.changed', target: { replacedBy: body.key.id } });
  });

  test('with no overlap ends the old key at once, and never later than planned', async () => {
    const [atOnce, soon] = [await make(), await make()];
    madeIn(await rotate(atOnce.id, alice.bearer, { overlap: 0 }));
    expect(await doors(atOnce)).toEqual([401, 401, 401, 401]);
    await setColumns(soon.id, 'expires_at = unixepoch() + 60');
    const { expiresAt } = await shown(soon.id);
    madeIn(await rotate(soon.id, alice.bearer));
    expect((await shown(soon.id)).expiresAt).toBe(expiresAt);
    expect(await eventsAbout(soon.id)).toHaveLength(1);
  });

  test('works for a narrowed key on itself, without more rights or lifetime', async () => {
    const old = await make({ statements: [PULL], days: 3 });
    const { body, status } = await rotate(old.id, old.bearer);
    expect(status).toBe(201);
    expect(body.key).toMatchObject({ statements: [PULL], owner: 'user:alice' });
    expect(Math.abs(secondsOf(body.key) - 3 * DAY)).toBeLessThan(60);
    const second = await make({ statements: [PULL], days: 3 });
    expect(await unchanged(() => rotate(second.id, second.bearer, { days: 3 }))).toBe('403 DENIED');
    expect(await unchanged(() => rotate(old.id, second.bearer))).toBe('403 DENIED');
    expect(await unchanged(() => rotate(alice.keyId, second.bearer))).toBe('403 DENIED');
  });

  test("with days requires an unrestricted key, and respects the registry's current limit", async () => {
    const [one, other] = [await make({ days: 90 }), await make({ days: 90 })];
    world = worldOf({ ...world.env, KEY_MAX_DAYS: '60', KEY_DEFAULT_DAYS: '60' });
    expect(secondsOf((await rotate(one.id, alice.bearer, { days: 50 })).body.key)).toBe(50 * DAY);
    expect(await unchanged(() => rotate(other.id, alice.bearer, { days: 61 }))).toBe('400 INVALID');
    expect(secondsOf((await rotate(other.id, alice.bearer)).body.key)).toBe(60 * DAY);
  });

  test('again with its Idempotency-Key gets the same answer, and sixteen concurrent requests make one key', async () => {
    const old = await make({ statements: [PULL] });
    const all = await Promise.all(Array.from({ length: 16 }, () => rotate(old.id, old.bearer, {}, REPEATED)));
    expect(new Set(all.map((answer) => madeIn(answer).secret)).size).toBe(1);
    expect(madeIn(await rotate(old.id, old.bearer, {}, REPEATED)).secret).toBe(all[0]?.body.secret);
    expect(await eventsAbout(all[0]?.body.key.id as string)).toHaveLength(1);
    expect((await api(world, 'GET', '/keys', { as: alice.bearer })).body.items).toHaveLength(3);
  });

  test('again may end the old key sooner', async () => {
    const old = await make();
    const first = madeIn(await rotate(old.id, alice.bearer, {}, REPEATED));
    expect(madeIn(await rotate(old.id, alice.bearer, { overlap: 0 }, REPEATED)).secret).toBe(first.secret);
    expect(await doors(old)).toEqual([401, 401, 401, 401]);
    // The client repeats the request, as if its answer was lost.
    expect(madeIn(await rotate(old.id, alice.bearer, { overlap: 0 }, REPEATED)).secret).toBe(first.secret);
  });

  test.each([
    ['narrowed', [PULL]],
    ['whole', null],
  ])(
    "again by the old key (%s) does not reveal the new secret: only the first request's sender can know how",
    async (_, statements) => {
      const old = await make({ statements });
      const asks = [{}, { 'idempotency-key': 'guessed' }];
      const [told, ...others] = await Promise.all(
        [REPEATED, ...asks, ...asks].map((how) => rotate(old.id, old.bearer, {}, how)),
      );
      expect([told, ...others].filter((answer) => answer?.status === 201)).toHaveLength(1);
      const { items } = (await api(world, 'GET', '/keys', { as: alice.bearer })).body;
      const successor = items.find(({ id }) => id !== old.id && id !== alice.keyId)?.id ?? '';
      for (const how of asks) {
        for (const as of [old.bearer, alice.bearer]) {
          const answer = await rotate(old.id, as, {}, how);
          expect(refused(answer)).toBe('409 CONFLICT');
          expect(JSON.stringify(answer.body)).toContain(`rotated already, to ${successor}`);
        }
      }
    },
  );

  test('again without an Idempotency-Key is refused, for the first sender as well', async () => {
    for (const by of ['itself', 'owner']) {
      const old = await make({ statements: [PULL] });
      const as = by === 'itself' ? old.bearer : alice.bearer;
      madeIn(await rotate(old.id, as));
      expect(await unchanged(() => rotate(old.id, as))).toBe('409 CONFLICT');
    }
  });

  test('again some time later does not return the secret for any Idempotency-Key', async () => {
    const old = await make({ statements: [PULL] });
    const next = madeIn(await rotate(old.id, old.bearer, {}, REPEATED));
    await setColumns(next.id, 'created_at = created_at - 540, expires_at = expires_at - 540');
    expect(madeIn(await rotate(old.id, old.bearer, {}, REPEATED)).secret).toBe(next.secret);
    await setColumns(next.id, 'created_at = created_at - 61, expires_at = expires_at - 61');
    expect(await unchanged(() => rotate(old.id, old.bearer, {}, REPEATED))).toBe('409 CONFLICT');
  });

  test.each([
    ['narrowed', [PULL]],
    ['whole', null],
  ])('by the key itself (%s), as often as it likes, ends when the first would have ended', async (_, statements) => {
    const first = await make({ statements, days: 2 });
    const { expiresAt } = await shown(first.id);
    let key = first;
    for (let n = 0; n < 5; n++) {
      await setColumns(key.id, 'created_at = created_at - 3600');
      expect(refused(await rotate(key.id, key.bearer, { days: 1 }))).toBe('403 DENIED');
      key = madeIn(await rotate(key.id, key.bearer));
      expect((await shown(key.id)).expiresAt).toBe(expiresAt);
    }
    expect(await doors(key)).toEqual([200, 200, 200, 200]);
  });

  test("by the key itself respects the registry's current limit", async () => {
    const { id, bearer } = await make({ days: 90 });
    world = worldOf({ ...world.env, KEY_MAX_DAYS: '60', KEY_DEFAULT_DAYS: '60' });
    expect(secondsOf((await rotate(id, bearer)).body.key)).toBe(60 * DAY);
  });

  test('and changing do not prolong a key by itself; its owner may with another key', async () => {
    const { id, bearer } = await make({ days: 2 });
    const change = (as: string, days: number) => api(world, 'PATCH', `/keys/${id}`, { as, body: { days } });
    expect(await unchanged(() => change(bearer, 3))).toBe('403 DENIED');
    expect((await change(bearer, 1)).status).toBe(200);
    expect(await unchanged(() => change(bearer, 2))).toBe('403 DENIED');
    expect((await change(alice.bearer, 5)).status).toBe(200);
  });

  test('makes the old key unchangeable, because its successor would not change with it', async () => {
    const old = await make({ statements: [PULL] });
    const next = madeIn(await rotate(old.id, old.bearer));
    for (const body of [{ statements: [] }, { statements: null }, { days: 1 }, { days: 300 }]) {
      const answer = await api(world, 'PATCH', `/keys/${old.id}`, { as: alice.bearer, body });
      expect(refused(answer)).toBe('409 CONFLICT');
      expect(JSON.stringify(answer.body)).toContain(next.id);
    }
    expect((await api(world, 'PATCH', `/keys/${old.id}`, { as: alice.bearer, body: { name: 'old' } })).status).toBe(200);
    expect((await api(world, 'PATCH', `/keys/${next.id}`, { as: alice.bearer, body: { statements: [] } })).status).toBe(200);
  });

  test.each(['changed', 'prolonged', 'revoked', 'expired', 'longer', 'asked by another'])(
    'again is a conflict if the answer would differ: %s',
    async (how) => {
      const old = await make({ statements: [PULL] });
      const next = madeIn(await rotate(old.id, how === 'asked by another' ? old.bearer : alice.bearer, {}, REPEATED));
      if (how === 'changed') await api(world, 'PATCH', `/keys/${next.id}`, { as: alice.bearer, body: { statements: null } });
      if (how === 'prolonged') await api(world, 'PATCH', `/keys/${next.id}`, { as: alice.bearer, body: { days: 300 } });
      if (how === 'revoked') await api(world, 'DELETE', `/keys/${next.id}`, { as: alice.bearer });
      if (how === 'expired') await expire(next.id);
      const body = how === 'longer' ? { days: 300, overlap: 0 } : { overlap: 0 };
      expect(await unchanged(() => rotate(old.id, alice.bearer, body, REPEATED))).toBe('409 CONFLICT');
    },
  );

  test('by a narrowed key never reveals what its owner replaced it with, or anything broader than it is now', async () => {
    const [one, other] = [await make({ statements: [PULL] }), await make({ statements: [PULL, ALL] })];
    madeIn(await rotate(one.id, alice.bearer, { days: 300 }));
    expect(await unchanged(() => rotate(one.id, one.bearer))).toBe('409 CONFLICT');
    madeIn(await rotate(other.id, other.bearer, {}, REPEATED));
    await setColumns(other.id, `statements = '${JSON.stringify([PULL])}'`);
    expect(await unchanged(() => rotate(other.id, other.bearer, {}, REPEATED))).toBe('409 CONFLICT');
  });

  test("of a user's key is not for an administrator, who could then act as that user", async () => {
    const { id } = await make();
    const before = await state();
    expect(refused(await api(world, 'POST', `/keys/${id}/rotate`))).toBe('403 DENIED');
    expect(await state()).toEqual(before);
  });

  test.each([{ overlap: -1 }, { overlap: 604_801 }, { overlap: 1.5 }, { name: 'x' }, { statements: null }])(
    'with %o is refused',
    async (body) => {
      const { id } = await make();
      expect(await unchanged(() => rotate(id, alice.bearer, body))).toBe('400 INVALID');
    },
  );
});

describe("somebody else's key", () => {
  test('cannot be distinguished on any route from one that does not exist', async () => {
    const theirs = await make({ statements: [PULL] });
    const absent = `BRTH${'A'.repeat(16)}`;
    const narrowed = await make({ statements: [ALL] }, bob.bearer);
    const routes: [method: string, path: string, body?: object][] = [
      ['GET', ''],
      ['PATCH', '', { name: 'mine' }],
      ['DELETE', ''],
      ['POST', '/rotate', {}],
    ];
    for (const [method, path, body] of routes) {
      for (const as of [bob.bearer, narrowed.bearer]) {
        const see = async (id: string) => {
          const answer = await api(world, method, `/keys/${id}${path}`, { as, body });
          return { status: answer.status, body: answer.body, headers: [...answer.headers] };
        };
        const before = await state();
        const foreign = await see(theirs.id);
        expect(foreign, `${method} ${path}`).toEqual(await see(absent));
        if (as === bob.bearer) expect(foreign.status, `${method} ${path}`).toBe(404);
        expect(await state()).toEqual(before);
      }
    }
    const list = async (owner: string) => {
      const { status, body } = await api(world, 'GET', `/keys?owner=${owner}`, { as: bob.bearer });
      return { status, body };
    };
    expect((await list('user:alice')).status).toBe(404);
    for (const owner of ['user:nobody', 'robot:acme/ci', 'x', '']) expect(await list(owner)).toEqual(await list('user:alice'));
  });
});

describe("a robot's key", () => {
  test("is seen, changed, rotated and revoked by owners of its organization, and by nobody else's", async () => {
    for (const name of ['acme', 'other']) await api(world, 'PUT', `/organizations/${name}`, { body: {} });
    await api(world, 'PUT', '/organizations/acme/members/alice', { body: { role: 'owner' } });
    await api(world, 'PUT', '/organizations/other/members/bob', { body: { role: 'owner' } });
    await api(world, 'PUT', '/organizations/acme/members/bob', { body: { role: 'member' } });
    await api(world, 'PUT', '/organizations/acme/robots/ci', { as: alice.bearer, body: {} });
    const path = '/organizations/acme/robots/ci/keys';
    const robot = madeIn(await api(world, 'POST', path, { as: alice.bearer, body: { name: 'ci' } }));
    expect(robot.basic).toBe(basicOf('acme+ci', robot.secret));
    expect(await doors(robot)).toEqual([200, 200, 200, 200]);
    const owned = await api(world, 'GET', '/keys?owner=robot:acme/ci', { as: alice.bearer });
    expect(owned.body.items.map(({ id }) => id)).toEqual([robot.id]);
    const narrowed = await make({ statements: [ALL] });
    for (const as of [bob.bearer, narrowed.bearer]) {
      expect(refused(await api(world, 'GET', '/keys?owner=robot:acme/ci', { as }))).toBe('404 NOT_FOUND');
      expect(refused(await api(world, 'GET', `/keys/${robot.id}`, { as }))).toBe('404 NOT_FOUND');
      expect(await unchanged(() => rotate(robot.id, as))).toBe('404 NOT_FOUND');
    }
    await api(world, 'PUT', '/organizations/acme/robots/ci', { as: alice.bearer, body: { disabled: true } });
    expect(await unchanged(() => rotate(robot.id, alice.bearer))).toBe('409 CONFLICT');
    await api(world, 'PUT', '/organizations/acme/robots/ci', { as: alice.bearer, body: { disabled: false } });
    const renamed = await api(world, 'PATCH', `/keys/${robot.id}`, { as: alice.bearer, body: { name: 'deploy' } });
    expect(renamed.body).toMatchObject({ name: 'deploy', owner: 'robot:acme/ci' });
    const next = madeIn(await rotate(robot.id, alice.bearer, { overlap: 0 }));
    expect((await shown(next.id)).createdBy).toBe('user:alice');
    expect([await doors(robot), await doors(next)]).toEqual([Array(4).fill(401), Array(4).fill(200)]);
    expect((await api(world, 'DELETE', `/keys/${next.id}`, { as: alice.bearer })).status).toBe(204);
    expect(await doors(next)).toEqual(Array(4).fill(401));
  });
});

describe('the day of last use', () => {
  test('is written once a day, after the answer, and shown as a date', async () => {
    const key = await make();
    const cost = async () => {
      const { env, counts } = counting(world.env);
      const response = await worldOf(env).fetch('GET', '/token?scope=repository:alice/app:pull', { authorization: key.basic });
      expect(response.status).toBe(200);
      return { d1: counts.d1, rowsWritten: counts.rowsWritten };
    };
    expect(await cost()).toEqual({ d1: 2, rowsWritten: 1 });
    expect(await cost()).toEqual({ d1: 1, rowsWritten: 0 });
    await setColumns(key.id, 'last_used_day = last_used_day - 1');
    const yesterday = (await shown(key.id)).lastUsedOn;
    expect(await cost()).toEqual({ d1: 2, rowsWritten: 1 });
    const today = (await shown(key.id)).lastUsedOn;
    expect(today).toMatch(/^\d{4}-\d\d-\d\d$/);
    expect(Date.parse(today) - Date.parse(yesterday)).toBe(DAY * 1000);
    expect(Math.abs(Date.parse(today) - Date.now())).toBeLessThan(2 * DAY * 1000);
  });

  test('does not affect the request if it cannot be written', async () => {
    const key = await make();
    const logged = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const DB = new Proxy(world.env.DB, {
      get(target, name) {
        if (name !== 'prepare') return Reflect.get(target, name);
        return (sql: string) => {
          if (sql.startsWith('UPDATE access_keys')) throw new Error('D1 is away');
          return target.prepare(sql);
        };
      },
    });
    const response = await worldOf({ ...world.env, DB }).fetch('GET', '/token', { authorization: key.basic });
    expect(response.status).toBe(200);
    expect(logged).toHaveBeenCalled();
  });
});

test('a key does not work while its owner is disabled, or after it has expired', async () => {
  const [one, other] = [await make(), await make()];
  expect(await doors(one)).toEqual([200, 200, 200, 200]);
  await expire(other.id);
  expect(await doors(other)).toEqual([401, 401, 401, 401]);
  await api(world, 'PATCH', '/users/alice', { body: { disabled: true } });
  expect(await doors(one)).toEqual([401, 401, 401, 401]);
  await api(world, 'PATCH', '/users/alice', { body: { disabled: false } });
  expect(await doors(one)).toEqual([200, 200, 200, 200]);
});

/** Every way in which a key or its owner can lose a right, and how writes are answered afterwards. */
const ENDS: [how: string, status: number, end: (key: Made) => Promise<unknown>][] = [
  ['is revoked', 401, ({ id }) => api(world, 'DELETE', `/keys/${id}`, { as: alice.bearer })],
  ['expires', 401, ({ id }) => expire(id)],
  ['is replaced without overlap', 401, ({ id }) => rotate(id, alice.bearer, { overlap: 0 })],
  ['loses its owner', 401, () => api(world, 'PATCH', '/users/alice', { body: { disabled: true } })],
  ['is narrowed', 403, ({ id }) => api(world, 'PATCH', `/keys/${id}`, { as: alice.bearer, body: { statements: [PULL] } })],
];

describe('an access token', () => {
  test.each(ENDS)('whose key %s writes nothing from then on, and pulls until it expires', async (_, status, end) => {
    const image = await pushImage(world, 'alice/app', 'v1');
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() });
    const key = await make({ statements: [ALL] });
    const token = `Bearer ${await tokenFor(as(key.basic), 'repository:alice/app:pull,push,delete')}`;
    const upload = () => statusAt('/v2/alice/app/blobs/uploads/', token, 'POST');
    const pull = () => statusAt('/v2/alice/app/manifests/v1', token);
    const before = [await upload(), await pull()];
    await end(key);
    expect([before, await upload(), await pull()]).toEqual([[202, 200], status, 200]);
    expect(await statusAt('/v2/alice/app/manifests/v1', token, 'DELETE')).toBe(status);
    expect(await statusAt(`/v2/alice/app/manifests/${image.digest}`, token, 'DELETE')).toBe(status);
    expect(await statusAt('/v2/alice/app/manifests/v2', token, 'PUT')).toBe(status);
    expect(await statusAt('/v2/alice/app/manifests/v1', token)).toBe(200);
    vi.advanceTimersByTime(299_000);
    expect(await pull()).toBe(200);
    vi.advanceTimersByTime(2000);
    expect(await pull()).toBe(401);
  });

  test('never outlives the key that it was made with', async () => {
    const key = await make();
    await setColumns(key.id, 'expires_at = unixepoch() + 60');
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() });
    const response = await world.fetch('GET', '/token?scope=repository:alice/app:pull&offline_token=true', {
      authorization: key.basic,
    });
    const { token, expires_in, refresh_token } = (await response.json()) as Record<string, string>;
    expect(Number(expires_in)).toBeGreaterThan(0);
    expect(Number(expires_in)).toBeLessThanOrEqual(60);
    const refresh = () =>
      world.fetch('POST', '/token', {
        authorization: null,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refresh_token ?? '' }).toString(),
      });
    expect([await statusAt('/v2/', `Bearer ${token}`), (await refresh()).status]).toEqual([200, 200]);
    vi.advanceTimersByTime(61_000);
    expect([await statusAt('/v2/', `Bearer ${token}`), (await refresh()).status]).toEqual([401, 401]);
  });

  test('made with a key is refused by the API, and a key is no access token', async () => {
    const key = await make();
    const token = await tokenFor(as(key.basic), 'repository:alice/app:pull');
    expect(await statusAt('/api/v1/keys', `Bearer ${token}`)).toBe(401);
    expect(await statusAt('/v2/', key.bearer)).toBe(401);
  });
});

/** The same world with this credential in each request. */
function as(authorization: string): World {
  return { ...world, fetch: (method, path, init = {}) => world.fetch(method, path, { authorization, ...init }) };
}

test('a login password made with a narrowed key cannot rotate a key', async () => {
  const key = await make({ statements: [ALL] });
  const { body } = await api(world, 'POST', '/login-password', { as: key.bearer, body: {} });
  expect(await unchanged(() => rotate(key.id, `Bearer ${body.password}`))).toBe('403 DENIED');
});

test('a key stops working once the secret that it was derived from is gone', async () => {
  const key = await make();
  await pushBlob(as(key.basic), 'alice/app', 'x');
  world = worldOf({ ...world.env, REGISTRY_SECRET: 'another-secret-of-the-tests-0123456789' });
  expect(await doors(key)).toEqual([401, 401, 401, 401]);
});
