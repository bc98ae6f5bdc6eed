/** The work that a policy causes is limited for dry runs and for pushes of many tags. */
import { beforeEach, expect, test } from 'vitest';
import { pushImage, putManifest, textOf } from '../../world/images.ts';
import { makeOrganization, makeTeam } from '../../world/organizations.ts';
import { api, inviteUser, type Person, refused } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

let world: World;
let alice: Person;

const build = builtOnce(async (made) => {
  world = made;
  alice = await inviteUser(world, 'alice');
  await makeOrganization(world, 'acme', { members: [alice] });
  await makeTeam(world, 'acme', 'dev', [alice]);
  await api(world, 'PUT', '/repositories/acme/api');
});

beforeEach(async () => {
  world = await build();
});

/** Statements with as many of the most expensive patterns as fit in a policy. */
const heavy = (rest: object) =>
  Array.from({ length: 20 }, (_, n) => ({
    actions: ['push', 'retag'],
    ...rest,
    tags: Array.from({ length: 50 }, (__, m) => `*${n}*${m}*`),
  }));

const preview = (path: string, statements: object[], as?: string) =>
  api<{ changes: unknown[]; truncated: boolean; warnings?: string[] }>(world, 'PUT', `${path}/policy?dryRun=true`, {
    body: { statements },
    ...(as ? { as } : {}),
  });

test('a dry run whose statements need too many comparisons is refused with the limit', async () => {
  const answer = await preview('/repositories/acme/api/-', heavy({ principals: ['user:alice'] }));
  expect(refused(answer)).toBe('400 INVALID');
  expect(JSON.stringify(answer.body)).toMatch(/up to 400000 pattern comparisons.*Nothing was compared or changed/);
});

test('a dry run of many people and repositories stops at the limit of comparisons', async () => {
  const names = Array.from({ length: 30 }, (_, n) => `acme/r${n}`);
  await world.env.DB.batch(
    names.map((name) => world.env.DB.prepare('INSERT INTO repositories (name, created_at) VALUES (?1, 0)').bind(name)),
  );
  const statements = Array.from({ length: 10 }, (_, n) => ({
    actions: ['push'],
    repositories: ['acme/*'],
    tags: Array.from({ length: 20 }, (__, m) => `*${n}*${m}*`),
  }));
  const { status, body } = await preview('/organizations/acme/teams/dev', statements);
  expect(status, JSON.stringify(body)).toBe(200);
  expect(body.truncated).toBe(true);
  expect(body.changes.length).toBeGreaterThan(0);
  expect(body.changes.length).toBeLessThan(30);
});

test('a push of a hundred tags is refused with how many fit, and as many as fit are accepted', async () => {
  const pull = { actions: ['pull', 'push', 'retag'], principals: ['user:alice'] };
  const policy = { statements: [pull, ...heavy({ principals: ['user:alice'], effect: 'deny' })] };
  const saved = await api(world, 'PUT', '/repositories/acme/api/-/policy', { body: policy });
  expect(saved.status, JSON.stringify(saved.body)).toBe(200);
  const there = {
    ...world,
    fetch: ((method, path, init = {}) => world.fetch(method, path, { authorization: alice.basic, ...init })) as World['fetch'],
  };
  const image = await pushImage(world, 'acme/api', 'v');
  const put = (tags: number) => {
    const query = Array.from({ length: tags }, (_, n) => `tag=${'abcdefghij'[n % 10]}${'abcdefghij'[Math.floor(n / 10)]}`).join(
      '&',
    );
    return putManifest(there, 'acme/api', `${image.digest}?${query}`, textOf(image));
  };
  const refusal = await put(90);
  const text = await refusal.text();
  expect(refusal.status, text).toBe(400);
  const [, fitting] = /name up to (\d+) tags/.exec(text) ?? [];
  expect(Number(fitting)).toBeGreaterThan(0);
  expect((await put(Number(fitting))).status).toBe(201);
});

test('push without pull causes a warning for a policy, key or rule and in a dry run, and is saved anyway', async () => {
  const push = { actions: ['push'], repositories: ['acme/*'] };
  const both = { actions: ['push', 'pull'], repositories: ['acme/*'] };
  const warned = { warnings: [expect.stringContaining('docker needs both')] };
  await api(world, 'PUT', '/organizations/acme/robots/ci', { body: {} });
  const places: [string, object, object][] = [
    ['/users/alice/policy', push, both],
    ['/organizations/acme/teams/dev/policy', push, both],
    ['/organizations/acme/robots/ci/policy', push, both],
    [
      '/repositories/acme/api/-/policy',
      { actions: ['push'], principals: ['user:alice'] },
      { actions: ['push', 'pull'], principals: ['user:alice'] },
    ],
  ];
  for (const [path, without, complete] of places) {
    for (const query of ['?dryRun=true', '']) {
      const answer = await api(world, 'PUT', path + query, { body: { statements: [without] } });
      expect(answer, path).toMatchObject({ status: 200, body: warned });
      const good = await api(world, 'PUT', path + query, { body: { statements: [complete] } });
      expect(good.status).toBe(200);
      expect(good.body, path).not.toHaveProperty('warnings');
    }
  }
  const key = (statements: object[]) =>
    api<{ key: { id: string } }>(world, 'POST', '/keys', { body: { name: 'k', statements } });
  const made = await key([push]);
  expect(made).toMatchObject({ status: 201, body: warned });
  expect((await key([both])).body).not.toHaveProperty('warnings');
  const changed = await api(world, 'PATCH', `/keys/${made.body.key.id}`, { body: { name: 'other' } });
  expect(changed).toMatchObject({ status: 200, body: warned });
  const rule = (statement: object) =>
    api(world, 'PUT', '/organizations/acme/trust-rules/deploy', {
      body: { issuer: 'https://issuer.example', claims: { project: '42' }, statements: [statement] },
    });
  expect((await rule(push)).body).toMatchObject(warned);
  expect((await rule(both)).body).not.toHaveProperty('warnings');
});
