/** The audit log by the API: searching, paging, and who may see what. */
import { beforeEach, describe, expect, test } from 'vitest';
import { pushImage } from '../../world/images.ts';
import { everyItem, makeOrganization, makeRobot } from '../../world/organizations.ts';
import { type ApiRequest, api as anyApi, basicOf, inviteUser, type Person, refused } from '../../world/people.ts';
import { newestOf } from '../../world/reading.ts';
import { builtOnce, type World } from '../../world/world.ts';

interface Shown {
  id: number;
  sequence: number;
  at: string;
  type: string;
  repository: string | null;
  organization: string | null;
  target: Record<string, unknown>;
  actor: { subject: string; key: string | null; keyName: string | null };
}

interface Body {
  items: Shown[];
  next: string | null;
  secret: string;
  password: string;
  errors: [{ code: string; message: string }];
}

const api = (method: string, path: string, request?: ApiRequest) => anyApi<Body>(world, method, path, request);

let world: World;
/** An owner of acme, a member, an unrelated user, and one who may administer acme/api by its policy. */
let olga: Person;
let mia: Person;
let sam: Person;
let anna: Person;

const build = builtOnce(async (made) => {
  world = made;
  olga = await inviteUser(world, 'olga');
  mia = await inviteUser(world, 'mia');
  sam = await inviteUser(world, 'sam');
  anna = await inviteUser(world, 'anna');
  await makeOrganization(world, 'acme', { owners: [olga], members: [mia] });
  await api('PUT', '/repositories/acme/api', {});
  await put('/repositories/acme/api/-/policy', {
    statements: [
      { actions: 'all actions', principals: [anna.subject] },
      { actions: ['pull'], principals: [mia.subject] },
    ],
  });
});

beforeEach(async () => {
  world = await build();
});

async function put(path: string, body: object = {}, as?: string): Promise<void> {
  const { status, body: answer } = await api('PUT', path, { body, ...(as ? { as } : {}) });
  expect(status, JSON.stringify(answer)).toBeLessThan(300);
}

async function find(query: string, as?: string): Promise<Shown[]> {
  const { status, body } = await api('GET', `/events${query}`, as ? { as } : {});
  expect(status, JSON.stringify(body)).toBe(200);
  expect(body.next).toBeNull();
  return body.items;
}

/** The status of a search, and the subjects of the events that it shows. */
async function seen(query: string, as: string | null): Promise<string> {
  const { status, body } = await api('GET', `/events${query}`, { as });
  if (status !== 200) return `${status} ${body.errors[0].code}`;
  return [...new Set(body.items.map(({ repository, organization }) => repository ?? organization ?? 'registry'))].sort().join();
}

async function narrowed(owner: Person | null, ...statements: object[]): Promise<string> {
  const { body } = await api('POST', '/keys', { body: { name: 'x', statements }, ...(owner ? { as: owner.bearer } : {}) });
  return `Bearer ${body.secret}`;
}

/** Inserts copies of the newest event with other values in these columns. */
async function insert(count: number, columns: Record<string, string>): Promise<void> {
  const values: Record<string, string> = {
    at: 'at',
    type: 'type',
    about: 'about',
    sequence: 'sequence + n',
    target: 'target',
    actor: 'actor',
    ...columns,
  };
  await world.env.DB.prepare(
    `WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
     INSERT INTO events (id, ${Object.keys(values)}) SELECT id + n, ${Object.values(values)} FROM events, n
     WHERE id = (SELECT max(id) FROM events)`,
  )
    .bind(count)
    .run();
}

describe('an event', () => {
  test('has the type, the target, the actor and the key of each event', async () => {
    await pushImage(
      { ...world, fetch: (method, path, init) => world.fetch(method, path, { authorization: anna.basic, ...init }) },
      'acme/api',
      'v1',
    );
    const [newest] = await find('');
    expect(newest).toEqual({
      id: await newestOf(world),
      sequence: expect.any(Number),
      at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/),
      type: 'tag.created',
      repository: 'acme/api',
      organization: 'acme',
      target: {
        tag: 'v1',
        digest: expect.stringMatching(/^sha256:/),
        mediaType: expect.any(String),
        size: expect.any(Number),
        cause: 'push',
      },
      actor: { subject: 'user:anna', key: anna.keyId, keyName: expect.any(String) },
    });
  });

  test('is about a repository, an organization, or the registry', async () => {
    await put('/organizations/acme/teams/dev');
    await put('/users/nina');
    const [user, team] = await find('?n=1000');
    expect(user).toMatchObject({ type: 'user.invited', repository: null, organization: null });
    expect(team).toMatchObject({ type: 'team.created', repository: null, organization: 'acme' });
    expect(user?.actor).toEqual({ subject: 'user:admin', key: null, keyName: null });
  });

  test('names the organization of its repository, and no user whose repository it is', async () => {
    await pushImage(world, 'acme/api', 'v1');
    await pushImage(world, 'sam/app', 'v1');
    await pushImage(world, 'plain', 'v1');
    const organizationOf = async (repository: string) => (await find(`?repository=${repository}`))[0]?.organization;
    expect(await organizationOf('acme/api')).toBe('acme');
    expect(await organizationOf('sam/app')).toBeNull();
    expect(await organizationOf('plain')).toBeNull();
  });

  test('names the key that was used, but not to a narrowed key', async () => {
    const robot = await makeRobot(world, 'acme', 'ci', [{ actions: ['push', 'pull'], repositories: ['acme/*'] }]);
    await pushImage(
      { ...world, fetch: (method, path, init) => world.fetch(method, path, { authorization: robot.basic, ...init }) },
      'acme/api',
      'v1',
    );
    const keyName = async (as: string) => (await find('?repository=acme/api&type=tag.created', as))[0]?.actor.keyName;
    expect(await keyName(olga.basic)).toBe('test');
    expect(await keyName(await narrowed(olga, { actions: ['admin'], repositories: ['acme/*'] }))).toBeNull();
  });

  test('is numbered within its subject, without gaps', async () => {
    await Promise.all(
      ['acme/api', 'acme/web', 'other/web'].flatMap((name) => ['v1', 'v2'].map((tag) => pushImage(world, name, tag))),
    );
    const all = await everyItem<Shown>(world, '/events', { n: 7 });
    const about = Map.groupBy(all, ({ repository, organization }) => repository ?? organization ?? '');
    expect([...about.keys()].sort()).toEqual(['', 'acme', 'acme/api', 'acme/web', 'other/web']);
    for (const events of about.values()) {
      expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, n) => events.length - n));
    }
  });
});

describe('a search', () => {
  test('is paged newest first, and events that happen meanwhile shift nothing', async () => {
    const before = (await find('?n=1000')).map(({ id }) => id);
    let n = 0;
    const meanwhile = async () => void (await pushImage(world, 'acme/meanwhile', `v${n++}`));
    const all = await everyItem<Shown>(world, '/events', { n: 3, meanwhile });
    expect(all.map(({ id }) => id)).toEqual(before);
    expect(before).toEqual(before.toSorted((a, b) => b - a));
  });

  test('finds events by actor and type', async () => {
    await pushImage(world, 'acme/api', 'v1');
    const types = async (query: string) => (await find(query)).map(({ type }) => type);
    expect(await types('?type=tag.created')).toEqual(['tag.created']);
    expect(await types('?type=tag.created,repository.created&repository=acme/api')).toEqual([
      'tag.created',
      'repository.created',
    ]);
    expect(await types('?type=tag.deleted')).toEqual([]);
    expect(await types('?actor=user:olga')).toEqual(['key.created', 'user.joined']);
    expect(await types('?actor=User:Olga&type=user.joined')).toEqual(['user.joined']);
    expect(await types('?actor=user:nobody')).toEqual([]);
    expect(await types('?actor=user:olga&repository=acme/api')).toEqual([]);
  });

  test('finds the events about a tag and about a digest of a repository', async () => {
    const first = await pushImage(world, 'acme/api', 'v1', 1);
    const second = await pushImage(world, 'acme/api', 'v1', 2);
    await pushImage(world, 'acme/api', 'v2', 3);
    const types = async (query: string) => (await find(`?repository=acme/api&${query}`)).map(({ type }) => type);
    expect(await types('tag=v1')).toEqual(['tag.moved', 'tag.created']);
    expect(await types('tag=v3')).toEqual([]);
    expect(await types(`digest=${first.digest}`)).toEqual(['tag.moved', 'tag.created']);
    expect(await types(`digest=${second.digest}&tag=v1`)).toEqual(['tag.moved']);
    expect((await world.fetch('DELETE', `/v2/acme/api/manifests/${second.digest}`)).status).toBe(202);
    expect((await types('tag=v1'))[0]).toMatch(/deleted$/);
    expect(refused(await api('GET', '/events?tag=v1'))).toBe('400 INVALID');
    expect(refused(await api('GET', '/events?repository=acme/api&digest=v1'))).toBe('400 INVALID');
  });

  test('by time is exact to the second: since is inclusive, before is exclusive', async () => {
    const T = 1_700_000_000;
    await world.env.DB.prepare(`UPDATE events SET at = ${T - 100}`).run();
    await insert(4, { at: `${T} - 1 + n`, target: `json_object('n', n)` });
    const time = (seconds: number) => new Date(seconds * 1000).toISOString();
    const found = async (query: string) => (await find(`?${query}`)).map(({ target }) => target.n ?? 'before').join();
    expect(await found(`since=${time(T)}`)).toBe('4,3,2,1');
    expect(await found(`since=${time(T + 1)}&until=${time(T + 3)}`)).toBe('3,2');
    expect(await found(`since=${time(T + 0.5)}&until=${time(T + 2.5)}`)).toBe('3,2');
    expect(await found(`since=${time(T + 1)}&until=${time(T + 1)}`)).toBe('');
    expect(await found(`since=${time(T + 3)}&until=${time(T)}`)).toBe('');
    expect(await found(`since=${time(T + 4)}`)).toBe('');
    expect(await found(`since=${time(T - 100)}&until=${time(T + 1)}&n=1000`)).toMatch(/^1(,before)+$/);
    expect(await found(`until=${time(T - 100)}`)).toBe('');
    expect(await found(`since=${encodeURIComponent('2023-11-15T00:13:22+02:00')}`)).toBe('4,3');
    expect((await api('GET', `/events?since=${time(T)}&n=2`)).body.next).not.toBeNull();
    const paged = await everyItem<Shown>(world, `/events`, { n: 2 });
    expect(paged.slice(0, 4).map(({ target }) => target.n)).toEqual([4, 3, 2, 1]);
  });

  test('for something rare continues over short pages and finds everything', async () => {
    await api('PUT', '/repositories/acme/rare', { as: olga.basic });
    await insert(12_000, { actor: `'user:busy'`, about: `'acme/busy'` });
    await api('PATCH', '/repositories/acme/rare', { as: olga.basic, body: { description: 'x' } });
    const pages: number[] = [];
    const types: string[] = [];
    for (let last: string | null = ''; last !== null; ) {
      const { body }: { body: Body } = await api('GET', `/events${last === '' ? '' : `?last=${last}`}`, { as: olga.basic });
      pages.push(body.items.length);
      types.push(...body.items.map(({ type }) => type));
      expect(body.next).not.toBe(last);
      last = body.next;
    }
    expect(pages).toEqual([1, 0, 3]);
    expect(types).toEqual(['repository.changed', 'repository.created', 'key.created', 'user.joined']);
    // A search by the subject finds the event on the first page.
    expect((await find('?repository=acme/rare')).map(({ type }) => type)).toEqual(['repository.changed', 'repository.created']);
  });

  test.each([
    'n=0',
    'n=1001',
    'last=x',
    'last=0',
    'last=-1',
    `last=${'9'.repeat(16)}`,
    'type=tag.renamed',
    'type=',
    'type=tag.created,',
    'type=tag.created&type=tag.moved',
    'repository=Acme',
    'repository=',
    'organization=a/b',
    'repository=acme/api&organization=acme',
    'since=2020-01-01',
    'since=2020-01-01T00:00:00',
    'since=1700000000',
    'until=tomorrow',
    'key=BRTH',
  ])('with %s is refused', async (query) => {
    expect(refused(await api('GET', `/events?${query}`))).toBe('400 INVALID');
  });
});

describe('events of a repository', () => {
  const QUERY = '?repository=acme/api';

  test('are all visible to those who may administer it, whoever caused them', async () => {
    const admin = { actions: ['admin'], repositories: ['acme/*'] };
    const robot = await makeRobot(world, 'acme', 'auditor', [admin]);
    const pulling = await makeRobot(world, 'acme', 'puller', [{ actions: ['pull'], repositories: ['acme/*'] }]);
    const ways: [string | null, string][] = [
      [olga.basic, 'acme/api'],
      [anna.basic, 'acme/api'],
      [robot.basic, 'acme/api'],
      [await narrowed(anna, { actions: ['admin'], repositories: ['acme/api'] }), 'acme/api'],
      [mia.basic, '403 DENIED'],
      [pulling.basic, '403 DENIED'],
      [await narrowed(anna, { actions: ['pull'], repositories: ['acme/api'] }), '403 DENIED'],
      [await narrowed(anna, { actions: 'all actions', repositories: ['acme/web'] }), '404 NOT_FOUND'],
      [sam.basic, '404 NOT_FOUND'],
      [null, '401 UNAUTHORIZED'],
    ];
    for (const [as, wanted] of ways) expect(await seen(QUERY, as)).toBe(wanted);
    expect((await find(QUERY, anna.basic)).map(({ actor }) => actor.subject)).toContain('user:admin');
    expect((await find(`${QUERY}&actor=user:admin`, anna.basic)).length).toBeGreaterThan(0);
  });

  test('that is private look as if it had never existed', async () => {
    const look = async (name: string) => {
      const { status, body } = await api('GET', `/events?repository=${name}`, { as: sam.basic });
      return { status, body };
    };
    expect(await look('acme/api')).toEqual(await look('acme/absent'));
    expect(await look('acme/api')).toEqual(await look('nobody/absent'));
  });

  test('that was deleted stay visible to those who would still administer it', async () => {
    await api('DELETE', '/repositories/acme/api');
    expect((await find(QUERY, olga.basic))[0]?.type).toBe('repository.deleted');
    expect(await seen(QUERY, anna.basic)).toBe('404 NOT_FOUND');
    expect(await seen('?repository=acme/absent', olga.basic)).toBe('');
  });

  test('that was recreated begin there, except for the owners of its name', async () => {
    await api('DELETE', '/repositories/acme/api');
    await put('/repositories/acme/api');
    await put('/repositories/acme/api/-/policy', {
      statements: [{ effect: 'allow', actions: 'all actions', principals: ['user:anna'] }],
    });
    expect((await find(QUERY, anna.basic)).map(({ type }) => type)).toEqual(['policy.saved', 'repository.created']);
    const all = (await find(QUERY, olga.basic)).map(({ type }) => type);
    expect(all.slice(0, 3)).toEqual(['policy.saved', 'repository.created', 'repository.deleted']);
    expect(all.length).toBeGreaterThan(3);
  });

  test('are the only ones visible to its administrator', async () => {
    for (const name of ['acme/api2', 'acme/api/deep', 'acme/ap']) await put(`/repositories/${name}`);
    expect(await seen(QUERY, olga.basic)).toBe('acme/api');
  });
});

describe('events of an organization', () => {
  beforeEach(async () => {
    for (const name of ['acme/web', 'acme2/api', 'acme-x/api', 'acme']) await put(`/repositories/${name}`);
    await makeOrganization(world, 'acme2', { owners: [sam] });
  });

  test('are visible to its owners with those of its repositories, and of no other', async () => {
    expect(await seen('?organization=acme', olga.basic)).toBe('acme,acme/api,acme/web');
    expect(await seen('?organization=ACME&actor=user:admin', olga.basic)).toBe('acme,acme/api,acme/web');
    expect(await seen('?organization=acme2', sam.basic)).toBe('acme2,acme2/api');
    expect(await seen('?organization=acme', `Basic ${btoa('admin:the-password-of-the-tests')}`)).toBe('acme,acme/api,acme/web');
    const named = (await find('?organization=acme', olga.basic)).filter(({ repository }) => repository === null);
    expect([...new Set(named.map(({ type }) => type))].sort()).toEqual(['member.changed', 'organization.created']);
  });

  test('are hidden from others, as is its existence', async () => {
    expect(await seen('?organization=acme', mia.basic)).toBe('403 DENIED');
    expect(await seen('?organization=acme', anna.basic)).toBe('404 NOT_FOUND');
    expect(await seen('?organization=absent', anna.basic)).toBe('404 NOT_FOUND');
    const key = await narrowed(olga, { actions: 'all actions', repositories: ['acme/*'] });
    const robot = await makeRobot(world, 'acme', 'auditor', [{ actions: 'all actions', repositories: ['acme/*'] }]);
    for (const as of [key, robot.basic]) {
      for (const name of ['acme', 'absent']) expect(await seen(`?organization=${name}`, as)).toBe('403 DENIED');
    }
  });
});

describe('all events', () => {
  test('are visible to an administrator', async () => {
    const adele = await inviteUser(world, 'adele', { administrator: true });
    expect(await seen('?n=1000', adele.basic)).toBe('acme,acme/api,registry');
    expect(await seen('?n=1000&actor=user:olga', adele.basic)).toBe('registry');
  });

  test('are limited for others to their own actions', async () => {
    await api('PATCH', '/repositories/acme/api', { as: anna.basic, body: { description: 'x' } });
    const own = await find('', anna.basic);
    expect(own.map(({ type }) => type)).toEqual(['repository.changed', 'key.created', 'user.joined']);
    expect(new Set(own.map(({ actor }) => actor.subject))).toEqual(new Set(['user:anna']));
    expect(await find('?actor=user:anna', anna.basic)).toEqual(own);
    for (const actor of ['user:olga', 'user:nobody', 'registry', 'robot:acme/ci']) {
      expect(await seen(`?actor=${actor}`, anna.basic), actor).toBe('403 DENIED');
    }
    const robot = await makeRobot(world, 'acme', 'ci', [{ actions: 'all actions', repositories: ['acme/*'] }]);
    await api('PATCH', '/repositories/acme/api', { as: robot.basic, body: { description: 'y' } });
    expect((await find('', robot.basic)).map(({ actor }) => actor)).toEqual([
      { subject: robot.subject, key: robot.keyId, keyName: 'test' },
    ]);
    expect(await seen('', null)).toBe('401 UNAUTHORIZED');
  });

  test('are limited to their own actions for a login of an administrator', async () => {
    const adele = await inviteUser(world, 'adele', { administrator: true });
    const { body } = await api('POST', '/login-password', { as: adele.basic });
    const login = basicOf('adele', body.password);
    expect(new Set((await find('?n=1000', login)).map(({ actor }) => actor.subject))).toEqual(new Set([adele.subject]));
    expect(await seen('?actor=user:admin', login)).toBe('403 DENIED');
    expect(await seen('?organization=acme', login)).toBe('403 DENIED');
    expect(await seen('?repository=acme/api', login)).toBe('acme/api');
  });

  test('are hidden from a narrowed key, whatever it may do and whoever owns it', async () => {
    for (const owner of [olga, null]) {
      const key = await narrowed(owner, { actions: 'all actions', repositories: ['*'] });
      expect(await seen('', key)).toBe('403 DENIED');
      expect(await seen(`?actor=${owner?.subject ?? 'user:admin'}`, key)).toBe('403 DENIED');
      expect(await seen('?repository=acme/api', key)).toBe('acme/api');
    }
  });
});
