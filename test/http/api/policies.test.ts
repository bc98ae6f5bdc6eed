/** Policies through the management API: valid policies, who may save them, and the answers of dry runs. */
import { beforeEach, describe, expect, test } from 'vitest';
import { counting } from '../../world/counting.ts';
import { eventsDuring, makeOrganization, makeRobot, makeTeam, tally } from '../../world/organizations.ts';
import { type ApiRequest, api, inviteUser, type Person, refused } from '../../world/people.ts';
import { newWorld, type World, worldOf } from '../../world/world.ts';

interface Policy {
  statements: Record<string, unknown>[];
}

interface Right {
  action: string;
  tags?: string[];
}

interface Preview {
  changes: { principal: string; repository: string; gains: Right[]; loses: Right[] }[];
  truncated: boolean;
}

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

const REPOSITORY = '/repositories/acme/api/-/policy';
const TEAM = '/organizations/acme/teams/dev/policy';
const ROBOT = '/organizations/acme/robots/ci/policy';
const USER = '/users/alice/policy';

const get = (path: string, request: ApiRequest = {}) => api<Policy>(world, 'GET', path, request);
const put = (path: string, statements: unknown, request: ApiRequest = {}) =>
  api<Policy>(world, 'PUT', path, { body: { statements }, ...request });
const dryRun = async (path: string, statements: unknown, request: ApiRequest = {}) => {
  const answer = await api<Preview>(world, 'PUT', `${path}?dryRun=true`, { body: { statements }, ...request });
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return answer.body;
};
const make = async (...names: string[]) => {
  for (const name of names) expect((await api(world, 'PUT', `/repositories/${name}`)).status).toBe(201);
};
const etagOf = async (path: string) => (await get(path)).headers.get('etag') ?? '';

/** Creates an organization with a user, a team, a robot and a repository, which can all have a policy. */
async function makeAcme(): Promise<{ alice: Person; robot: Person }> {
  const alice = await inviteUser(world, 'alice');
  await makeOrganization(world, 'acme', { members: [alice] });
  await makeTeam(world, 'acme', 'dev', [alice]);
  const robot = await makeRobot(world, 'acme', 'ci');
  await make('acme/api');
  return { alice, robot };
}

const own = { actions: ['pull'], repositories: ['acme/*'] };
const named = { actions: ['pull'], principals: ['user:alice'] };
/** The paths of all policies, each with a valid statement. */
const FITTING: [path: string, statement: Record<string, unknown>][] = [
  [USER, own],
  [TEAM, own],
  [ROBOT, own],
  [REPOSITORY, named],
];

describe('a policy', () => {
  beforeEach(async () => {
    await makeAcme();
  });

  test('is read as it was saved, with the ETag of that save', async () => {
    for (const [path, statement] of FITTING) {
      const statements = [
        { ...statement, effect: 'allow' },
        { ...statement, effect: 'deny', actions: ['push', 'delete'], tags: ['v*', 'latest'] },
      ];
      const saved = await put(path, statements);
      expect(saved, path).toMatchObject({ status: 200, body: { statements } });
      const read = await get(path);
      expect(read.body).toEqual({ statements });
      expect(read.headers.get('etag')).toBe(saved.headers.get('etag'));
      expect(read.headers.get('cache-control')).toBe('no-store');
    }
  });

  test('that was never saved is empty, and can be saved on that condition', async () => {
    for (const [path, statement] of FITTING) {
      const empty = await get(path);
      expect(empty.body).toEqual({ statements: [] });
      const headers = { 'if-match': empty.headers.get('etag') ?? '' };
      expect((await put(path, [statement], { headers })).status).toBe(200);
      expect(refused(await put(path, [], { headers }))).toBe('412 PRECONDITION_FAILED');
      expect(refused(await put(path, [], { headers: { 'if-none-match': '*' } }))).toBe('412 PRECONDITION_FAILED');
    }
  });

  test('accepts the usual sets of actions by name, and shows their actions', async () => {
    const wanted = {
      'pull only': ['pull'],
      'push and pull': ['pull', 'push', 'retag'],
      'all actions': ['pull', 'push', 'retag', 'delete', 'admin', 'create'],
    };
    for (const [path, statement] of FITTING) {
      const presets = Object.keys(wanted).map((actions) => ({ ...statement, actions }));
      const { body } = await put(path, presets);
      expect(body.statements.map(({ actions }) => actions)).toEqual(Object.values(wanted));
      expect((await get(path)).body).toEqual(body);
    }
  });

  test('allows if no effect is given, and lists each action once', async () => {
    const { body } = await put(REPOSITORY, [{ actions: ['push', 'pull', 'push'], principals: ['*'] }]);
    expect(body.statements).toEqual([{ effect: 'allow', actions: ['pull', 'push'], principals: ['*'] }]);
  });

  test.each<[string, Record<string, unknown>]>([
    ['an effect nobody knows', { effect: 'permit' }],
    ['an action nobody knows', { actions: ['pull', 'sudo'] }],
    ['an action of another list', { actions: ['catalog'] }],
    ['a set nobody knows', { actions: 'everything' }],
    ['no action', { actions: [] }],
    ['tags where it lets pull', { actions: ['pull'], tags: ['v*'] }],
    ['tags where it lets pull among others', { actions: 'push and pull', tags: ['v*'] }],
    ['tags where it lets administer or create', { actions: ['push', 'create'], tags: ['v*'] }],
    ['no tag in its list', { actions: ['push'], tags: [] }],
    ['what is no tag', { actions: ['push'], tags: ['a/b'] }],
    ['a regular expression for a tag', { actions: ['push'], tags: ['v[0-9]+'] }],
    ['a tag too long', { actions: ['push'], tags: ['x'.repeat(129)] }],
    ['a field nobody knows', { condition: {} }],
    ['a source', { from: 'administrator' }],
    ['a standing of its own', { standing: true }],
    ['nothing but null', { actions: null }],
  ])('with a statement that has %s is refused, and stays as it was', async (_, change) => {
    for (const [path, statement] of FITTING) {
      await put(path, [statement]);
      const before = await get(path);
      const events = await eventsDuring(world, async () => {
        expect(refused(await put(path, [statement, { ...statement, ...change }])), path).toBe('400 INVALID');
        expect(refused(await put(`${path}?dryRun=true`, [{ ...statement, ...change }])), path).toBe('400 INVALID');
      });
      expect(events).toEqual([]);
      const after = await get(path);
      expect([after.body, after.headers.get('etag')]).toEqual([before.body, before.headers.get('etag')]);
    }
  });

  test.each([
    ['nothing', { statements: undefined }],
    ['no list', { statements: {} }],
    ['a version of its own', { statements: [], version: 1 }],
    ['another subject', { statements: [], subject: 'user:bob' }],
    ['a list alone', []],
  ])('that is %s is refused', async (_, body) => {
    for (const [path] of FITTING) expect(refused(await api(world, 'PUT', path, { body }))).toBe('400 INVALID');
  });

  test('gets an error message for each fault, with its position', async () => {
    const { body } = await put(TEAM, [own, { ...own, actions: ['pull', 'sudo'] }]);
    expect(JSON.stringify(body)).toContain('body.statements.1.actions');
  });

  test.each([
    'alice',
    'user:',
    'user:Alice',
    'user:alice/x',
    'users:alice',
    'team:acme',
    'team:dev',
    'team:acme/dev/x',
    'robot:ci',
    'organization:acme/dev',
    'organization:*',
    'user:*',
    '**',
    '',
    'key:BRTHAAAAAAAAAAAAAAAA',
    'ci:acme/deploy',
    'repository:acme/api',
    'administrator',
    'user:alice ',
    ' *',
    'user:alice\n',
    `user:${'x'.repeat(65)}`,
    'anonymous',
  ])('of a repository does not name %j, who is nobody', async (principal) => {
    expect(refused(await put(REPOSITORY, [{ actions: ['pull'], principals: [principal] }]))).toBe('400 INVALID');
  });

  test('of a repository may name users, organizations, teams, robots and everybody', async () => {
    const principals = ['user:alice', 'organization:acme', 'team:acme/dev', 'robot:acme/ci', '*'];
    expect((await put(REPOSITORY, [{ actions: ['pull'], principals }])).status).toBe(200);
    const { results } = await world.env.DB.prepare('SELECT principal FROM policy_principals ORDER BY principal').all();
    expect(results.map(({ principal }) => principal)).toEqual([...principals].sort());
    await put(REPOSITORY, [{ actions: ['pull'], principals: ['user:alice', 'user:alice'] }, named]);
    expect(await world.env.DB.prepare('SELECT * FROM policy_principals').all()).toMatchObject({
      results: [{ principal: 'user:alice', repository: 'acme/api' }],
    });
    await put(REPOSITORY, []);
    expect((await world.env.DB.prepare('SELECT * FROM policy_principals').all()).results).toEqual([]);
  });

  test('of a repository is about that one, and of another subject about that subject only', async () => {
    expect(refused(await put(REPOSITORY, [{ ...named, repositories: ['acme/web'] }]))).toBe('400 INVALID');
    expect(refused(await put(REPOSITORY, [{ actions: ['pull'] }]))).toBe('400 INVALID');
    expect(refused(await put(REPOSITORY, [{ actions: ['pull'], principals: [] }]))).toBe('400 INVALID');
    for (const path of [USER, TEAM, ROBOT]) {
      expect(refused(await put(path, [{ ...own, principals: ['user:bob'] }]))).toBe('400 INVALID');
      expect(refused(await put(path, [{ actions: ['pull'] }]))).toBe('400 INVALID');
      expect(refused(await put(path, [{ actions: ['pull'], repositories: [] }]))).toBe('400 INVALID');
    }
  });

  test.each([
    'acme',
    'acme*',
    '*',
    '*/api',
    'beta/*',
    'acme2/*',
    'acme-x/api',
    'beta/acme/api',
    'acme/../beta/*',
    '',
    'ACME/*',
    'acme/%2e',
    'acme//x',
  ])('of a team or a robot is not about %j, outside of its organization', async (pattern) => {
    for (const path of [TEAM, ROBOT]) {
      const statements = [own, { ...own, repositories: ['acme/web', pattern] }];
      if (pattern === 'acme/../beta/*') {
        // No repository name can match this pattern. So it may be refused, or be saved as a pattern within the organization.
        expect([200, 400]).toContain((await put(path, statements)).status);
        continue;
      }
      expect(refused(await put(path, statements)), path).toBe('400 INVALID');
      expect(refused(await put(path, [{ ...own, effect: 'deny', repositories: [pattern] }])), path).toBe('400 INVALID');
      expect(refused(await put(`${path}?dryRun=true`, statements)), path).toBe('400 INVALID');
    }
  });

  test('of a user may be about anything, because an administrator gives it', async () => {
    expect((await put(USER, [{ ...own, repositories: ['*', 'beta/x', 'myfirstapp', 'a*-b/*'] }])).status).toBe(200);
  });

  test('has up to 50 statements of up to 50 patterns, all of which apply', async () => {
    const repositories = Array.from({ length: 50 }, (_, n) => `acme/x-${n}`);
    const statements = Array.from({ length: 50 }, (_, n) => ({
      effect: 'allow',
      actions: ['pull'],
      repositories: n === 49 ? [...repositories.slice(1), 'acme/api'] : ['acme/x'],
    }));
    expect((await put(TEAM, statements)).status).toBe(200);
    expect((await get(TEAM)).body.statements).toHaveLength(50);
    expect(refused(await put(TEAM, [...statements, own]))).toBe('400 INVALID');
    expect(refused(await put(TEAM, [{ ...own, repositories: [...repositories, 'acme/api'] }]))).toBe('400 INVALID');
    const principals = Array.from({ length: 50 }, (_, n) => `user:x-${n}`);
    const many = Array.from({ length: 10 }, () => ({ actions: ['push'], principals, tags: ['v*'] }));
    expect((await put(REPOSITORY, [...many, named])).status).toBe(200);
    const different = Array.from({ length: 5 }, (_, n) => ({ ...named, principals: principals.map((one) => `${one}-${n}`) }));
    expect(refused(await put(REPOSITORY, different))).toBe('400 INVALID');
  });

  test('has up to 16 KB in UTF-8, whatever its subject: the refusal names the limit, and nothing changes', async () => {
    const tags = (n: number) => Array.from({ length: 44 }, (_, at) => `${'x'.repeat(20)}-${n}-${at}`);
    const large = (statement: Record<string, unknown>) =>
      Array.from({ length: 14 }, (_, n) => ({ ...statement, actions: ['push'], tags: tags(n) }));
    const key = await api<{ key: { id: string } }>(world, 'POST', '/keys', { body: { name: 'mine' } });
    const saving: [method: string, path: string, body: object][] = [
      ...FITTING.flatMap(([path, statement]): [string, string, object][] => [
        ['PUT', path, { statements: large(statement) }],
        ['PUT', `${path}?dryRun=true`, { statements: large(statement) }],
      ]),
      ['POST', '/keys', { name: 'narrowed', statements: large(own) }],
      ['POST', '/organizations/acme/robots/ci/keys', { name: 'narrowed', statements: large(own) }],
      ['PATCH', `/keys/${key.body.key.id}`, { statements: large(own) }],
      [
        'PUT',
        '/organizations/acme/trust-rules/deploy',
        {
          issuer: 'https://token.actions.githubusercontent.com',
          claims: { repository_id: '1' },
          statements: large(own).map((statement) => ({
            ...statement,
            tags: statement.tags.slice(0, 20).map((tag) => `${tag}${'y'.repeat(30)}`),
          })),
        },
      ],
    ];
    const events = await eventsDuring(world, async () => {
      for (const [method, path, body] of saving) {
        const answer = await api<{ errors: { message: string }[] }>(world, method, path, { body });
        expect(refused(answer), path).toBe('400 INVALID');
        expect(answer.body.errors[0]?.message, path).toMatch(/up to 16384 .*Nothing was saved/);
      }
    });
    expect(events).toEqual([]);
  });

  test('is recorded once when saved, with its content and who did it', async () => {
    for (const [path, statement] of FITTING) {
      const events = await eventsDuring(world, async () => {
        await put(path, [statement]);
        await put(path, [], { headers: { 'if-match': '"999"' } });
        await get(path);
      });
      expect(events.map(({ type, actor }) => `${type} ${actor}`)).toEqual(['policy.saved user:admin']);
      expect(events[0]?.target).toMatchObject({ statements: [{ actions: ['pull'] }] });
    }
  });

  test('is saved once by 16 concurrent requests with the same condition', { tags: 'slow' }, async () => {
    for (const [path, statement] of FITTING) {
      for (const condition of ['if-match', 'if-none-match']) {
        const headers = { [condition]: condition === 'if-match' ? await etagOf(path) : '*' };
        if (condition === 'if-none-match') await world.env.DB.prepare('DELETE FROM policies').run();
        const events = await eventsDuring(world, async () => {
          const answers = await Promise.all(
            Array.from({ length: 16 }, (_, n) =>
              put(path, [{ ...statement, actions: ['push'], tags: [`by-${n}`] }], { headers }),
            ),
          );
          expect(tally(answers.map(({ status }) => status)), path).toEqual({ 200: 1, 412: 15 });
          const winner = answers.find(({ status }) => status === 200);
          expect((await get(path)).body).toEqual(winner?.body);
        });
        expect(events.map(({ type }) => type)).toEqual(['policy.saved']);
      }
    }
  });

  test('is saved in two round trips to the database', async () => {
    for (const [path, statement] of FITTING) {
      const { env, counts } = counting(world.env);
      expect((await api(worldOf(env), 'PUT', path, { body: { statements: [statement] } })).status).toBe(200);
      expect(counts.d1).toBe(2);
      expect(counts.rowsWritten).toBeLessThanOrEqual(8);
    }
  });
});

describe('a policy of a subject that does not exist', () => {
  const absent = [
    '/users/nobody/policy',
    '/organizations/acme/teams/none/policy',
    '/organizations/acme/robots/none/policy',
    '/organizations/none/teams/dev/policy',
    '/organizations/none/robots/ci/policy',
    '/repositories/acme/none/-/policy',
    '/repositories/acme/-/policy',
  ];

  beforeEach(async () => {
    await makeAcme();
  });

  test.each(absent)('is a 404 at %s, for an administrator as well, and nothing is stored', async (path) => {
    const statement = path.includes('/repositories/')
      ? named
      : { actions: ['pull'], repositories: [path.includes('organizations/none/') ? 'none/*' : 'acme/*'] };
    expect((await get(path)).status).toBe(404);
    const events = await eventsDuring(world, async () => {
      expect((await put(path, [statement])).status).toBe(404);
      expect((await put(path, [statement], { headers: { 'if-none-match': '*' } })).status).toBe(404);
      expect((await put(`${path}?dryRun=true`, [statement])).status).toBe(404);
      expect((await put(path, [statement], { headers: { 'if-match': '"1"' } })).status).toBe(412);
    });
    expect(events).toEqual([]);
    expect((await world.env.DB.prepare('SELECT * FROM policies').all()).results).toHaveLength(1);
    expect((await world.env.DB.prepare('SELECT * FROM policy_principals').all()).results).toEqual([]);
  });

  test('is a 404 once a team, robot or repository is deleted, and empty once it is recreated', async () => {
    for (const [path, statement] of FITTING.slice(1)) {
      await put(path, [statement]);
      const owner = path.replace(/(\/-)?\/policy$/, '');
      // A repository answers what its deletion did.
      expect((await api(world, 'DELETE', owner)).status).toBe(owner.startsWith('/repositories') ? 200 : 204);
      expect((await get(path)).status, path).toBe(404);
      expect((await put(path, [statement])).status, path).toBe(404);
      expect((await put(`${path}?dryRun=true`, [statement])).status, path).toBe(404);
    }
    const kept = await world.env.DB.prepare("SELECT subject FROM policies WHERE statements <> '[]'").all();
    // The policy is in the trash with the repository and is restored with it.
    expect(kept.results).toEqual([{ subject: expect.stringMatching(/^trash:[0-9]+$/) }]);
    await make('acme/api');
    expect((await api(world, 'PUT', '/organizations/acme/teams/dev')).status).toBe(201);
    expect((await get(REPOSITORY)).body).toEqual({ statements: [] });
    expect((await get(TEAM)).body).toEqual({ statements: [] });
  });

  test('is kept for a disabled account, which can be enabled again', async () => {
    await put(USER, [own]);
    await api(world, 'PATCH', '/users/alice', { body: { disabled: true } });
    expect((await get(USER)).body.statements).toHaveLength(1);
    expect((await put(USER, [])).status).toBe(200);
  });
});

describe('between two tenants', () => {
  test('nobody reads, saves or tries a policy of the other, and cannot tell whether one exists', async () => {
    const [anna, bert] = [await inviteUser(world, 'anna'), await inviteUser(world, 'bert')];
    await makeOrganization(world, 'acme', { owners: [anna] });
    await makeOrganization(world, 'beta', { owners: [bert] });
    await makeTeam(world, 'acme', 'dev', [], [own]);
    await makeRobot(world, 'acme', 'ci', [own]);
    await make('acme/api');
    const seen = async (path: string, method: string, as: string) => {
      const answer = await api(world, method, path, { as, ...(method === 'PUT' ? { body: { statements: [] } } : {}) });
      return { status: answer.status, body: answer.body, headers: [...answer.headers].sort() };
    };
    const events = await eventsDuring(world, async () => {
      for (const [there, absent] of [
        [TEAM, '/organizations/acme/teams/none/policy'],
        [TEAM, '/organizations/none/teams/dev/policy'],
        [ROBOT, '/organizations/acme/robots/none/policy'],
        [REPOSITORY, '/repositories/acme/none/-/policy'],
        [USER.replace('alice', 'anna'), '/users/none/policy'],
      ] as const) {
        for (const [method, query] of [
          ['GET', ''],
          ['PUT', ''],
          ['PUT', '?dryRun=true'],
        ] as const) {
          const answer = await seen(there + query, method, bert.basic);
          expect([403, 404]).toContain(answer.status);
          expect(answer).toEqual(await seen(absent + query, method, bert.basic));
        }
      }
    });
    expect(events).toEqual([]);
    // Each owner has these rights in their own organization.
    expect((await get(TEAM, { as: anna.basic })).status).toBe(200);
    expect((await put(REPOSITORY, [named], { as: anna.basic })).status).toBe(200);
  });

  test('an owner of a team cannot reach into the other organization, whatever the path', async () => {
    const bert = await inviteUser(world, 'bert');
    await makeOrganization(world, 'acme');
    await makeOrganization(world, 'beta', { owners: [bert] });
    await makeTeam(world, 'beta', 'dev', [bert]);
    await make('acme/api');
    for (const pattern of ['acme/*', 'acme/api', '*']) {
      const statements = [{ actions: ['pull'], repositories: [pattern] }];
      expect(refused(await put('/organizations/beta/teams/dev/policy', statements, { as: bert.basic }))).toBe('400 INVALID');
      expect((await put('/organizations/acme%2f..%2fbeta/teams/dev/policy', statements, { as: bert.basic })).status).toBe(404);
    }
    expect((await api(world, 'GET', '/repositories/acme/api', { as: bert.basic })).status).toBe(404);
  });

  test('a repository policy that names a team of the other gives that team access', async () => {
    const [bert, carl] = [await inviteUser(world, 'bert'), await inviteUser(world, 'carl')];
    await makeOrganization(world, 'acme');
    await makeOrganization(world, 'beta', { owners: [bert], members: [carl] });
    await makeTeam(world, 'beta', 'dev', [carl]);
    await make('acme/api');
    await put(REPOSITORY, [{ actions: ['pull'], principals: ['team:beta/dev'] }]);
    expect((await api(world, 'GET', '/repositories/acme/api', { as: carl.basic })).status).toBe(200);
    expect((await api(world, 'GET', '/repositories/acme/api', { as: bert.basic })).status).toBe(404);
  });

  test('a user who may push may not read the policy, and one who may administer may', async () => {
    const [paul, anton] = [await inviteUser(world, 'paul'), await inviteUser(world, 'anton')];
    await make('acme/api');
    await put(REPOSITORY, [
      { actions: 'push and pull', principals: [paul.subject] },
      { actions: ['admin'], principals: [anton.subject] },
    ]);
    expect(refused(await get(REPOSITORY, { as: paul.basic }))).toBe('403 DENIED');
    expect(refused(await put(REPOSITORY, [], { as: paul.basic }))).toBe('403 DENIED');
    expect((await get(REPOSITORY, { as: anton.basic })).status).toBe(200);
  });
});

describe('a dry run', () => {
  let alice: Person;
  let robot: Person;

  beforeEach(async () => {
    ({ alice, robot } = await makeAcme());
  });

  const gains = (action: string, tags?: string[]) => ({ action, ...(tags ? { tags } : {}) });
  const change = (principal: string, gained: Right[], lost: Right[] = [], repository = 'acme/api') => ({
    principal,
    repository,
    gains: gained,
    loses: lost,
  });

  test('saves nothing and records nothing', async () => {
    for (const [path, statement] of FITTING) {
      await put(path, [statement]);
      const dump = async () =>
        JSON.stringify(
          await Promise.all(
            ['policies', 'policy_principals', 'events', 'repositories', 'accounts'].map(
              async (table) => (await world.env.DB.prepare(`SELECT * FROM ${table}`).all()).results,
            ),
          ),
        );
      const before = await dump();
      const { env, counts } = counting(world.env);
      const answer = await api(worldOf(env), 'PUT', `${path}?dryRun=true`, {
        body: { statements: [{ ...statement, actions: 'all actions' }] },
      });
      expect(answer.status).toBe(200);
      expect(answer.headers.get('etag')).toBeNull();
      expect(await dump()).toBe(before);
      expect(counts.rowsWritten).toBe(0);
    }
    expect(refused(await put(`${TEAM}?dryRun=maybe`, [own]))).toBe('400 INVALID');
    await put(`${TEAM}?dryRun=false`, []);
    expect((await get(TEAM)).body).toEqual({ statements: [] });
  });

  test('of a repository policy lists who gains: users, robots, and users through teams and organizations', async () => {
    const [bob, carol] = [await inviteUser(world, 'bob'), await inviteUser(world, 'carol')];
    await makeOrganization(world, 'beta', { members: [bob, carol] });
    await makeTeam(world, 'beta', 'ops', [carol]);
    const { changes, truncated } = await dryRun(REPOSITORY, [
      { actions: ['pull'], principals: ['organization:beta'] },
      { actions: ['push'], principals: ['team:beta/ops', robot.subject] },
      { actions: ['delete'], principals: [alice.subject, 'user:nobody'] },
    ]);
    expect(truncated).toBe(false);
    expect(changes).toEqual([
      change(robot.subject, [gains('push')]),
      change(alice.subject, [gains('delete')]),
      change(bob.subject, [gains('pull')]),
      change(carol.subject, [gains('pull'), gains('push')]),
    ]);
  });

  test('of a repository policy lists who loses, and what anonymous callers gain', async () => {
    await put(REPOSITORY, [
      { actions: 'push and pull', principals: [alice.subject] },
      { actions: 'pull only', principals: ['*'] },
    ]);
    expect((await dryRun(REPOSITORY, [])).changes).toEqual([
      change(alice.subject, [], [gains('pull'), gains('push'), gains('retag')]),
      change('*', [], [gains('pull')]),
    ]);
    await put(REPOSITORY, []);
    expect((await dryRun(REPOSITORY, [{ actions: ['pull'], principals: ['*'] }])).changes).toEqual([
      change('*', [gains('pull')]),
    ]);
  });

  test('does not list those who have the right in another way, or keep it', async () => {
    const owner = await inviteUser(world, 'owen');
    await api(world, 'PUT', '/organizations/acme/members/owen', { body: { role: 'owner' } });
    await put(TEAM, [own]);
    expect(
      (await dryRun(REPOSITORY, [{ actions: ['pull'], principals: [alice.subject, owner.subject, 'user:admin'] }])).changes,
    ).toEqual([]);
    await put(REPOSITORY, [{ actions: ['pull', 'push'], principals: [alice.subject, owner.subject] }]);
    expect((await dryRun(REPOSITORY, [])).changes).toEqual([change(alice.subject, [], [gains('push')])]);
    expect((await dryRun(REPOSITORY, [{ actions: ['push'], principals: ['organization:acme'] }])).changes).toEqual([]);
    await put(TEAM, []);
    expect((await dryRun(REPOSITORY, [{ actions: ['push'], principals: ['organization:acme'] }])).changes).toEqual([
      change(alice.subject, [], [gains('pull')]),
    ]);
  });

  test('includes what is denied, to some and to everybody', async () => {
    const owner = await inviteUser(world, 'owen');
    await api(world, 'PUT', '/organizations/acme/members/owen', { body: { role: 'owner' } });
    await put(TEAM, [{ actions: 'push and pull', repositories: ['acme/*'] }]);
    const toTeam = [{ effect: 'deny', actions: ['push'], principals: ['team:acme/dev'] }];
    expect((await dryRun(REPOSITORY, toTeam)).changes).toEqual([change(alice.subject, [], [gains('push')])]);
    // Callers who have the right because of a role lose it too, except the right to administer.
    const toAll = [{ effect: 'deny', actions: ['push', 'admin'], principals: ['*'] }];
    const everybody = (await dryRun(REPOSITORY, toAll)).changes;
    expect(everybody).toEqual(
      [
        change(alice.subject, [], [gains('push')]),
        change('user:admin', [], [gains('push')]),
        change(owner.subject, [], [gains('push')]),
      ].sort((a, b) => (a.principal < b.principal ? -1 : 1)),
    );
    await put(REPOSITORY, toAll);
    expect((await dryRun(REPOSITORY, [])).changes).toEqual(everybody.map(({ principal, loses }) => change(principal, loses)));
  });

  test('says for which tags', async () => {
    const tagged = (tags: string[], actions = ['push']) => ({ actions, principals: [alice.subject], tags });
    expect((await dryRun(REPOSITORY, [tagged(['v*', 'latest'])])).changes).toEqual([
      change(alice.subject, [gains('push', ['v*', 'latest'])]),
    ]);
    await put(REPOSITORY, [tagged(['v*'], ['push', 'delete'])]);
    expect((await dryRun(REPOSITORY, [tagged(['v*', 'latest'], ['push', 'delete'])])).changes).toEqual([
      change(alice.subject, [gains('push', ['latest']), gains('delete', ['latest'])]),
    ]);
    expect((await dryRun(REPOSITORY, [])).changes).toEqual([
      change(alice.subject, [], [gains('push', ['v*']), gains('delete', ['v*'])]),
    ]);
    expect((await dryRun(REPOSITORY, [{ actions: ['push', 'delete'], principals: [alice.subject] }])).changes).toEqual([
      change(alice.subject, [gains('push'), gains('delete')]),
    ]);
  });

  test('says for which tags something is denied, and recognizes a tag inside a pattern', async () => {
    const all = { actions: ['push', 'delete'], principals: [alice.subject] };
    await put(REPOSITORY, [all]);
    const release = { effect: 'deny', actions: ['push', 'delete'], principals: [alice.subject], tags: ['release-*'] };
    expect((await dryRun(REPOSITORY, [all, release])).changes).toEqual([
      change(alice.subject, [], [gains('push', ['release-*']), gains('delete', ['release-*'])]),
    ]);
    // The tag v0, which v* matches, is denied.
    await put(REPOSITORY, []);
    const statements = [
      { actions: ['push'], principals: [alice.subject], tags: ['v*'] },
      { effect: 'deny', actions: ['push'], principals: [alice.subject], tags: ['v0'] },
    ];
    expect((await dryRun(REPOSITORY, statements)).changes).toEqual([change(alice.subject, [gains('push', ['v*'])])]);
  });

  test("of a team's policy covers its members and the repositories it names", async () => {
    const dave = await inviteUser(world, 'dave');
    await api(world, 'PUT', '/organizations/acme/members/dave', { body: { role: 'member' } });
    await api(world, 'PUT', '/organizations/acme/teams/dev/members/dave');
    await make('acme/web', 'acme/web-2', 'acme2/web', 'beta/web');
    await api(world, 'PUT', '/repositories/acme/web/-/policy', {
      body: { statements: [{ actions: ['pull'], principals: [dave.subject] }] },
    });
    await put(TEAM, [{ actions: ['pull'], repositories: ['acme/api'] }]);
    const { changes } = await dryRun(TEAM, [{ actions: ['pull', 'push'], repositories: ['acme/web*'] }]);
    const sorted = [...changes].sort((a, b) => (a.principal + a.repository < b.principal + b.repository ? -1 : 1));
    expect(sorted).toEqual([
      change(alice.subject, [], [gains('pull')]),
      change(alice.subject, [gains('pull'), gains('push')], [], 'acme/web'),
      change(alice.subject, [gains('pull'), gains('push')], [], 'acme/web-2'),
      change(dave.subject, [], [gains('pull')]),
      change(dave.subject, [gains('push')], [], 'acme/web'),
      change(dave.subject, [gains('pull'), gains('push')], [], 'acme/web-2'),
    ]);
  });

  test('of a policy of a user or robot is about them alone', async () => {
    expect((await dryRun(USER, [own])).changes).toEqual([change(alice.subject, [gains('pull')])]);
    expect((await dryRun(ROBOT, [own])).changes).toEqual([change(robot.subject, [gains('pull')])]);
    await put(ROBOT, [own]);
    expect((await dryRun(ROBOT, [own])).changes).toEqual([]);
    expect((await dryRun(ROBOT, [])).changes).toEqual([change(robot.subject, [], [gains('pull')])]);
  });

  test("of a disabled user's policy changes nothing for them", async () => {
    await api(world, 'PATCH', '/users/alice', { body: { disabled: true } });
    expect((await dryRun(USER, [own])).changes).toEqual([]);
    expect((await dryRun(REPOSITORY, [named])).changes).toEqual([]);
  });

  test('predicts the rights after the policy is saved', async () => {
    const people = [alice, robot, await inviteUser(world, 'eve')];
    const may = async ({ basic, subject }: Person) => {
      const pull = (await world.fetch('GET', '/v2/acme/api/tags/list', { authorization: basic })).status === 200;
      const push = (await world.fetch('POST', '/v2/acme/api/blobs/uploads/', { authorization: basic })).status === 202;
      return [subject, [...(pull ? ['pull'] : []), ...(push ? ['push'] : [])]] as const;
    };
    const plans = [
      [{ actions: ['pull'], principals: ['organization:acme', robot.subject] }],
      [
        { actions: 'push and pull', principals: ['user:eve', 'team:acme/dev'] },
        { effect: 'deny', actions: ['push'], principals: [alice.subject] },
      ],
      [{ actions: ['push'], principals: ['team:acme/dev', 'user:eve', robot.subject] }],
      [],
    ];
    for (const plan of plans) {
      const before = new Map(await Promise.all(people.map(may)));
      const { changes } = await dryRun(REPOSITORY, plan);
      await put(REPOSITORY, plan);
      const after = new Map(await Promise.all(people.map(may)));
      for (const { subject } of people) {
        const told = changes.find(({ principal }) => principal === subject);
        const of = (rights: Right[] = []) => rights.map(({ action }) => action).filter((action) => action !== 'retag');
        const [had, has] = [before.get(subject) ?? [], after.get(subject) ?? []];
        expect(of(told?.gains)).toEqual(has.filter((action) => !had.includes(action)));
        expect(of(told?.loses)).toEqual(had.filter((action) => !has.includes(action)));
      }
    }
  });

  test('does not reveal who belongs to other organizations, or who exists', async () => {
    const [mallory, bob, carol] = [
      await inviteUser(world, 'mallory'),
      await inviteUser(world, 'bob'),
      await inviteUser(world, 'carol'),
    ];
    await makeOrganization(world, 'beta', { members: [bob] });
    await makeTeam(world, 'beta', 'ops', [bob]);
    await makeOrganization(world, 'gamma', { members: [mallory, carol] });
    await make('mallory/x');
    const asked = (statements: object[]) => dryRun('/repositories/mallory/x/-/policy', statements, { as: mallory.basic });
    const there = ['organization:beta', 'team:beta/ops', 'user:bob', 'robot:acme/ci'];
    const absent = ['organization:none', 'team:none/ops', 'user:none', 'robot:none/ci'];
    const [open] = [{ actions: ['pull'], principals: there }];
    for (const principals of [there, absent]) {
      const { changes, truncated } = await asked([{ ...open, principals }]);
      expect(truncated).toBe(false);
      expect(changes).toEqual([...principals].sort().map((one) => change(one, [gains('pull')], [], 'mallory/x')));
    }
    // People that the caller knows are listed one by one.
    const { changes } = await asked([{ actions: ['pull'], principals: ['organization:gamma', 'user:carol'] }]);
    expect(changes).toEqual([change(carol.subject, [gains('pull')], [], 'mallory/x')]);
    // A statement that denies something to everybody adds no other principals to the list.
    const statements = [
      { actions: ['pull'], principals: ['*', ...there] },
      { effect: 'deny', actions: ['pull'], principals: ['*'] },
    ];
    await put('/repositories/mallory/x/-/policy', statements);
    const told = (await asked(statements.slice(0, 1))).changes.map(({ principal }) => principal);
    expect(told).toEqual([carol.subject, mallory.subject, '*', ...[...there].sort()]);
  });

  test('that would need too many comparisons says so', async () => {
    await world.env.DB.batch([
      world.env.DB.prepare(
        `WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 500)
         INSERT INTO accounts (subject, likeness, created_at) SELECT 'user:u' || n, 'u' || n, 0 FROM n`,
      ),
      world.env.DB.prepare(
        `WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 500)
         INSERT INTO members (user, organization, role) SELECT 'user:u' || n, 'acme', 'member' FROM n`,
      ),
      world.env.DB.prepare(
        `WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 150)
         INSERT INTO repositories (name, created_at) SELECT 'acme/r' || n, 0 FROM n`,
      ),
    ]);
    const wide = await dryRun(REPOSITORY, [{ actions: ['pull'], principals: ['organization:acme'] }]);
    expect(wide.truncated).toBe(true);
    expect(wide.changes).toHaveLength(400);
    expect((await dryRun(REPOSITORY, [{ effect: 'deny', actions: ['pull'], principals: ['*'] }])).truncated).toBe(true);
    const long = await dryRun(USER, [{ actions: ['pull'], repositories: ['acme/*'] }]);
    expect(long.truncated).toBe(true);
    expect(long.changes).toHaveLength(100);
    const { env, counts } = counting(world.env);
    await api(worldOf(env), 'PUT', `${REPOSITORY}?dryRun=true`, {
      body: { statements: [{ actions: ['pull'], principals: ['organization:acme'] }] },
    });
    expect(counts.d1).toBeLessThanOrEqual(6);
  });
});

describe('a pattern without a slash and without *', () => {
  const warning = (name: string) =>
    `${name} means the one repository of that name: for all repositories in ${name}/, write ${name}/*`;
  const warningsOf = async (answer: Promise<{ body: unknown }>) => ((await answer).body as { warnings?: string[] }).warnings;
  const pulling = (...repositories: string[]) => [{ actions: ['pull'], repositories }];

  test('is warned about if an organization or user has that name, or no repository has it', async () => {
    await makeAcme();
    await make('hello-world', 'acme');
    const sent = pulling('acme', 'acme/*', 'alice', 'nothing', 'hello-world');
    const expected = ['acme', 'alice', 'nothing'].map(warning);
    expect(await warningsOf(put(USER, sent))).toEqual(expected);
    expect(await warningsOf(get(USER))).toEqual(expected);
    expect(await warningsOf(api(world, 'PUT', `${USER}?dryRun=true`, { body: { statements: sent } }))).toEqual(expected);
    expect(await warningsOf(put(USER, pulling('hello-world')))).toBeUndefined();
  });

  test('is warned about in keys, and tells nobody which repositories and accounts of others exist', async () => {
    const { alice } = await makeAcme();
    await make('hello-world');
    await makeOrganization(world, 'beta');
    const statements = pulling('acme', 'alice', 'beta', 'hello-world', 'nothing');
    const made = api(world, 'POST', '/keys', { as: alice.bearer, body: { name: 'x', statements } });
    expect(await warningsOf(made)).toEqual(['acme', 'alice', 'beta', 'hello-world', 'nothing'].map(warning));
  });

  test('that a team or robot gets is refused with what was probably meant', async () => {
    await makeAcme();
    const { body } = await put(TEAM, pulling('acme'));
    expect(JSON.stringify(body)).toContain('for all repositories in acme/, write acme/*');
  });
});
