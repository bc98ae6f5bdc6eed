/** Lists of repositories, by the API and by /v2/_catalog: callers see what they may pull, and nothing else. */
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { counting } from '../../world/counting.ts';
import { everyItem, makeOrganization, makeRobot, makeTeam } from '../../world/organizations.ts';
import { type ApiAnswer, api, inviteUser, type Person, refused } from '../../world/people.ts';
import { nextPage } from '../../world/reading.ts';
import { newIssuer } from '../../world/token-issuer.ts';
import { builtOnce, newWorld, type World, worldOf } from '../../world/world.ts';

interface Listed {
  items: { name: string; description: string; visibility: string }[];
  next: string | null;
}

let world: World;

const PUBLIC = { actions: 'pull only', principals: ['*'] };

async function done(method: string, path: string, body: object, as?: string): Promise<void> {
  const { status, body: answer } = await api(world, method, path, { body, ...(as ? { as } : {}) });
  expect(status, `${method} ${path}: ${JSON.stringify(answer)}`).toBeLessThan(300);
}

/** Creates a repository with these statements in its policy. */
async function hold(name: string, statements: object[] = [], description = ''): Promise<void> {
  await done('PUT', `/repositories/${name}`, { description });
  if (statements.length > 0) await done('PUT', `/repositories/${name}/-/policy`, { statements });
}

async function keyOf(person: Person, statements: object[]): Promise<string> {
  const { body } = await api<{ secret: string }>(world, 'POST', '/keys', {
    as: person.basic,
    body: { name: 'narrowed', statements },
  });
  return `Bearer ${body.secret}`;
}

async function list(as: string | null, query = ''): Promise<string[]> {
  const { status, body } = await api<Listed>(world, 'GET', `/repositories${query}`, { as });
  expect(status, JSON.stringify(body)).toBe(200);
  expect(body.next).toBeNull();
  return body.items.map(({ name }) => name);
}

/** A token for the catalog, as a client of /v2 gets it. */
async function catalogToken(basic: string): Promise<string> {
  const response = await world.fetch('GET', '/token?scope=registry:catalog:*', { authorization: basic });
  return `Bearer ${((await response.json()) as { token: string }).token}`;
}

const basicOf = (bearer: string) =>
  `Basic ${btoa(`${/BRTH[A-Z2-7]{16}/.exec(bearer)?.[0]}:${bearer.slice('Bearer '.length)}`)}`;

/** Everything that a caller sees on all pages: names, and the text of every answer. */
async function allPages(as: string | null, n: number, query = ''): Promise<{ names: string[]; text: string; pages: number }> {
  const names: string[] = [];
  let text = '';
  let pages = 0;
  for (let last: string | null = ''; last !== null; pages++) {
    const answer: ApiAnswer<Listed> = await api<Listed>(
      world,
      'GET',
      `/repositories?n=${n}${last === '' ? '' : `&last=${encodeURIComponent(last)}`}${query}`,
      { as },
    );
    expect(answer.status).toBe(200);
    expect(answer.body.items.length).toBeLessThanOrEqual(n);
    expect(answer.body.next, 'a page leads to itself').not.toBe(last);
    names.push(...answer.body.items.map(({ name }) => name));
    text += JSON.stringify(answer.body) + JSON.stringify([...answer.headers]);
    last = answer.body.next;
  }
  return { names, text, pages };
}

async function catalogPages(authorization: string, n: number): Promise<{ names: string[]; text: string }> {
  const names: string[] = [];
  let text = '';
  for (let at: string | null = `/v2/_catalog?n=${n}`; at !== null; ) {
    const response: Response = await world.fetch('GET', at, { authorization });
    expect(response.status).toBe(200);
    const body = await response.clone().text();
    names.push(...(JSON.parse(body) as { repositories: string[] }).repositories);
    text += body + JSON.stringify([...response.headers]);
    at = nextPage(response);
  }
  return { names, text };
}

/** Inserts thousands of repositories with policies in one batch. */
async function holdMany(prefix: string, count: number, statements: object[] = []): Promise<void> {
  const names = JSON.stringify(Array.from({ length: count }, (_, n) => `${prefix}${String(n).padStart(5, '0')}`));
  const { DB } = world.env;
  const principals = statements.flatMap((statement) => (statement as { principals: string[] }).principals);
  const save = DB.prepare("INSERT INTO policies (subject, statements) SELECT 'repository:' || value, ?2 FROM json_each(?1)");
  const name = DB.prepare(
    'INSERT INTO policy_principals (principal, repository) SELECT p.value, r.value FROM json_each(?1) r, json_each(?2) p',
  );
  await DB.batch([
    DB.prepare('INSERT INTO repositories (name, created_at) SELECT value, 0 FROM json_each(?1)').bind(names),
    save.bind(names, JSON.stringify(statements.map((statement) => ({ repositories: [], ...statement })))),
    name.bind(names, JSON.stringify([...new Set(principals)])),
  ]);
}

const DENIED = [{ effect: 'deny', actions: ['pull'], principals: ['*'] }];
const OPEN = [{ effect: 'allow', actions: ['pull'], principals: ['*'] }];

describe('every caller sees in both lists what they may pull, and nothing else', () => {
  const ALL = [
    'acme/by-org',
    'acme/hidden',
    'acme/push-only',
    'acme/web-1',
    'acme/web-2',
    'acme/web-denied',
    'acme/web-team-denied',
    'alice/own',
    'beta/by-robot',
    'beta/by-team',
    'beta/by-user',
    'beta/secret',
    'open-denied',
    'site',
  ];
  const PUBLIC_ONES = ['open-denied', 'site'];
  /** The Authorization header of each caller, and the names of the repositories that the caller sees. */
  let readers: Record<string, { as: string | null; sees: string[] }>;

  beforeAll(async () => {
    world = await newWorld();
    const [alice, bob, carol, dave, owner] = await Promise.all(
      ['alice', 'bob', 'carol', 'dave', 'owen'].map((name) => inviteUser(world, name)),
    );
    if (!alice || !bob || !carol || !dave || !owner) throw new Error('nobody there');
    await makeOrganization(world, 'acme', { owners: [owner], members: [alice, carol, dave] });
    await makeTeam(
      world,
      'acme',
      'dev',
      [alice, dave],
      [
        { actions: 'pull only', repositories: ['acme/web-*'] },
        { actions: ['push'], repositories: ['acme/push-only'] },
      ],
    );
    const robot = await makeRobot(world, 'acme', 'ci', [{ actions: 'pull only', repositories: ['acme/hidden'] }]);
    await done('PUT', '/users/dave/policy', {
      statements: [
        { effect: 'deny', actions: ['pull'], repositories: ['*-2', 'si*'] },
        { actions: 'pull only', repositories: ['*/secret'] },
      ],
    });
    const deny = (principal: string) => ({ effect: 'deny', actions: ['pull'], principals: [principal] });
    const pull = (principal: string) => ({ actions: 'pull only', principals: [principal] });
    const policies: Record<string, object[]> = {
      'acme/by-org': [pull('organization:acme')],
      'acme/web-denied': [deny(alice.subject)],
      'acme/web-team-denied': [deny('team:acme/dev'), pull(alice.subject)],
      'beta/by-robot': [pull(robot.subject)],
      'beta/by-team': [pull('team:acme/dev')],
      'beta/by-user': [pull(alice.subject)],
      'open-denied': [PUBLIC, deny(alice.subject)],
      site: [PUBLIC],
    };
    for (const name of ALL) await hold(name, policies[name]);

    const issuer = await newIssuer();
    vi.spyOn(globalThis, 'fetch').mockImplementation(issuer.world().fetch);
    await done('PUT', '/organizations/acme/trust-rules/deploy', {
      issuer: issuer.url,
      claims: { project: '42' },
      statements: [{ actions: 'pull only', repositories: ['acme/web-*'] }],
    });
    const now = Math.floor(Date.now() / 1000);
    const ci = await issuer.sign({ sub: 'job', project: '42', iat: now, nbf: now, exp: now + 600 });
    const login = await api<{ password: string }>(world, 'POST', '/login-password', { as: alice.basic, body: {} });
    const alices = ['acme/by-org', 'acme/web-1', 'acme/web-2', 'alice/own', 'beta/by-team', 'beta/by-user', 'site'];
    const narrowed = (statements: object[]) => keyOf(alice, statements);
    readers = {
      'a stranger': { as: null, sees: PUBLIC_ONES },
      'an outsider': { as: bob.basic, sees: PUBLIC_ONES },
      'a member of the organization': { as: carol.basic, sees: ['acme/by-org', ...PUBLIC_ONES] },
      'a member of a team': { as: alice.basic, sees: alices },
      'the same with a login password': { as: `Basic ${btoa(`AWS:${login.body.password}`)}`, sees: alices },
      'somebody who is denied some': {
        as: dave.basic,
        sees: ['acme/by-org', 'acme/web-1', 'acme/web-denied', 'beta/by-team', 'beta/secret', 'open-denied'],
      },
      'an owner of the organization': {
        as: owner.basic,
        sees: [...ALL.filter((name) => name.startsWith('acme/')), ...PUBLIC_ONES],
      },
      'an administrator': { as: `Basic ${btoa('admin:the-password-of-the-tests')}`, sees: ALL },
      'a robot': { as: robot.basic, sees: ['acme/hidden', 'beta/by-robot', ...PUBLIC_ONES] },
      'a CI job': {
        as: `Basic ${btoa(`ci:${ci}`)}`,
        sees: ['acme/web-1', 'acme/web-2', 'acme/web-denied', 'acme/web-team-denied', ...PUBLIC_ONES],
      },
      'a key for one repository': {
        as: await narrowed([{ actions: 'all actions', repositories: ['acme/web-1'] }]),
        sees: ['acme/web-1'],
      },
      'a key for a pattern': {
        as: await narrowed([{ actions: 'pull only', repositories: ['beta/*', 'acme/hidden'] }]),
        sees: ['beta/by-team', 'beta/by-user'],
      },
      'a key for everything but some': {
        as: await narrowed([
          { actions: 'pull only', repositories: ['*'] },
          { effect: 'deny', actions: ['pull'], repositories: ['*/web-*'] },
        ]),
        sees: ['acme/by-org', 'alice/own', 'beta/by-team', 'beta/by-user', 'site'],
      },
      'a key for what nobody can list': { as: await narrowed([{ actions: ['push'], repositories: ['*'] }]), sees: [] },
    };
  });

  afterAll(() => {
    vi.restoreAllMocks();
  });

  test('in the list of the API, whatever the page size', { tags: 'slow' }, async () => {
    for (const [who, { as, sees }] of Object.entries(readers)) {
      for (const n of [1, 2, 1000]) {
        const { names, text } = await allPages(as, n);
        expect(names, `${who}, ${n} a page`).toEqual(sees);
        for (const hidden of ALL.filter((name) => !sees.includes(name))) expect(text, who).not.toContain(`"${hidden}"`);
      }
    }
  });

  test('in the catalog, which is closed to anonymous callers', { tags: 'slow' }, async () => {
    for (const [who, { as, sees }] of Object.entries(readers)) {
      if (as === null) continue;
      for (const authorization of [await catalogToken(as.startsWith('Basic') ? as : basicOf(as)), as]) {
        if (authorization.startsWith('Bearer berth')) continue;
        for (const n of [1, 3, 1000]) {
          const { names, text } = await catalogPages(authorization, n);
          expect(names, `${who}, ${n} a page`).toEqual(sees);
          for (const hidden of ALL.filter((name) => !sees.includes(name))) {
            expect(text, who).not.toMatch(new RegExp(`\\b${hidden.replace('/', '(?:/|%2F)')}(?![\\w-])`));
          }
        }
      }
    }
    const refusedStranger = await world.fetch('GET', '/v2/_catalog', { authorization: null });
    expect(refusedStranger.status).toBe(401);
    expect(await refusedStranger.text()).not.toContain('site');
  });

  test('in agreement with the answer of each repository alone', { tags: 'slow' }, async () => {
    for (const [who, { as, sees }] of Object.entries(readers)) {
      const answers = await Promise.all(
        ALL.map(async (name) => ((await api(world, 'GET', `/repositories/${name}`, { as })).status === 200 ? [name] : [])),
      );
      expect(answers.flat(), who).toEqual(sees);
    }
  });

  test("with each repository's description and visibility", async () => {
    const { body } = await api<Listed>(world, 'GET', '/repositories?namespace=beta');
    expect(body.items.map(({ name, visibility }) => [name, visibility])).toEqual([
      ['beta/by-robot', 'private'],
      ['beta/by-team', 'private'],
      ['beta/by-user', 'private'],
      ['beta/secret', 'private'],
    ]);
    const open = await api<Listed>(world, 'GET', '/repositories', { as: null });
    const shown = {
      visibility: 'public',
      description: '',
      createdAt: expect.any(String),
      lastPushedAt: null,
      stars: 0,
      bytes: 0,
      tags: 0,
      manifests: 0,
    };
    expect(open.body.items).toEqual(PUBLIC_ONES.map((name) => ({ name, ...shown })));
  });

  test('within a namespace, by its exact name', { tags: 'slow' }, async () => {
    for (const [who, { as, sees }] of Object.entries(readers)) {
      for (const namespace of ['acme', 'beta', 'alice', 'acm', 'absent', 'open-denied']) {
        const within = sees.filter((name) => name.startsWith(`${namespace}/`));
        expect(await list(as, `?namespace=${namespace}`), `${who} in ${namespace}`).toEqual(within);
      }
    }
    expect(await list(readers['a member of a team']?.as ?? null, '?namespace=ACME')).toEqual([
      'acme/by-org',
      'acme/web-1',
      'acme/web-2',
    ]);
  });

  test('in searches as well: hidden repositories are not found', { tags: 'slow' }, async () => {
    for (const [who, { as, sees }] of Object.entries(readers)) {
      for (const search of ['web', 'secret', 'acme/hidden', 'by-', 'e']) {
        expect(await list(as, `?search=${search}`), `${who} for ${search}`).toEqual(
          sees.filter((name) => name.includes(search)),
        );
      }
    }
  });

  test('on a page after hidden repositories, which starts with a visible one', async () => {
    const { as, sees } = readers['a member of a team'] as { as: string; sees: string[] };
    for (const last of ['acme/hidden', 'acme/gone', 'beta/secret', 'zzz', '\u{1f600}', "' OR 1=1 --", '%', '../']) {
      expect(await list(as, `?last=${encodeURIComponent(last)}`)).toEqual(sees.filter((name) => name > last));
    }
  });
});

describe('a search', () => {
  beforeAll(async () => {
    world = await newWorld();
    await hold('acme/web', [PUBLIC], 'The Front of the House');
    await hold('acme/web_2', [PUBLIC], "100% of Bob's \\ code_base");
    await hold('acme/webx2', [PUBLIC], 'Über alles, ÄRGER');
    await hold('beta/api', [PUBLIC], 'emoji \u{1f600}');
    await hold('gamma');
  });

  const search = (text: string) => list(null, `?search=${encodeURIComponent(text)}`);

  test('matches a part of the name or the description, ignoring case', async () => {
    expect(await search('web')).toEqual(['acme/web', 'acme/web_2', 'acme/webx2']);
    expect(await search('WEB')).toEqual(['acme/web', 'acme/web_2', 'acme/webx2']);
    expect(await search('front of')).toEqual(['acme/web']);
    expect(await search('FRONT OF THE')).toEqual(['acme/web']);
    expect(await search('e/w')).toEqual(['acme/web', 'acme/web_2', 'acme/webx2']);
    expect(await search('\u{1f600}')).toEqual(['beta/api']);
    expect(await search('')).toEqual(['acme/web', 'acme/web_2', 'acme/webx2', 'beta/api']);
  });

  test('takes the text literally, beyond ASCII too', async () => {
    expect(await search('Über')).toEqual(['acme/webx2']);
    expect(await search('ÄRGER')).toEqual(['acme/webx2']);
    expect(await search('über')).toEqual([]);
  });

  test.each([
    ['%', ['acme/web_2']],
    ['_', ['acme/web_2']],
    ["'", ['acme/web_2']],
    ['\\', ['acme/web_2']],
    ['b_2', ['acme/web_2']],
    ['a%i', []],
    ['*', []],
    ["' OR '1'='1", []],
    ['") OR 1=1 --', []],
    ['\0', []],
  ])('for %j means no more than that', async (text, found) => {
    expect(await search(text)).toEqual(found);
  });

  test('combines with a namespace', async () => {
    expect(await list(null, '?search=a&namespace=acme')).toEqual(['acme/web', 'acme/web_2', 'acme/webx2']);
    expect(await list(null, '?search=api&namespace=acme')).toEqual([]);
  });

  test('is paged', async () => {
    expect((await allPages(null, 2, '&search=web')).names).toEqual(['acme/web', 'acme/web_2', 'acme/webx2']);
    expect((await allPages(null, 1, '&search=a&namespace=acme')).names).toEqual(['acme/web', 'acme/web_2', 'acme/webx2']);
  });

  test('is no longer than 255 characters', async () => {
    expect(await search('x'.repeat(255))).toEqual([]);
    expect(refused(await api(world, 'GET', `/repositories?search=${'x'.repeat(256)}`))).toBe('400 INVALID');
  });
});

describe('a page', () => {
  beforeEach(async () => {
    world = await newWorld();
  });

  test.each([
    'n=0',
    'n=-1',
    'n=abc',
    'n=2.5',
    'n=1001',
    'n=',
    'n=1&n=2',
    'last=a&last=b',
    'page=2',
    'namespace=a/b',
    `last=${'x'.repeat(513)}`,
  ])('of %.20s is refused', async (query) => {
    expect(refused(await api(world, 'GET', `/repositories?${query}`, { as: null }))).toBe('400 INVALID');
  });

  test('continues where the last one ended, although repositories are created and deleted meanwhile', async () => {
    for (const name of ['a/1', 'a/2', 'a/3', 'a/4', 'b/1', 'b/2']) await hold(name, [PUBLIC]);
    const changes = [
      async () => {
        await done('DELETE', '/repositories/a/2', {});
        await done('DELETE', '/repositories/a/3', {});
        await hold('a/0', [PUBLIC]);
        await hold('a/5', [PUBLIC]);
      },
      () => done('PATCH', '/repositories/b/1', { visibility: 'private' }),
    ];
    const meanwhile = async (page: number) => changes[page - 1]?.();
    const items = await everyItem<{ name: string }>(world, '/repositories', { n: 2, meanwhile });
    // The administrator sees b/1 whether it is private or not.
    expect(items.map(({ name }) => name)).toEqual(['a/1', 'a/2', 'a/4', 'a/5', 'b/1', 'b/2']);
    expect(await list(null)).toEqual(['a/0', 'a/1', 'a/4', 'a/5', 'b/2']);
  });

  test('of public repositories starts at the requested namespace, however many come before', async () => {
    await holdMany('aaa/', 3000, OPEN);
    await holdMany('mmm/', 3, OPEN);
    await holdMany('zzz/', 3000, OPEN);
    expect((await allPages(null, 2, '&namespace=mmm')).names).toEqual(['mmm/00000', 'mmm/00001', 'mmm/00002']);
    const { env, counts } = counting(world.env);
    await api(worldOf(env), 'GET', '/repositories?namespace=mmm', { as: null });
    expect(counts.rowsRead).toBeLessThanOrEqual(1000);
  });

  test('of a search continues past any number of repositories that do not match', async () => {
    await holdMany('aaa/', 12_500, OPEN);
    await hold('zzz/needle', [PUBLIC]);
    expect((await allPages(null, 100, '&search=needle')).names).toEqual(['zzz/needle']);
    expect((await allPages(null, 100, '&search=02345')).names).toEqual(['aaa/02345']);
  });
});

describe('with thousands of hidden repositories in front', () => {
  const FOREIGN = 10_000;
  let alice: Person;
  const MINE = ['mine/1', 'mine/2', 'mine/3', 'zzz'];

  const build = builtOnce(async (made) => {
    world = made;
    alice = await inviteUser(world, 'alice');
    await makeOrganization(world, 'mine', { members: [alice] });
    await makeTeam(world, 'mine', 'dev', [alice], [{ actions: 'pull only', repositories: ['mine/*'] }]);
    for (const name of MINE.slice(0, 3)) await hold(name);
    await hold('zzz', [{ actions: 'pull only', principals: [alice.subject] }]);
  });

  beforeEach(async () => {
    world = await build();
  });

  async function cost(work: (counted: World) => Promise<unknown>) {
    const { env, counts } = counting(world.env);
    await work(worldOf(env));
    return counts;
  }

  test('a page is correct, and reads no more rows than without them', async () => {
    const token = await catalogToken(alice.basic);
    const reading = [
      (at: World) => api(at, 'GET', '/repositories?n=2', { as: alice.basic }),
      (at: World) => api(at, 'GET', '/repositories?n=2&last=mine/2', { as: alice.basic }),
      (at: World) => api(at, 'GET', '/repositories', { as: alice.basic }),
      (at: World) => api(at, 'GET', '/repositories?search=mine', { as: alice.basic }),
      (at: World) => at.fetch('GET', '/v2/_catalog?n=2', { authorization: token }),
      (at: World) => at.fetch('GET', '/v2/_catalog?n=1000', { authorization: token }),
    ];
    const before = await Promise.all(reading.map((work) => cost(work)));
    for (const prefix of ['aaa/', 'mind/', 'nnn/']) await holdMany(prefix, FOREIGN);
    await holdMany('bbb/', FOREIGN, [{ effect: 'allow', actions: ['pull'], principals: ['user:bob', 'team:mine/ops'] }]);
    const after = await Promise.all(reading.map((work) => cost(work)));
    expect(after.map(({ rowsRead }) => rowsRead)).toEqual(before.map(({ rowsRead }) => rowsRead));
    for (const { d1, rowsRead, rowsWritten } of after) {
      expect(rowsRead).toBeLessThanOrEqual(150);
      expect(d1).toBeLessThanOrEqual(6);
      expect(rowsWritten).toBe(0);
    }
    expect((await allPages(alice.basic, 2)).names).toEqual(MINE);
    expect((await catalogPages(token, 2)).names).toEqual(MINE);
    expect(await list(null)).toEqual([]);
  });

  test('a page for a narrowed key reads as few rows, even if its owner sees them all', async () => {
    const everything = await inviteUser(world, 'root-of-all', { administrator: true });
    const as = await keyOf(everything, [{ actions: 'pull only', repositories: ['mine/1', 'zz*'] }]);
    await holdMany('aaa/', FOREIGN);
    await holdMany('bbb/', 3000, OPEN);
    const { rowsRead } = await cost(async (at) => {
      const { body } = await api<Listed>(at, 'GET', '/repositories?n=2', { as });
      expect(body.items.map(({ name }) => name)).toEqual(['mine/1', 'zzz']);
    });
    expect(rowsRead).toBeLessThanOrEqual(100_000);
    expect((await allPages(as, 1)).names).toEqual(['mine/1', 'zzz']);
    expect((await catalogPages(await catalogToken(basicOf(as)), 1)).names).toEqual(['mine/1', 'zzz']);
  });

  test.each([3000, 12_500])(
    'and %i policies of those repositories, paging reaches what comes after, and names none of them',
    { tags: 'slow' },
    async (count) => {
      await holdMany('mine/0-denied-', count, DENIED);
      const token = await catalogToken(alice.basic);
      for (const n of [1, 100, 1000]) {
        const { names, text } = await allPages(alice.basic, n);
        expect(names).toEqual(MINE);
        expect(text).not.toContain('denied');
        const catalog = await catalogPages(token, n);
        expect(catalog.names).toEqual(MINE);
        expect(catalog.text).not.toContain('denied');
      }
    },
  );

  test('and more policies than one request reads, paging continues from a cursor that names nothing', {
    tags: 'slow',
  }, async () => {
    await holdMany('mine/0-denied-', 45_000, DENIED);
    const token = await catalogToken(alice.basic);
    for (const n of [2, 100]) {
      const { names, text, pages } = await allPages(alice.basic, n);
      expect([names, pages > 1]).toEqual([MINE, true]);
      expect(text).not.toContain('denied');
      const catalog = await catalogPages(token, n);
      expect(catalog.names).toEqual(MINE);
      expect(catalog.text).not.toContain('denied');
    }
    expect(refused(await api(world, 'GET', '/repositories?last=~made-up', { as: alice.basic }))).toBe('400 UNSUPPORTED');
    const place = (await api<Listed>(world, 'GET', '/repositories?n=2', { as: alice.basic })).body.next ?? '';
    expect(refused(await api(world, 'GET', `/trash?last=${place}`, { as: alice.basic }))).toBe('400 INVALID');
  });

  test('a search is in order and names each repository once, found by pattern or by policy', async () => {
    await holdMany('aaa/', 3000, OPEN);
    await hold('bbb/needle', [PUBLIC]);
    await hold('mine/needle', [PUBLIC]);
    await hold('zzz/needle', [PUBLIC]);
    for (const n of [1, 2, 100]) {
      const { names } = await allPages(alice.basic, n, '&search=needle');
      expect(names).toEqual(['bbb/needle', 'mine/needle', 'zzz/needle']);
    }
  });

  test("a request stays within the free plan's number of statements, and ends", async () => {
    await holdMany('mine/0-denied-', 12_500, DENIED);
    const { d1, rowsRead } = await cost((at) => api(at, 'GET', '/repositories', { as: alice.basic }));
    expect(d1).toBeLessThan(50);
    expect(rowsRead).toBeLessThanOrEqual(25 * 12_500);
  });

  test('a thousand public repositories are listed a thousand at a time for a few rows each', async () => {
    await holdMany('open/', 1500, OPEN);
    const { rowsRead } = await cost(async (at) => {
      const { body } = await api<Listed>(at, 'GET', '/repositories?n=1000', { as: null });
      expect([body.items.length, body.next]).toEqual([1000, 'open/00999']);
    });
    expect(rowsRead).toBeLessThanOrEqual(20 * 1000);
    expect((await allPages(null, 1000)).names).toHaveLength(1500);
  });
});
