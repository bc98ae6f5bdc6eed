/** An explanation agrees with what really happens. Only a caller who may administer the repository gets it. */
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Content, imageIn, putManifest, textOf } from '../../world/images.ts';
import { makeOrganization, makeRobot, makeTeam } from '../../world/organizations.ts';
import { type ApiAnswer, api, basicOf, inviteUser, type Person, refused } from '../../world/people.ts';
import { type Issuer, newIssuer } from '../../world/token-issuer.ts';
import { builtOnce, newWorld, type World } from '../../world/world.ts';

interface Source {
  from: string;
  effect: string;
  actions: string[];
  repositories?: string[];
  principals?: string[];
  tags?: string[];
}

interface Explanation {
  allowed: boolean;
  reason: string;
  decidedBy: Source | null;
  matched: Source[];
  limitedBy: string | null;
  grantedBy: string[];
}

let world: World;
const REPOSITORY = 'acme/api';

interface Question {
  /** The principal to explain. By default, the caller. */
  principal?: string;
  action: string;
  repository?: string;
  tag?: string | null;
  claims?: Record<string, string>;
}

function ask(question: Question, as?: string | null): Promise<ApiAnswer<Explanation>> {
  const { principal, action, repository = REPOSITORY, tag, claims } = question;
  const query = new URLSearchParams({ action, repository });
  if (principal !== undefined) query.set('principal', principal);
  if (tag) query.set('tag', tag);
  if (claims) query.set('claims', JSON.stringify(claims));
  return api<Explanation>(world, 'GET', `/explain?${query}`, as === undefined ? {} : { as });
}

async function explained(question: Question, as?: string): Promise<Explanation> {
  const { status, body } = await ask(question, as);
  expect(status, JSON.stringify(body)).toBe(200);
  return body;
}

async function done(method: string, path: string, body: object, as?: string): Promise<Record<string, unknown>> {
  const answer = await api(world, method, path, { body, ...(as ? { as } : {}) });
  expect(answer.status, `${method} ${path}: ${JSON.stringify(answer.body)}`).toBeLessThan(300);
  return answer.body;
}

/** Creates a narrowed key of a user. @returns the principal of the key, and its credentials */
async function narrowed(person: Person, statements: object[]): Promise<{ principal: string; basic: string }> {
  const { key, secret } = (await done('POST', '/keys', { name: 'narrowed', statements }, person.basic)) as {
    key: { id: string };
    secret: string;
  };
  return { principal: `key:${key.id}`, basic: basicOf(person.name, secret) };
}

describe('an explanation agrees with what really happens', () => {
  const CLAIMS = { project: '42', ref: 'refs/heads/main', environment: 'production' };
  const TAGS = ['v1', 'latest', 'tmp-1', 'release-9', null];
  const ACTIONS = ['pull', 'push', 'retag', 'delete', 'admin', 'create'];

  let subjects: { principal: string; basic: string | null; claims?: Record<string, string> }[];
  let first: Content;
  let second: Content;
  let loose: Content;
  let issuer: Issuer;

  beforeAll(async () => {
    world = await newWorld();
    const names = ['tina', 'paul', 'petra', 'anton', 'oskar', 'olga', 'rita', 'doris', 'cleo', 'dora', 'emil', 'zoe'];
    const people = new Map<string, Person>();
    for (const name of names) people.set(name, await inviteUser(world, name));
    const person = (name: string) => people.get(name) as Person;
    await makeOrganization(world, 'acme', {
      owners: [person('oskar')],
      members: ['tina', 'paul', 'petra', 'dora', 'zoe'].map(person),
    });
    await makeTeam(world, 'acme', 'readers', [person('paul')], [{ actions: 'pull only', repositories: ['acme/*'] }]);
    await makeTeam(
      world,
      'acme',
      'writers',
      [person('petra'), person('dora'), person('zoe')],
      [
        { actions: 'push and pull', repositories: ['acme/*'] },
        { effect: 'deny', actions: ['retag', 'delete'], repositories: ['acme/*'], tags: ['release-*'] },
      ],
    );
    const robot = await makeRobot(world, 'acme', 'ci', [
      { actions: ['pull'], repositories: ['acme/api'] },
      { actions: ['push', 'retag'], repositories: ['acme/*'], tags: ['v*', 'latest'] },
    ]);
    await done('PUT', `/repositories/${REPOSITORY}`, { visibility: 'public' });
    await done('PUT', `/repositories/${REPOSITORY}/-/policy`, {
      statements: [
        { actions: 'pull only', principals: ['*'] },
        { actions: 'all actions', principals: [person('anton').subject] },
        { actions: ['push'], principals: [person('tina').subject], tags: ['v*'] },
        { actions: ['delete'], principals: [person('tina').subject], tags: ['tmp-*'] },
        { effect: 'deny', actions: ['push', 'pull'], principals: [person('dora').subject] },
        { effect: 'deny', actions: ['admin', 'delete'], principals: [person('oskar').subject] },
        { actions: ['push', 'retag'], principals: [person('emil').subject] },
      ],
    });
    const give = (name: string, statements: object[]) => done('PUT', `/users/${name}/policy`, { statements });
    await give('rita', [
      { actions: ['pull', 'push', 'retag'], repositories: ['*'] },
      { effect: 'deny', actions: ['push'], repositories: ['*'], tags: ['*'] },
    ]);
    await give('doris', [{ actions: ['delete'], repositories: ['acme/a*'] }]);
    await give('cleo', [{ actions: ['create'], repositories: ['*'] }]);
    await give('zoe', [{ effect: 'deny', actions: ['push', 'retag'], repositories: ['*'], tags: ['latest'] }]);
    await done('PATCH', '/users/emil', { disabled: true });

    issuer = await newIssuer();
    vi.spyOn(globalThis, 'fetch').mockImplementation(issuer.world().fetch);
    await done('PUT', '/organizations/acme/trust-rules/deploy', {
      issuer: issuer.url,
      claims: { project: '42' },
      statements: [
        { actions: ['push'], repositories: ['acme/*'], tags: ['{ref_name}', 'v*'] },
        { actions: ['retag'], repositories: ['acme/*'], tags: ['latest'], when: { environment: 'production' } },
      ],
    });
    const now = Math.floor(Date.now() / 1000);
    const job = async (claims: Record<string, string>) => {
      const token = await issuer.sign({ sub: 'job', ...claims, iat: now, nbf: now, exp: now + 600 });
      return { principal: 'ci:acme/deploy', claims: { sub: 'job', ...claims }, basic: `Basic ${btoa(`ci:${token}`)}` };
    };
    subjects = [
      ...names.map((name) => ({ principal: `user:${name}`, basic: person(name).basic })),
      { principal: 'user:admin', basic: `Basic ${btoa('admin:the-password-of-the-tests')}` },
      { principal: '*', basic: null },
      { principal: robot.subject, basic: robot.basic },
      await narrowed(person('petra'), [{ actions: ['pull'], repositories: ['*'] }]),
      await narrowed(person('petra'), [{ actions: 'all actions', repositories: ['acme/web'] }]),
      await narrowed(person('oskar'), [
        { actions: ['push', 'retag'], repositories: ['acme/*'], tags: ['v*'] },
        { actions: ['admin', 'create'], repositories: ['acme/*'] },
      ]),
      await narrowed(person('olga'), [{ actions: 'all actions', repositories: ['*'] }]),
      { principal: `key:${person('petra').keyId}`, basic: person('petra').basic },
      await job(CLAIMS),
      await job({ project: '42', ref: 'refs/heads/latest' }),
    ];
    [first, second, loose] = [
      await imageIn(world, REPOSITORY, 1),
      await imageIn(world, REPOSITORY, 2),
      await imageIn(world, REPOSITORY, 3),
    ];
  });

  afterAll(() => {
    vi.restoreAllMocks();
  });

  const at = (reference: string) => `/v2/${REPOSITORY}/manifests/${reference}`;
  const put = (image: Content, reference: string) => putManifest(world, REPOSITORY, reference, textOf(image));
  let counter = 0;

  /** Sends the request that needs this right. @returns true if it was allowed */
  async function happens(authorization: string | null, action: string, tag: string | null): Promise<boolean> {
    const send = (method: string, path: string, body: string | null = null) =>
      world.fetch(method, path, {
        authorization,
        body,
        headers: body === null ? {} : { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
      });
    switch (action) {
      case 'pull': {
        if (tag) await put(first, tag);
        // An anonymous caller pulls with a token, as docker gets one.
        const bearer = authorization ?? `Bearer ${await anonymousToken()}`;
        return (
          (await world.fetch('GET', tag ? at(tag) : `/v2/${REPOSITORY}/tags/list`, { authorization: bearer })).status === 200
        );
      }
      case 'push': {
        if (!tag) return (await send('POST', `/v2/${REPOSITORY}/blobs/uploads/`)).status === 202;
        await world.fetch('DELETE', at(tag));
        return (await send('PUT', at(tag), textOf(first))).status === 201;
      }
      case 'retag':
        await put(second, tag ?? 'none');
        return (await send('PUT', at(tag ?? 'none'), textOf(first))).status === 201;
      case 'delete':
        await put(loose, tag ?? loose.digest);
        return (await send('DELETE', at(tag ?? loose.digest))).status === 202;
      case 'admin':
        return (await send('GET', `/api/v1/repositories/${REPOSITORY}/-/policy`)).status === 200;
      default: {
        const { status } = await send('PUT', `/api/v1/repositories/acme/new-${++counter}`);
        return status === 201;
      }
    }
  }

  async function anonymousToken(): Promise<string> {
    const response = await world.fetch('GET', `/token?scope=repository:${REPOSITORY}:pull,push,delete`, {
      authorization: null,
    });
    return ((await response.json()) as { token: string }).token;
  }

  test.each(ACTIONS)('for %s, whoever asks and whatever the tag', { tags: 'slow' }, async (action) => {
    const [said, happened]: [string[], string[]] = [[], []];
    for (const { principal, basic, claims } of subjects) {
      for (const tag of action === 'admin' || action === 'create' ? [null] : TAGS) {
        // A request without a tag moves no tag.
        if (action === 'retag' && tag === null) continue;
        const repository = action === 'create' ? 'acme/new' : REPOSITORY;
        const { allowed } = await explained({ principal, action, repository, tag, ...(claims ? { claims } : {}) });
        const label = `${principal} ${JSON.stringify(claims ?? {})} ${action} ${tag}`;
        said.push(`${label}: ${allowed}`);
        happened.push(`${label}: ${await happens(basic, action, tag)}`);
      }
    }
    expect(said).toEqual(happened);
    expect(said.some((line) => line.endsWith('true')) && said.some((line) => line.endsWith('false'))).toBe(true);
  });
});

describe('an explanation names what decided', () => {
  let alice: Person;
  let owner: Person;

  const build = builtOnce(async (made) => {
    world = made;
    alice = await inviteUser(world, 'alice');
    owner = await inviteUser(world, 'owen');
    await makeOrganization(world, 'acme', { owners: [owner], members: [alice] });
    await makeTeam(world, 'acme', 'dev', [alice], [{ actions: 'pull only', repositories: ['acme/*'] }]);
    await done('PUT', `/repositories/${REPOSITORY}`, {});
  });

  beforeEach(async () => {
    world = await build();
  });

  const policy = (statements: object[]) => done('PUT', `/repositories/${REPOSITORY}/-/policy`, { statements });
  const TEAM = { from: 'team:acme/dev', effect: 'allow', actions: ['pull'], repositories: ['acme/*'] };

  test('if a statement allows', async () => {
    expect(await explained({ principal: alice.subject, action: 'pull' })).toEqual({
      allowed: true,
      reason: 'allowed by team:acme/dev',
      decidedBy: TEAM,
      matched: [TEAM],
      limitedBy: null,
      grantedBy: [],
    });
  });

  test('if a statement denies, with what would have allowed it', async () => {
    await policy([{ effect: 'deny', actions: ['pull'], principals: ['organization:acme'] }]);
    const { allowed, reason, decidedBy, matched } = await explained({ principal: alice.subject, action: 'pull' });
    expect([allowed, reason]).toEqual([false, 'denied by repository:acme/api: a statement that denies wins']);
    expect(decidedBy).toMatchObject({ from: 'repository:acme/api', effect: 'deny', principals: ['organization:acme'] });
    expect(matched.map(({ from, effect }) => `${from} ${effect}`).sort()).toEqual([
      'repository:acme/api deny',
      'team:acme/dev allow',
    ]);
  });

  test('if no statement applies, with those who could grant it', async () => {
    expect(await explained({ principal: alice.subject, action: 'push' })).toEqual({
      allowed: false,
      reason: 'nothing allows it: the right to push is missing',
      decidedBy: null,
      matched: [],
      limitedBy: null,
      grantedBy: ['user:admin', 'user:owen'],
    });
  });

  test('if a role decides, even against a statement that denies', async () => {
    expect(await explained({ principal: owner.subject, action: 'delete' })).toMatchObject({
      allowed: true,
      reason: 'allowed by owner of acme',
      decidedBy: { from: 'owner of acme', effect: 'allow', repositories: ['acme/*'] },
    });
    await policy([{ effect: 'deny', actions: ['admin', 'delete'], principals: ['*'] }]);
    expect(await explained({ principal: owner.subject, action: 'delete' })).toMatchObject({ allowed: false });
    expect(await explained({ principal: owner.subject, action: 'admin' })).toMatchObject({
      allowed: true,
      decidedBy: { from: 'owner of acme' },
    });
    expect(await explained({ principal: 'user:admin', action: 'pull' })).toMatchObject({
      decidedBy: { from: 'administrator' },
    });
    await done('PUT', '/repositories/alice/own', {}, alice.basic);
    expect(await explained({ principal: alice.subject, action: 'push', repository: 'alice/own' })).toMatchObject({
      decidedBy: { from: 'namespace of user:alice' },
    });
  });

  test('if a key is narrowed, with what its owner could do', async () => {
    const key = await narrowed(alice, [{ actions: ['push'], repositories: ['*'] }]);
    expect(await explained({ principal: key.principal, action: 'pull' })).toMatchObject({
      allowed: false,
      limitedBy: key.principal,
      reason: `its owner may, but ${key.principal} is narrowed and does not allow it`,
      decidedBy: TEAM,
      grantedBy: ['user:admin', 'user:owen'],
    });
    // The owner of the key may not push either, so the key is not the reason.
    expect(await explained({ principal: key.principal, action: 'push' })).toMatchObject({
      allowed: false,
      limitedBy: null,
      reason: 'nothing allows it: the right to push is missing',
    });
    expect(await explained({ principal: `key:${alice.keyId}`, action: 'pull' })).toMatchObject({
      allowed: true,
      limitedBy: null,
    });
  });

  test('if a key has expired, a user is disabled, or nobody has the name', async () => {
    const key = await narrowed(alice, [{ actions: ['pull'], repositories: ['*'] }]);
    expect((await explained({ principal: key.principal, action: 'pull' })).allowed).toBe(true);
    await api(world, 'DELETE', `/keys/${key.principal.slice('key:'.length)}`, { as: alice.basic });
    await done('PATCH', '/users/alice', { disabled: true });
    for (const principal of [
      key.principal,
      'key:BRTHAAAAAAAAAAAAAAAA',
      'key:',
      alice.subject,
      'user:nobody',
      'robot:acme/none',
      'ci:acme/none',
    ]) {
      expect(await explained({ principal, action: 'pull' }), principal).toMatchObject({
        allowed: false,
        reason: `${principal} does not exist, or has ended`,
        decidedBy: null,
        matched: [],
      });
    }
  });

  test('if everybody in a team or an organization may', async () => {
    await policy([{ actions: ['push'], principals: ['organization:acme'] }]);
    expect(await explained({ principal: 'team:acme/dev', action: 'pull' })).toMatchObject({ allowed: true, decidedBy: TEAM });
    expect(await explained({ principal: 'organization:acme', action: 'push' })).toMatchObject({
      allowed: true,
      decidedBy: { from: 'repository:acme/api' },
    });
    expect((await explained({ principal: 'organization:acme', action: 'pull' })).allowed).toBe(false);
    expect((await explained({ principal: 'team:acme/none', action: 'pull' })).allowed).toBe(false);
  });

  test('if members of a team have it from the organization, to which they all belong', async () => {
    await policy([{ actions: ['push'], principals: ['organization:acme'] }]);
    expect((await explained({ principal: 'team:acme/dev', action: 'push' })).allowed).toBe(true);
  });

  test('if a user may retag but not push, which moving a tag is', async () => {
    await policy([{ actions: ['retag'], principals: [alice.subject] }]);
    expect(await explained({ principal: alice.subject, action: 'retag', tag: 'v1' })).toMatchObject({
      allowed: false,
      reason: 'moving a tag takes the right to push too: nothing allows it: the right to push is missing',
      grantedBy: ['user:admin', 'user:owen'],
    });
  });

  test('if anonymous callers may', async () => {
    expect((await explained({ principal: '*', action: 'pull' })).allowed).toBe(false);
    await done('PATCH', `/repositories/${REPOSITORY}`, { visibility: 'public' });
    expect(await explained({ principal: '*', action: 'pull' })).toMatchObject({
      allowed: true,
      decidedBy: { from: 'repository:acme/api', principals: ['*'], actions: ['pull'] },
    });
    expect((await explained({ principal: '*', action: 'push' })).allowed).toBe(false);
  });

  test('if a trust rule admits a job whose claims match', async () => {
    await done('PUT', '/organizations/acme/trust-rules/deploy', {
      issuer: 'https://issuer.example',
      claims: { project: '42', environment: 'prod*' },
      statements: [{ actions: ['push'], repositories: ['acme/*'], tags: ['{ref_name}'] }],
    });
    const question = { principal: 'ci:acme/deploy', action: 'push', tag: 'main' };
    const claims = { project: '42', environment: 'production', ref: 'refs/heads/main' };
    expect(await explained({ ...question, claims })).toMatchObject({
      allowed: true,
      decidedBy: { from: 'ci:acme/deploy', tags: ['main'] },
    });
    expect((await explained({ ...question, tag: 'v1', claims })).allowed).toBe(false);
    expect((await explained({ ...question, claims: { ...claims, project: '43' } })).allowed).toBe(false);
    expect((await explained({ ...question, claims: { ...claims, environment: 'test' } })).allowed).toBe(false);
    expect((await explained(question)).allowed).toBe(false);
  });

  test('for the tag that is asked for', async () => {
    await policy([{ actions: ['push', 'delete'], principals: [alice.subject], tags: ['v*'] }]);
    const push = (tag: string | null) => explained({ principal: alice.subject, action: 'push', tag });
    expect((await push('v1')).decidedBy).toMatchObject({ tags: ['v*'] });
    expect((await push('latest')).allowed).toBe(false);
    // A push of blobs names no tag, so the right for some tags is enough. It is not enough for a deletion by digest.
    expect((await push(null)).allowed).toBe(true);
    expect((await explained({ principal: alice.subject, action: 'delete' })).allowed).toBe(false);
  });

  test('and those who could grant what is missing: administrators, owners, and whoever may administer it', async () => {
    const [second, gone] = [await inviteUser(world, 'second', { administrator: true }), await inviteUser(world, 'gone')];
    await done('PUT', '/organizations/acme/members/gone', { role: 'owner' });
    await done('PATCH', '/users/gone', { disabled: true });
    await makeTeam(world, 'acme', 'leads', [alice], [{ actions: ['admin'], repositories: ['acme/a*'] }]);
    await makeTeam(world, 'acme', 'others', [alice], [{ actions: ['admin'], repositories: ['acme/b*'] }]);
    await policy([
      { actions: ['admin'], principals: ['user:bob', 'team:beta/ops'] },
      { actions: ['pull'], principals: ['user:carol'] },
    ]);
    const { grantedBy } = await explained({ principal: 'user:bob', action: 'push' });
    expect(grantedBy).toEqual(['team:acme/leads', 'team:beta/ops', 'user:admin', 'user:bob', 'user:owen', second.subject]);
    expect(grantedBy).not.toContain(gone.subject);
    const own = await explained({ principal: 'user:nobody', action: 'pull', repository: 'alice/own' });
    expect(own.grantedBy).toEqual(['user:admin', 'user:alice', 'user:second']);
    const ofTheRegistry = await explained({ principal: alice.subject, action: 'pull', repository: 'myfirstapp' });
    expect(ofTheRegistry.grantedBy).toEqual(['user:admin', 'user:second']);
  });
});

describe('an explanation about somebody else is for callers who may administer the repository', () => {
  let alice: Person;
  let owner: Person;
  let bob: Person;

  const build = builtOnce(async (made) => {
    world = made;
    [alice, owner, bob] = [await inviteUser(world, 'alice'), await inviteUser(world, 'owen'), await inviteUser(world, 'bob')];
    await makeOrganization(world, 'acme', { owners: [owner], members: [alice] });
    await makeTeam(world, 'acme', 'dev', [alice], [{ actions: 'push and pull', repositories: ['acme/*'] }]);
    await done('PUT', `/repositories/${REPOSITORY}`, {});
  });

  beforeEach(async () => {
    world = await build();
  });

  const question = { principal: 'user:owen', action: 'pull' };

  test('and is refused otherwise: 401 to anonymous callers, 403 to those who may pull, 404 to others', async () => {
    expect(refused(await ask(question, null))).toBe('401 UNAUTHORIZED');
    expect(refused(await ask(question, alice.basic))).toBe('403 DENIED');
    const seen = ({ status, body, headers }: ApiAnswer<unknown>) => ({ status, body, headers: [...headers].sort() });
    for (const as of [bob.basic, null]) {
      const there = await ask(question, as);
      expect(seen(there)).toEqual(seen(await ask({ ...question, repository: 'acme/absent' }, as)));
      expect(seen(there)).toEqual(seen(await ask({ ...question, principal: 'user:nobody' }, as)));
    }
    expect(refused(await ask(question, bob.basic))).toBe('404 NOT_FOUND');
    expect((await ask(question, owner.basic)).status).toBe(200);
  });

  test('about oneself it needs no right, and names nobody by default', async () => {
    for (const principal of [undefined, alice.subject, `key:${alice.keyId}`]) {
      const about = { action: 'push', ...(principal ? { principal } : {}) };
      expect(await explained(about, alice.basic)).toMatchObject({ allowed: true, decidedBy: { from: 'team:acme/dev' } });
    }
    const missing = await explained({ action: 'delete' }, alice.basic);
    expect(missing).toMatchObject({ allowed: false, reason: 'nothing allows it: the right to delete is missing' });
    expect(missing.grantedBy).toContain(owner.subject);
    expect(refused(await ask({ action: 'pull' }, null))).toBe('401 UNAUTHORIZED');
  });

  test('about oneself it says what a narrowed key lacks', async () => {
    const narrow = await narrowed(alice, [{ actions: ['pull'], repositories: ['acme/*'] }]);
    expect(await explained({ action: 'push' }, narrow.basic)).toMatchObject({ allowed: false, limitedBy: narrow.principal });
    expect(await explained({ action: 'pull' }, narrow.basic)).toMatchObject({ allowed: true, limitedBy: null });
    expect(refused(await ask({ principal: alice.subject, action: 'push' }, narrow.basic))).toBe('403 DENIED');
  });

  test('about oneself it tells nobody whether a repository exists', async () => {
    const statements = [
      { effect: 'deny', actions: 'all actions', principals: [bob.subject] },
      { actions: ['admin', 'pull'], principals: [alice.subject] },
    ];
    await done('PUT', `/repositories/${REPOSITORY}/-/policy`, { statements });
    for (const action of ['pull', 'push', 'retag', 'delete', 'admin', 'create']) {
      const there = await explained({ action }, bob.basic);
      expect(there).toEqual(await explained({ action, repository: 'acme/absent' }, bob.basic));
      expect(there).toMatchObject({ allowed: false, decidedBy: null, matched: [] });
      expect(there.grantedBy).toEqual(['administrator', 'owner of acme']);
    }
  });

  test('with a key that reaches that far', async () => {
    const narrow = await narrowed(owner, [{ actions: ['pull', 'push'], repositories: ['acme/*'] }]);
    expect(refused(await ask(question, narrow.basic))).toBe('403 DENIED');
    const elsewhere = await narrowed(owner, [{ actions: ['admin'], repositories: ['acme/web'] }]);
    expect(refused(await ask(question, elsewhere.basic))).toBe('404 NOT_FOUND');
    const enough = await narrowed(owner, [{ actions: ['admin'], repositories: ['acme/api'] }]);
    expect((await ask(question, enough.basic)).status).toBe(200);
  });

  test('and names no other repository, of the same statement or of another', async () => {
    const statements = [
      { actions: ['pull'], repositories: ['beta/secret', 'acme/api', 'gamma/*'] },
      { actions: ['pull'], repositories: ['*/api'] },
      { actions: ['pull'], repositories: ['delta/hidden'] },
      { effect: 'deny', actions: ['push'], repositories: ['epsilon/*', 'acme/*'] },
    ];
    await done('PUT', '/users/alice/policy', { statements });
    const answers = await Promise.all(
      ['pull', 'push', 'delete'].map((action) => explained({ principal: alice.subject, action }, owner.basic)),
    );
    expect(JSON.stringify(answers)).not.toMatch(/beta|gamma|delta|epsilon/);
    expect(answers[0]?.matched.map(({ repositories }) => repositories)).toEqual(
      expect.arrayContaining([['acme/api'], ['*/api'], ['acme/*']]),
    );
    expect(answers[1]?.decidedBy).toMatchObject({ effect: 'deny', repositories: ['acme/*'] });
  });

  test.each<[string, Record<string, string>]>([
    ['nobody', { principal: 'alice' }],
    ['an empty principal', { principal: '' }],
    ['a repository as a principal', { principal: 'repository:acme/api' }],
    ['SQL', { principal: "user:x' OR 1=1" }],
    ['an unknown action', { action: 'sudo' }],
    ['a name outside the grammar', { repository: 'acme/../api' }],
    ['upper case', { repository: 'ACME/api' }],
    ['what is no tag', { tag: '-x' }],
    ['claims that are no JSON', { claims: '{' }],
    ['claims that are a list', { claims: '[]' }],
    ['claims with something else than text', { claims: '{"a":{"b":1}}' }],
    ['a field nobody knows', { because: 'x' }],
  ])('and a question about %s is a 400', async (_, change) => {
    const query = new URLSearchParams({ ...question, repository: REPOSITORY, ...change });
    expect(refused(await api(world, 'GET', `/explain?${query}`, { as: owner.basic }))).toBe('400 INVALID');
  });
});

describe('an explanation reveals no more about people than the caller may know', () => {
  let mallory: Person;
  let owner: Person;
  let member: Person;
  let bob: Person;
  const OWN = 'mallory/app';

  const build = builtOnce(async (made) => {
    world = made;
    [mallory, owner, member, bob] = [
      await inviteUser(world, 'mallory'),
      await inviteUser(world, 'owen'),
      await inviteUser(world, 'mia'),
      await inviteUser(world, 'bob'),
    ];
    await makeOrganization(world, 'acme', { owners: [owner], members: [member, bob] });
    await makeOrganization(world, 'beta', { members: [bob] });
    await makeTeam(world, 'acme', 'dev', [bob], [{ actions: 'pull only', repositories: ['acme/*'] }]);
    await makeTeam(world, 'beta', 'ops', [bob]);
    await makeRobot(world, 'acme', 'ci');
    await done('PUT', `/repositories/${REPOSITORY}`, {});
    await done('PUT', `/repositories/${OWN}`, {}, mallory.basic);
  });

  beforeEach(async () => {
    world = await build();
  });

  /** The whole answer, without the name of the principal. */
  async function answerAbout(principal: string, repository: string, as: string): Promise<string> {
    const { status, body } = await ask({ principal, action: 'pull', repository }, as);
    expect(status, JSON.stringify(body)).toBe(200);
    return JSON.stringify(body).replaceAll(principal, '<principal>');
  }

  const named = (...principals: string[]) =>
    done('PUT', `/repositories/${OWN}/-/policy`, { statements: [{ actions: ['pull'], principals }] }, mallory.basic);

  test.each([
    ['user:bob', 'user:nobody'],
    ['user:admin', 'user:nobody'],
    ['robot:acme/ci', 'robot:acme/none'],
    ['robot:acme/ci', 'robot:none/ci'],
    ['team:acme/dev', 'team:acme/none'],
    ['organization:acme', 'organization:none'],
    ['ci:acme/deploy', 'ci:none/deploy'],
  ])('%s looks like %s to somebody who has nothing to do with either', async (there, absent) => {
    await done('PUT', '/organizations/acme/trust-rules/deploy', {
      issuer: 'https://issuer.example',
      claims: { project: '42' },
      statements: [{ actions: ['pull'], repositories: ['acme/*'] }],
    });
    expect(await answerAbout(there, OWN, mallory.basic)).toBe(await answerAbout(absent, OWN, mallory.basic));
    if (there.startsWith('ci:')) return;
    const namedAlone = async (principal: string) => {
      await named(principal);
      return answerAbout(principal, OWN, mallory.basic);
    };
    const answer = await namedAlone(there);
    expect(answer).toContain('"allowed":true');
    expect(answer).toBe(await namedAlone(absent));
  });

  test('naming a team or an organization does not reveal its members', async () => {
    await named('team:acme/dev', 'organization:beta');
    expect(await answerAbout('user:bob', OWN, mallory.basic)).toBe(await answerAbout('user:nobody', OWN, mallory.basic));
    expect(await answerAbout('user:bob', OWN, mallory.basic)).toContain('"allowed":false');
    // An owner gets answers about members of the organization, but not about their memberships in other organizations.
    await done('PUT', `/repositories/${REPOSITORY}/-/policy`, {
      statements: [{ actions: ['push'], principals: ['team:beta/ops'] }],
    });
    const asked = (action: string, as: string) => ask({ principal: bob.subject, action, repository: REPOSITORY }, as);
    expect((await asked('pull', owner.basic)).body).toMatchObject({ allowed: true, decidedBy: { from: 'team:acme/dev' } });
    expect((await asked('push', owner.basic)).body).toMatchObject({ allowed: false, partial: true });
    expect((await ask({ principal: bob.subject, action: 'push', repository: REPOSITORY })).body).toMatchObject({
      allowed: true,
    });
  });

  test("a member who administers a repository sees memberships of the same organization, and nobody's own policy", async () => {
    const statements = [{ actions: 'all actions', principals: [member.subject] }];
    const pull = { actions: ['pull'], principals: ['team:acme/dev'] };
    await done('PUT', `/repositories/${REPOSITORY}/-/policy`, { statements: [...statements, pull] });
    await done('PUT', '/users/bob/policy', { statements: [{ actions: ['push'], repositories: [REPOSITORY] }] });
    const asked = (action: string) => ask({ principal: bob.subject, action, repository: REPOSITORY }, member.basic);
    expect((await asked('pull')).body).toMatchObject({ allowed: true, partial: true });
    expect((await asked('push')).body).toMatchObject({ allowed: false, partial: true });
  });

  test('those who could grant something are named to callers who may know them', async () => {
    const asked = async (as: string, repository: string) =>
      ((await ask({ principal: 'user:nobody', action: 'push', repository }, as)).body as { grantedBy: string[] }).grantedBy;
    expect(await asked(mallory.basic, OWN)).toEqual(['administrator', 'owner of mallory', 'user:mallory']);
    expect(await asked(owner.basic, REPOSITORY)).toEqual(['administrator', 'user:owen']);
    const statements = [{ actions: ['admin', 'pull'], principals: [mallory.subject] }];
    await done('PUT', `/repositories/${REPOSITORY}/-/policy`, { statements });
    expect(await asked(mallory.basic, REPOSITORY)).toEqual(['administrator', 'owner of acme', 'user:mallory']);
  });

  test('everybody is told everything about themselves', async () => {
    const { body } = await ask({ principal: mallory.subject, action: 'delete', repository: OWN }, mallory.basic);
    expect(body).toMatchObject({ allowed: true, decidedBy: { from: 'namespace of user:mallory' } });
    expect(body).not.toHaveProperty('partial');
  });
});
