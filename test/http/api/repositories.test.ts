/** Repositories through the management API: how they are created, described, changed and deleted, and what remains. */
import { beforeEach, describe, expect, test } from 'vitest';
import { imageIn, noise, pushBlob, pushImage, putManifest, refusal } from '../../world/images.ts';
import { eventsDuring, makeOrganization, makeTeam, tally } from '../../world/organizations.ts';
import { type ApiAnswer, type ApiRequest, api, inviteUser, type Person, refused } from '../../world/people.ts';
import { tokenFor } from '../../world/tokens.ts';
import { newWorld, type World } from '../../world/world.ts';

interface Repository {
  name: string;
  visibility: 'private' | 'public';
  description: string;
  overview: string;
  createdAt: string;
}

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

const path = (repository: string) => `/repositories/${repository}`;
const policyOf = (repository: string) => `/repositories/${repository}/-/policy`;
const make = (repository: string, request: ApiRequest = {}) =>
  api<Repository>(world, 'PUT', path(repository), { body: {}, ...request });
const describe_ = (repository: string, request: ApiRequest = {}) => api<Repository>(world, 'GET', path(repository), request);
const change = (repository: string, body: unknown, headers: Record<string, string> = {}) =>
  api<Repository>(world, 'PATCH', path(repository), { body, headers });
const etag = ({ headers }: ApiAnswer<unknown>) => headers.get('etag') ?? '';

async function typesDuring(work: () => Promise<unknown>): Promise<string[]> {
  return (await eventsDuring(world, work)).map(({ type }) => type);
}

/** Saves a policy of a user, as an administrator. */
async function allow(person: Person, actions: string[], repositories: string[]): Promise<void> {
  const { status } = await api(world, 'PUT', `/users/${person.name}/policy`, {
    body: { statements: [{ actions, repositories }] },
  });
  expect(status).toBe(200);
}

/** All parts of an answer in which a caller could see a difference. */
function seen({ status, body, headers }: ApiAnswer<unknown>): unknown {
  return { status, body, headers: [...headers].sort() };
}

test('a change without a body is refused, and says so', async () => {
  expect((await api(world, 'PUT', '/repositories/acme/patched', { body: {} })).status).toBe(201);
  const { status, body } = await api<{ errors: [{ message: string }] }>(world, 'PATCH', '/repositories/acme/patched');
  expect([status, body.errors[0].message]).toEqual([400, 'the request has no body: send what to change as JSON']);
  expect((await api(world, 'PATCH', '/repositories/acme/patched', { body: {} })).status).toBe(200);
});

describe('a new repository', () => {
  test('is a 201, private, and has the given description', async () => {
    const made = await make('acme/api', { body: { description: 'The API', overview: '# API' } });
    expect(made).toMatchObject({ status: 201, body: { name: 'acme/api', visibility: 'private', description: 'The API' } });
    expect(Math.abs(Date.parse(made.body.createdAt) - Date.now())).toBeLessThan(60_000);
    const found = await describe_('acme/api');
    expect(found).toMatchObject({ status: 200, body: made.body });
    expect(etag(found)).toBe(etag(made));
    expect(found.body.overview).toBe('# API');
    expect(found.headers.get('cache-control')).toBe('no-store');
  });

  test('is public if requested, and everybody may pull', async () => {
    expect(await make('acme/site', { body: { visibility: 'public' } })).toMatchObject({ body: { visibility: 'public' } });
    await pushImage(world, 'acme/site', 'v1');
    expect((await describe_('acme/site', { as: null })).status).toBe(200);
    const token = await (await world.fetch('GET', '/token?scope=repository:acme/site:pull', { authorization: null })).json();
    const authorization = `Bearer ${(token as { token: string }).token}`;
    expect((await world.fetch('GET', '/v2/acme/site/manifests/v1', { authorization })).status).toBe(200);
  });

  test('needs no body, and accepts one only without a name', async () => {
    expect((await api(world, 'PUT', path('acme/api'))).status).toBe(201);
    expect(refused(await make('acme/web', { body: { name: 'acme/other' } }))).toBe('400 INVALID');
    expect(refused(await make('acme/web', { body: { visibility: 'internal' } }))).toBe('400 INVALID');
    expect((await describe_('acme/web')).status).toBe(404);
  });

  test('created again is a 200 with the same answer and no effect', async () => {
    const body = { visibility: 'public', description: 'one', overview: 'two' };
    const made = await make('acme/api', { body });
    const types = await typesDuring(async () => {
      const again = await make('acme/api', { body });
      expect(again).toMatchObject({ status: 200, body: made.body });
      expect(etag(again)).toBe(etag(made));
    });
    expect(types).toEqual([]);
  });

  test('is created once by concurrent requests', async () => {
    const types = await typesDuring(async () => {
      const answers = await Promise.all(Array.from({ length: 8 }, () => make('acme/api')));
      expect(tally(answers.map(({ status }) => status))).toEqual({ 201: 1, 200: 7 });
    });
    expect(types).toEqual(['repository.created']);
  });

  test('on condition that it does not exist is refused if it exists', async () => {
    const headers = { 'if-none-match': '*' };
    expect((await make('acme/api', { headers, body: { description: 'first' } })).status).toBe(201);
    expect(refused(await make('acme/api', { headers, body: { description: 'second' } }))).toBe('412 PRECONDITION_FAILED');
    expect((await describe_('acme/api')).body.description).toBe('first');
  });

  test('on condition of a version is refused if it does not exist', async () => {
    const headers = { 'if-match': '"1"' };
    expect(refused(await make('acme/api', { headers }))).toBe('412 PRECONDITION_FAILED');
    expect((await describe_('acme/api')).status).toBe(404);
  });

  test('can also be created by a push, and has an ETag from the beginning', async () => {
    await pushImage(world, 'acme/pushed', 'v1');
    const found = await describe_('acme/pushed');
    expect(found).toMatchObject({ status: 200, body: { visibility: 'private', description: '', overview: '' } });
    const headers = { 'if-match': etag(found) };
    expect((await change('acme/pushed', { description: 'by push' }, headers)).status).toBe(200);
    expect(refused(await change('acme/pushed', { description: 'lost' }, headers))).toBe('412 PRECONDITION_FAILED');
    expect((await make('acme/pushed', { body: { description: 'by push' } })).status).toBe(200);
  });

  test('is known to the API at once when a push creates it', async () => {
    const [made] = await Promise.all([make('acme/api'), pushBlob(world, 'acme/api', noise(10))]);
    expect([200, 201]).toContain(made.status);
    expect((await describe_('acme/api')).status).toBe(200);
  });
});

describe('a user who may create but not administer', () => {
  let carol: Person;

  beforeEach(async () => {
    carol = await inviteUser(world, 'carol');
    await make('acme/secret', { body: { description: 'not for carol' } });
  });

  test('creates repositories, and learns of an existing one only that its name is taken', async () => {
    await allow(carol, ['create'], ['acme/*']);
    expect((await make('acme/new', { as: carol.basic })).status).toBe(201);
    const types = await typesDuring(async () => {
      const answer = await make('acme/secret', { as: carol.basic, body: { visibility: 'public' } });
      expect(refused(answer)).toBe('409 CONFLICT');
      expect(JSON.stringify(answer.body)).not.toContain('not for carol');
      expect(answer.headers.get('etag')).toBeNull();
      const conditional = { as: carol.basic, headers: { 'if-none-match': '*' } };
      expect(refused(await make('acme/secret', conditional))).toBe('412 PRECONDITION_FAILED');
    });
    expect(types).toEqual([]);
    expect((await describe_('acme/secret')).body).toMatchObject({ visibility: 'private', description: 'not for carol' });
  });

  test('and may pull is refused with the missing right, and changes nothing', async () => {
    await allow(carol, ['create', 'pull', 'push'], ['acme/*']);
    const types = await typesDuring(async () => {
      expect(refused(await make('acme/secret', { as: carol.basic, body: { visibility: 'public' } }))).toBe('403 DENIED');
      const headers = { 'if-match': etag(await describe_('acme/secret')) };
      expect(refused(await make('acme/secret', { as: carol.basic, headers }))).toBe('403 DENIED');
    });
    expect(types).toEqual([]);
  });

  test.each<[string, Record<string, string>]>([
    ['public', { visibility: 'public' }],
    ['described', { description: 'Official images' }],
    ['with an overview', { overview: '# Official images' }],
  ])('makes none that is %s, as each needs the right to change it', async (_, body) => {
    const statement = (actions: string[]) => ({ actions, repositories: ['acme/*'] });
    const statements = [statement(['create', 'pull', 'push'])];
    await allow(carol, ['create', 'pull', 'push'], ['acme/*']);
    const types = await typesDuring(async () => {
      expect(refused(await make('acme/new', { as: carol.basic, body }))).toBe('403 DENIED');
      expect(refused(await make('acme/new', { as: carol.basic, body, headers: { 'if-none-match': '*' } }))).toBe('403 DENIED');
    });
    expect(types).toEqual([]);
    expect((await describe_('acme/new')).status).toBe(404);
    // The answer is the same for a key of an administrator and for a denied right.
    const key = await api<{ secret: string }>(world, 'POST', '/keys', { body: { name: 'k', statements } });
    const bearer = `Bearer ${key.body.secret}`;
    expect(refused(await make('acme/new', { as: bearer, body }))).toBe('403 DENIED');
    const denied = [statement(['create', 'admin']), { effect: 'deny', ...statement(['admin']) }];
    await api(world, 'PUT', '/users/carol/policy', { body: { statements: denied } });
    expect(refused(await make('acme/new', { as: carol.basic, body }))).toBe('403 DENIED');
    await allow(carol, ['create', 'admin', 'pull'], ['acme/*']);
    expect(await make('acme/new', { as: carol.basic, body })).toMatchObject({ status: 201, body });
  });

  test('may create one with the values that are the default anyway', async () => {
    await allow(carol, ['create'], ['acme/*']);
    const body = { visibility: 'private', description: '', overview: '' };
    expect((await make('acme/new', { as: carol.basic, body })).status).toBe(201);
  });

  test('cannot find out by If-Match whether a repository exists', async () => {
    await allow(carol, ['create'], ['acme/*']);
    const headers = { 'if-match': '"1"' };
    const there = await make('acme/secret', { as: carol.basic, headers });
    const absent = await make('acme/absent', { as: carol.basic, headers });
    expect(seen(there)).toEqual(seen(absent));
  });
});

describe('a repository name', () => {
  test.each([
    ['upper case', 'acme/API'],
    ['a separator at the end', 'acme/api-'],
    ['a separator at the beginning', 'acme/-api'],
    ['two points', 'acme/a..b'],
    ['three underscores', 'acme/a___b'],
    ['another character', 'acme/a+b'],
    ['more than 255 characters', `acme/${'a'.repeat(251)}`],
  ])('with %s is refused, however it is asked for', async (_, name) => {
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE']) {
      const body = method === 'GET' || method === 'DELETE' ? {} : { body: {} };
      expect(refused(await api(world, method, path(name), body))).toBe('400 NAME_INVALID');
    }
    for (const method of ['GET', 'PUT']) {
      const body = method === 'GET' ? {} : { body: { statements: [] } };
      expect(refused(await api(world, method, policyOf(name), body))).toBe('400 NAME_INVALID');
    }
  });

  test('may have 255 characters in many parts', async () => {
    const name = `${'a/'.repeat(127)}b`;
    expect((await make(name)).body.name).toBe(name);
    expect((await api(world, 'GET', policyOf(name))).status).toBe(200);
  });

  test('may have encoded slashes, with the same meaning', async () => {
    expect((await make('acme%2Fapi')).body.name).toBe('acme/api');
    expect((await make('acme/api')).status).toBe(200);
    expect((await describe_('acme%2fapi')).body.name).toBe('acme/api');
    expect((await api(world, 'GET', policyOf('acme%2Fapi'))).status).toBe(200);
    const { count } = (await world.env.DB.prepare('SELECT count(*) AS count FROM repositories').first()) as { count: number };
    expect(count).toBe(1);
  });

  test.each([
    'acme%252Fapi',
    'acme%2F..%2Fapi',
    '..%2Fapi',
    'acme%2F%2e%2e%2Fapi',
    'acme%2F%2Fapi',
    'acme//api',
    'acme%5Capi',
    'acme%00',
    '%ff',
    '%',
    'acme%2Fapi%3Fforce=true',
  ])('sent as %s is refused: nothing is decoded twice', async (name) => {
    await make('acme/api');
    await make('api');
    for (const [method, request] of [
      ['GET', {}],
      ['PUT', { body: { visibility: 'public' } }],
      ['DELETE', {}],
    ] as const) {
      expect([400, 404]).toContain((await api(world, method, path(name), request)).status);
    }
    for (const there of ['acme/api', 'api']) expect((await describe_(there)).body.visibility).toBe('private');
    const { results } = await world.env.DB.prepare('SELECT name FROM repositories ORDER BY name').all();
    expect(results).toEqual([{ name: 'acme/api' }, { name: 'api' }]);
  });

  test('may look like a resource below a repository', async () => {
    for (const name of ['acme/policy', 'policy', 'acme/api/policy', 'acme/repositories', 'acme/explain', 'acme/keys']) {
      expect(await make(name, { body: { description: name } })).toMatchObject({ status: 201, body: { name } });
      expect((await describe_(name)).body.description).toBe(name);
      expect((await api(world, 'GET', policyOf(name))).body).toEqual({ statements: [] });
    }
    await change('acme/policy', { visibility: 'public' });
    for (const name of ['acme', 'acme/api']) {
      expect((await describe_(name)).status).toBe(404);
      expect((await api(world, 'GET', policyOf(name))).status).toBe(404);
    }
  });

  test('cannot be that of a policy, because no part of a name is a hyphen', async () => {
    await make('acme/api');
    expect(refused(await api(world, 'PATCH', policyOf('acme/api'), { body: { visibility: 'public' } }))).toBe(
      '405 UNSUPPORTED',
    );
    expect(refused(await api(world, 'DELETE', policyOf('acme/api')))).toBe('405 UNSUPPORTED');
    expect(refused(await api(world, 'GET', '/repositories/-/policy'))).toBe('400 NAME_INVALID');
    expect(refused(await api(world, 'PUT', '/repositories/acme/api/-', { body: {} }))).toBe('400 NAME_INVALID');
    expect(refused(await api(world, 'PUT', '/repositories/acme/api/-/other', { body: {} }))).toBe('400 NAME_INVALID');
    expect(refused(await api(world, 'GET', '/repositories/acme/api/-/policy/-/policy'))).toBe('400 NAME_INVALID');
  });
});

describe('the description and overview of a repository', () => {
  beforeEach(async () => {
    await make('acme/api', { body: { description: 'short', overview: 'long' } });
  });

  test('are changed field by field, with a new ETag', async () => {
    const before = etag(await describe_('acme/api'));
    const described = await change('acme/api', { description: 'shorter' });
    expect(described).toMatchObject({ status: 200, body: { description: 'shorter', overview: 'long' } });
    expect(etag(described)).not.toBe(before);
    expect(await change('acme/api', { overview: '' })).toMatchObject({ body: { description: 'shorter', overview: '' } });
  });

  test('are stored literally, and never interpreted as HTML or SQL', async () => {
    const overview = `<script>alert(1)</script> '; DROP TABLE repositories; -- \\ % _ "quoted" \u{1f600} \u202e`;
    expect((await change('acme/api', { overview, description: "it's 100%" })).body).toMatchObject({
      overview,
      description: "it's 100%",
    });
    expect((await describe_('acme/api')).headers.get('content-type')).toMatch(/^application\/json/);
  });

  test('have at most 100 and 100,000 characters', async () => {
    expect((await change('acme/api', { description: 'ü'.repeat(100) })).status).toBe(200);
    expect(refused(await change('acme/api', { description: 'x'.repeat(101) }))).toBe('400 INVALID');
    const overview = 'ü€'.repeat(50_000);
    expect((await change('acme/api', { overview })).body.overview).toBe(overview);
    expect(refused(await change('acme/api', { overview: 'x'.repeat(100_001) }))).toBe('400 INVALID');
    expect(refused(await change('acme/api', { overview: 'x'.repeat(600_000) }))).toBe('413 SIZE_INVALID');
  });

  test.each([
    ['a field nobody knows', { administrator: true }],
    ['a field of the database', { id: 7 }],
    ['a version', { version: 1 }],
    ['another name', { name: 'acme/other' }],
    ['a time', { createdAt: '2020-01-01T00:00:00Z' }],
    ['another type', { description: 7 }],
    ['null', { description: null }],
    ['a list', []],
    ['no JSON', '{'],
    ['a field given twice', '{"description":"a","description":"b"}'],
  ])('with %s is refused, and nothing changes', async (_, body) => {
    const before = await describe_('acme/api');
    expect(refused(await change('acme/api', body))).toBe('400 INVALID');
    expect(seen(await describe_('acme/api'))).toEqual(seen(before));
  });

  test('are not overwritten by a request with an old version', async () => {
    const headers = { 'if-match': etag(await describe_('acme/api')) };
    expect((await change('acme/api', { description: 'mine' }, headers)).status).toBe(200);
    expect(refused(await change('acme/api', { description: 'lost' }, headers))).toBe('412 PRECONDITION_FAILED');
    expect(refused(await make('acme/api', { body: { description: 'lost' }, headers }))).toBe('412 PRECONDITION_FAILED');
    expect(refused(await api(world, 'DELETE', path('acme/api'), { headers }))).toBe('412 PRECONDITION_FAILED');
    expect(refused(await change('acme/api', {}, { 'if-match': 'W/"1"' }))).toBe('412 PRECONDITION_FAILED');
    expect((await describe_('acme/api')).body.description).toBe('mine');
  });

  test('accept one of 16 concurrent changes with the same condition', async () => {
    const headers = { 'if-match': etag(await describe_('acme/api')) };
    const types = await typesDuring(async () => {
      const answers = await Promise.all(
        Array.from({ length: 16 }, (_, n) => change('acme/api', { description: `by ${n}` }, headers)),
      );
      expect(tally(answers.map(({ status }) => status))).toEqual({ 200: 1, 412: 15 });
      const winner = answers.find(({ status }) => status === 200);
      expect((await describe_('acme/api')).body.description).toBe(winner?.body.description);
    });
    expect(types).toEqual(['repository.changed']);
  });

  test('are separate from those of a repository whose name begins alike', async () => {
    for (const name of ['acme/api2', 'acme/api-x', 'acme/api/sub', 'acme/ap'])
      await make(name, { body: { description: name } });
    await change('acme/api', { description: 'changed', visibility: 'public' });
    await api(world, 'DELETE', path('acme/api'));
    for (const name of ['acme/api2', 'acme/api-x', 'acme/api/sub', 'acme/ap']) {
      expect((await describe_(name)).body).toMatchObject({ description: name, visibility: 'private' });
    }
  });

  test('are recorded once for each change, and not if nothing changes', async () => {
    expect(await typesDuring(() => change('acme/api', { description: 'other' }))).toEqual(['repository.changed']);
    expect(await typesDuring(() => change('acme/api', { description: 'other' }))).toEqual([]);
    expect(await typesDuring(() => change('acme/api', {}))).toEqual([]);
    expect(await typesDuring(() => change('acme/api', { description: 7 }))).toEqual([]);
    expect((await typesDuring(() => change('acme/api', { visibility: 'public' }))).sort()).toEqual([
      'policy.saved',
      'repository.changed',
    ]);
    expect(await typesDuring(() => change('acme/api', { visibility: 'public' }))).toEqual([]);
    expect(await typesDuring(() => api(world, 'DELETE', path('acme/api')))).toEqual(['repository.deleted']);
    expect(await typesDuring(() => api(world, 'DELETE', path('acme/api')))).toEqual([]);
    expect(await typesDuring(() => make('acme/api'))).toEqual(['repository.created']);
    expect((await typesDuring(() => make('acme/open', { body: { visibility: 'public' } }))).sort()).toEqual([
      'policy.saved',
      'repository.created',
    ]);
  });

  test('are recorded with who changed them', async () => {
    const alice = await inviteUser(world, 'alice');
    const events = await eventsDuring(world, async () => {
      await make('alice/site', { as: alice.basic });
      await api(world, 'DELETE', path('alice/site'), { as: alice.bearer });
    });
    expect(events.map(({ type, actor }) => `${type} ${actor}`)).toEqual([
      'repository.created user:alice',
      'repository.deleted user:alice',
    ]);
  });
});

describe('visibility', () => {
  const EVERYONE = { effect: 'allow', actions: ['pull'], principals: ['*'] };
  const statementsOf = async (repository: string) =>
    (await api<{ statements: object[] }>(world, 'GET', policyOf(repository))).body.statements;
  const save = async (repository: string, statements: object[]) =>
    expect((await api(world, 'PUT', policyOf(repository), { body: { statements } })).status).toBe(200);
  const visibilityOf = async (repository: string) => (await describe_(repository)).body.visibility;

  beforeEach(async () => {
    await make('acme/api');
  });

  test('is a statement of the policy, whichever way it is set', async () => {
    await change('acme/api', { visibility: 'public' });
    expect(await statementsOf('acme/api')).toEqual([EVERYONE]);
    await save('acme/api', []);
    expect(await visibilityOf('acme/api')).toBe('private');
    await save('acme/api', [{ actions: 'pull only', principals: ['user:admin', '*'] }]);
    expect(await visibilityOf('acme/api')).toBe('public');
    await change('acme/api', { visibility: 'private' });
    expect(await statementsOf('acme/api')).toEqual([{ effect: 'allow', actions: ['pull'], principals: ['user:admin'] }]);
    await make('acme/api', { body: { visibility: 'public' } });
    expect(await visibilityOf('acme/api')).toBe('public');
  });

  test('leaves the rest of the policy as it is', async () => {
    const others = [
      { effect: 'allow', actions: ['pull', 'push'], principals: ['user:admin'], tags: undefined },
      { effect: 'deny', actions: ['pull'], principals: ['user:bob'] },
      { effect: 'allow', actions: ['push'], principals: ['*'], tags: ['pr-*'] },
    ].map(({ tags, ...statement }) => ({ ...statement, ...(tags ? { tags } : {}) }));
    await save('acme/api', [...others, { actions: ['pull', 'push', 'delete'], principals: ['*', 'robot:acme/ci'] }]);
    await change('acme/api', { visibility: 'private' });
    const statements = await statementsOf('acme/api');
    expect(statements.slice(0, 3)).toEqual(others);
    expect(statements.slice(3)).toEqual([
      { effect: 'allow', actions: ['pull', 'push', 'delete'], principals: ['robot:acme/ci'] },
      { effect: 'allow', actions: ['push', 'delete'], principals: ['*'] },
    ]);
    await change('acme/api', { visibility: 'public' });
    expect(await statementsOf('acme/api')).toEqual([...statements, EVERYONE]);
  });

  test('stays the same if a private one is made private or a public one public', async () => {
    const before = await api(world, 'GET', policyOf('acme/api'));
    await change('acme/api', { visibility: 'private' });
    expect(seen(await api(world, 'GET', policyOf('acme/api')))).toEqual(seen(before));
    await save('acme/api', [{ actions: 'all actions', principals: ['*'] }]);
    const open = await api(world, 'GET', policyOf('acme/api'));
    await change('acme/api', { visibility: 'public' });
    expect(seen(await api(world, 'GET', policyOf('acme/api')))).toEqual(seen(open));
  });

  test('changed while the policy is saved loses neither change', async () => {
    const other = { effect: 'allow', actions: ['pull'], principals: ['user:admin'] };
    for (let round = 0; round < 8; round++) {
      await save('acme/api', []);
      const [changed, saved] = await Promise.all([
        change('acme/api', { visibility: 'public' }),
        api(world, 'PUT', policyOf('acme/api'), { body: { statements: [other] } }),
      ]);
      expect(saved.status).toBe(200);
      expect(changed.status).toBe(200);
      const statements = JSON.stringify(await statementsOf('acme/api'));
      expect([JSON.stringify([other]), JSON.stringify([other, EVERYONE])]).toContain(statements);
    }
  });

  test('takes effect for anonymous callers at once', async () => {
    for (const visibility of ['public', 'private', 'public', 'private'] as const) {
      await change('acme/api', { visibility });
      expect((await describe_('acme/api', { as: null })).status).toBe(visibility === 'public' ? 200 : 401);
    }
  });
});

describe('a deleted repository', () => {
  const remove = (repository: string, query = '') => api(world, 'DELETE', `${path(repository)}${query}`);

  test('had to be empty, or the request had to force it', async () => {
    const image = await pushImage(world, 'acme/api', 'v1');
    const refusedAs = await remove('acme/api');
    expect(refused(refusedAs)).toBe('409 CONFLICT');
    expect(JSON.stringify(refusedAs.body)).toContain('force=true');
    expect(refused(await remove('acme/api', '?force=false'))).toBe('409 CONFLICT');
    expect(refused(await remove('acme/api', '?force=yes'))).toBe('400 INVALID');
    expect(refused(await remove('acme/api', '?force=true&force=true'))).toBe('400 INVALID');
    expect((await world.fetch('GET', `/v2/acme/api/manifests/${image.digest}`)).status).toBe(200);
    expect((await remove('acme/api', '?force=true')).status).toBe(200);
    expect(refused(await remove('acme/api', '?force=true'))).toMatch(/^404 /);
  });

  test('counts as empty if it has no manifest, whatever else was pushed', async () => {
    await pushBlob(world, 'acme/api', noise(100));
    expect((await remove('acme/api')).status).toBe(200);
  });

  test('makes all its content unreachable, and a new one of its name inherits nothing', async () => {
    const bob = await inviteUser(world, 'bob');
    await make('acme/api', { body: { description: 'old', overview: 'old', visibility: 'public' } });
    const statements = [
      { actions: 'pull only', principals: ['*'] },
      { actions: 'all actions', principals: [bob.subject] },
    ];
    await api(world, 'PUT', policyOf('acme/api'), { body: { statements } });
    const image = await pushImage(world, 'acme/api', 'v1');
    const layer = await pushBlob(world, 'acme/api', noise(5000, 77));
    await pushImage(world, 'acme/api', null, 2, {
      subject: { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: image.digest, size: image.bytes.byteLength },
    });
    const held = [
      '/v2/acme/api/manifests/v1',
      `/v2/acme/api/manifests/${image.digest}`,
      `/v2/acme/api/blobs/${layer.digest}`,
      '/v2/acme/api/tags/list',
    ];
    for (const at of held) expect((await world.fetch('GET', at)).status).toBe(200);
    const pulling = `Bearer ${await tokenFor(world, 'repository:acme/api:pull')}`;

    expect((await remove('acme/api', '?force=true')).status).toBe(200);
    for (const at of held) expect((await world.fetch('GET', at, { authorization: pulling })).status).toBe(404);
    expect((await describe_('acme/api')).status).toBe(404);
    expect((await describe_('acme/api', { as: null })).status).toBe(401);
    expect((await describe_('acme/api', { as: bob.basic })).status).toBe(404);

    expect((await make('acme/api')).body).toMatchObject({ visibility: 'private', description: '', overview: '' });
    expect((await api(world, 'GET', policyOf('acme/api'))).body).toEqual({ statements: [] });
    expect((await describe_('acme/api', { as: bob.basic })).status).toBe(404);
    const tags = (await (await world.fetch('GET', '/v2/acme/api/tags/list')).json()) as { tags: string[] };
    expect(tags.tags).toEqual([]);
    for (const at of held.slice(0, 3)) {
      expect((await world.fetch('GET', at, { authorization: pulling })).status).toBe(404);
      expect((await world.fetch('HEAD', at)).status).toBe(404);
    }
    const referrers = await (await world.fetch('GET', `/v2/acme/api/referrers/${image.digest}`)).json();
    expect((referrers as { manifests: unknown[] }).manifests).toEqual([]);
  });

  test('lends its blobs to nobody: no mount, no manifest, no upload without bytes', async () => {
    const layer = await pushBlob(world, 'acme/old', noise(5000, 78));
    const image = await imageIn(world, 'acme/old', 5);
    await remove('acme/old');
    await make('acme/new');
    for (const from of ['&from=acme/old', '']) {
      const mount = await world.fetch('POST', `/v2/acme/new/blobs/uploads/?mount=${layer.digest}${from}`);
      expect(mount.status).toBe(202);
    }
    const put = await putManifest(world, 'acme/new', 'v1', new TextDecoder().decode(image.bytes));
    expect(await refusal(put)).toBe('400 MANIFEST_BLOB_UNKNOWN');
    expect((await world.fetch('HEAD', `/v2/acme/new/blobs/${layer.digest}`)).status).toBe(404);
    await pushBlob(world, 'acme/new', noise(5000, 78));
    expect((await world.fetch('HEAD', `/v2/acme/new/blobs/${layer.digest}`)).status).toBe(200);
    expect((await world.fetch('HEAD', `/v2/acme/old/blobs/${layer.digest}`)).status).toBe(404);
  });

  test('leaves identical blobs of other repositories', async () => {
    const layer = await pushBlob(world, 'acme/one', noise(500, 79));
    await pushBlob(world, 'acme/two', noise(500, 79));
    await remove('acme/one');
    expect((await world.fetch('GET', `/v2/acme/two/blobs/${layer.digest}`)).status).toBe(200);
  });

  test('with a concurrent push is deleted without the image, or kept with it', async () => {
    for (let round = 0; round < 5; round++) {
      const name = `acme/r${round}`;
      const image = await imageIn(world, name, round + 1);
      const text = new TextDecoder().decode(image.bytes);
      const [deleted, pushed] = await Promise.all([remove(name), putManifest(world, name, 'v1', text)]);
      const there = (await world.fetch('HEAD', `/v2/${name}/manifests/v1`)).status === 200;
      expect([200, 409]).toContain(deleted.status);
      if (deleted.status === 409) expect([pushed.status, there]).toEqual([201, true]);
      if (pushed.status !== 201) expect([deleted.status, there]).toEqual([200, false]);
      expect(there).toBe(deleted.status === 409);
    }
  });

  test('is deleted once by concurrent requests', async () => {
    await make('acme/api');
    const types = await typesDuring(async () => {
      const answers = await Promise.all(Array.from({ length: 8 }, () => remove('acme/api')));
      expect(tally(answers.map(({ status }) => status))).toEqual({ 200: 1, 404: 7 });
    });
    expect(types).toEqual(['repository.deleted']);
  });

  test('cannot be deleted by users who may only push or delete images', async () => {
    const dora = await inviteUser(world, 'dora');
    await make('acme/api');
    await allow(dora, ['pull', 'push', 'retag', 'delete', 'create'], ['acme/*']);
    expect(refused(await api(world, 'DELETE', path('acme/api'), { as: dora.basic }))).toBe('403 DENIED');
    expect((await describe_('acme/api')).status).toBe(200);
  });

  test('cannot be deleted through /v2', async () => {
    await make('acme/api');
    const token = await tokenFor(world, 'repository:acme/api:*');
    expect(refused(await api(world, 'DELETE', path('acme/api'), { as: `Bearer ${token}` }))).toBe('401 UNAUTHORIZED');
  });
});

describe('a private repository looks like none at all', () => {
  const everyWay: [method: string, at: (name: string) => string, body?: unknown][] = [
    ['GET', path],
    ['HEAD', path],
    ['PUT', path, { visibility: 'public' }],
    ['PUT', path, { unknown: 1 }],
    ['PATCH', path, { visibility: 'public' }],
    ['PATCH', path, 'no JSON'],
    ['DELETE', path],
    ['DELETE', (name) => `${path(name)}?force=true`],
    ['DELETE', (name) => `${path(name)}?force=perhaps`],
    ['GET', policyOf],
    ['HEAD', policyOf],
    ['PUT', policyOf, { statements: [] }],
    ['PUT', policyOf, { statements: 'none' }],
    ['PUT', (name) => `${policyOf(name)}?dryRun=true`, { statements: [{ actions: 'all actions', principals: ['*'] }] }],
    ['GET', (name) => `/explain?principal=*&action=pull&repository=${name}`],
    ['GET', (name) => `/repositories?search=${name}`],
    ['GET', (name) => `/repositories?last=${name}`],
    ['GET', (name) => `/repositories?namespace=${name.split('/')[0]}`],
    ['POST', path],
    ['OPTIONS', path],
  ];
  let bob: Person;

  beforeEach(async () => {
    bob = await inviteUser(world, 'bob');
    const owner = await inviteUser(world, 'owner-of-acme');
    await makeOrganization(world, 'acme', { owners: [owner] });
    await makeTeam(world, 'acme', 'dev', [owner], [{ actions: 'all actions', repositories: ['acme/*'] }]);
    await pushImage(world, 'acme/here', 'v1');
    await change('acme/here', { description: 'a secret' });
  });

  test.each([
    ['a stranger', () => null],
    ['somebody else', () => bob.basic],
    ['somebody else with a bearer', () => bob.bearer],
  ])('to %s, whatever they send', { tags: 'slow' }, async (_, as) => {
    for (const [method, at, body] of everyWay) {
      for (const headers of [{}, { 'if-match': '"1"' }, { 'if-none-match': '*' }] as Record<string, string>[]) {
        const ask = (name: string) =>
          api(world, method, at(name), { as: as(), headers, ...(body === undefined ? {} : { body }) });
        const [there, absent] = [await ask('acme/here'), await ask('acme/gone')];
        expect(seen(there), `${method} ${at('acme/here')}`).toEqual(seen(absent));
        expect(JSON.stringify(seen(there))).not.toMatch(/acme\/here|a secret/);
      }
    }
    expect((await describe_('acme/here')).body).toMatchObject({ visibility: 'private', description: 'a secret' });
  });

  test('to an anonymous caller with a 401 challenge, and to others with a 404', async () => {
    const stranger = await describe_('acme/here', { as: null });
    expect(refused(stranger)).toBe('401 UNAUTHORIZED');
    expect(stranger.headers.get('www-authenticate')).toBe('Bearer realm="berth"');
    expect(refused(await describe_('acme/here', { as: bob.basic }))).toBe('404 NOT_FOUND');
  });

  test('to a key whose statements do not include it, whatever its owner may do', async () => {
    const { body } = await api<{ secret: string }>(world, 'POST', '/keys', {
      body: { name: 'elsewhere', statements: [{ actions: 'all actions', repositories: ['acme/other', 'acme/her'] }] },
    });
    const as = `Bearer ${body.secret}`;
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE']) {
      const ask = (name: string) => api(world, method, path(name), { as });
      expect(seen(await ask('acme/here')), method).toEqual(seen(await ask('acme/gone')));
    }
  });
});

describe('a public repository', () => {
  test('is readable for everybody, and its writers stay the same', async () => {
    const bob = await inviteUser(world, 'bob');
    await make('acme/site', { body: { visibility: 'public', description: 'open' } });
    for (const as of [null, bob.basic]) {
      expect((await describe_('acme/site', { as })).body).toMatchObject({ visibility: 'public', description: 'open' });
      for (const [method, at, body] of [
        ['PUT', path('acme/site'), {}],
        ['PATCH', path('acme/site'), { description: 'mine' }],
        ['DELETE', path('acme/site'), undefined],
        ['GET', policyOf('acme/site'), undefined],
        ['PUT', policyOf('acme/site'), { statements: [] }],
      ] as const) {
        const { status } = await api(world, method, at, { as, ...(body ? { body } : {}) });
        expect([401, 403]).toContain(status);
      }
    }
    expect((await describe_('acme/site')).body.description).toBe('open');
  });
});
