/** Lists of repositories need not read policies: for each principal that a policy names, a row says whether it may pull. */
import { beforeEach, expect, test } from 'vitest';
import migration from '../../migrations/0003-rights.sql?raw';
import { anonymous } from '../../src/auth/authority.ts';
import { NOTHING_LOADED } from '../../src/auth/loaded-rights.ts';
import { COMPARISONS_MAX } from '../../src/auth/policy.ts';
import type { Sourced } from '../../src/auth/statement.ts';
import { judgeOf, publicAmong, pullsSaid, reachOf } from '../../src/auth/visibility.ts';
import { api, inviteUser, type Person } from '../world/people.ts';
import { newWorld, type World } from '../world/world.ts';

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

const POLICY = [
  { actions: ['pull', 'push'], principals: ['user:alice', 'team:acme/dev'] },
  { actions: ['push'], principals: ['user:bob'], tags: ['pull'] },
  { effect: 'deny', actions: ['pull'], principals: ['user:alice', 'user:carol'] },
  { actions: ['pull'], principals: ['*'] },
];
const SAID = { 'user:alice': 3, 'team:acme/dev': 1, 'user:bob': 0, 'user:carol': 2, '*': 1 };

async function save(name: string, statements: object[] = POLICY): Promise<void> {
  await api(world, 'PUT', `/repositories/${name}`);
  expect((await api(world, 'PUT', `/repositories/${name}/-/policy`, { body: { statements } })).status).toBe(200);
}

async function rows(): Promise<Record<string, number | null>> {
  const { results } = await world.env.DB.prepare('SELECT principal, pull FROM policy_principals').all<{
    principal: string;
    pull: number | null;
  }>();
  return Object.fromEntries(results.map(({ principal, pull }) => [principal, pull]));
}

test('a policy that was saved, restored, or written before the upgrade has the same summary', async () => {
  // Statements about a principal that does not exist have no row.
  const insert = 'INSERT INTO accounts (subject, created_at) SELECT value, 0 FROM json_each(?1)';
  const users = ['user:alice', 'user:bob', 'user:carol'];
  await world.env.DB.prepare(insert).bind(JSON.stringify(users)).run();
  await world.env.DB.prepare("INSERT INTO teams (subject, created_at) VALUES ('team:acme/dev', 0)").run();
  await save('acme/api');
  expect(await rows()).toEqual(SAID);
  await api(world, 'DELETE', '/repositories/acme/api');
  const { body } = await api<{ items: { entry: string }[] }>(world, 'GET', '/trash');
  expect((await api(world, 'POST', `/trash/${body.items[0]?.entry}/restore`)).status).toBe(200);
  expect(await rows()).toEqual(SAID);
  await world.env.DB.prepare('UPDATE policy_principals SET pull = NULL').run();
  const [, fill = ''] = migration.split(';');
  await world.env.DB.prepare(fill).run();
  expect(await rows()).toEqual(SAID);
});

test('a row of an earlier version gives the same answer, because the policy itself is read', async () => {
  await save('acme/api');
  await save('acme/one', [{ effect: 'deny', actions: ['pull'], principals: ['user:alice'] }]);
  const names = ['acme/api', 'acme/one', 'acme/none'];
  const ask = () =>
    Promise.all([
      ...Object.keys(SAID).map((principal) => pullsSaid(world.env, { principals: [principal], subject: '' }, names)),
      pullsSaid(world.env, { principals: Object.keys(SAID), subject: '' }, names),
      publicAmong(world.env, names),
    ]);
  const written = await ask();
  await world.env.DB.prepare('UPDATE policy_principals SET pull = NULL').run();
  expect(await ask()).toEqual(written);
  expect(written.at(-1)).toEqual(new Set(['acme/api']));
});

test('a list reads no policy, however large policies are', async () => {
  const principals = Array.from({ length: 49 }, (_, n) => `user:${'x'.repeat(50)}-${n}`);
  for (let n = 0; n < 5; n++) await save(`acme/large-${n}`, [{ actions: ['pull'], principals: [...principals, '*'] }]);
  const seen: string[] = [];
  const prepare = world.env.DB.prepare.bind(world.env.DB);
  const noted = (sql: string) => {
    seen.push(sql);
    return prepare(sql);
  };
  const env = {
    ...world.env,
    DB: Object.assign(Object.create(world.env.DB), { prepare: noted }),
  };
  const said = await publicAmong(
    env,
    Array.from({ length: 5 }, (_, n) => `acme/large-${n}`),
  );
  expect(said.size).toBe(5);
  // The statements of a policy are read only for rows of an earlier version of Berth.
  expect(seen.join()).not.toMatch(/SELECT [^(]*statements/);
});

const own = (effect: 'allow' | 'deny', repositories: string[]): Sourced => ({
  from: 'user:alice',
  statement: { effect, actions: ['pull'], repositories },
});
const asker = (statements: Sourced[]) => ({ ...anonymous(NOTHING_LOADED), subject: 'user:alice', statements });

test('evaluating many repositories is bounded, and at least one is evaluated', () => {
  const heavy = Array.from({ length: 250 }, (_, n) =>
    own(
      'allow',
      Array.from({ length: 50 }, (__, m) => `*${n}*${m}*x`),
    ),
  );
  const judge = judgeOf(asker(heavy), 'pull');
  const answers = Array.from({ length: 1000 }, () => judge('acme/api'));
  const judged = answers.filter((answer) => answer !== null).length;
  expect(judged).toBeGreaterThan(0);
  expect(judged * 250 * 50 * 4).toBeLessThanOrEqual(COMPARISONS_MAX);
});

test("the evaluation agrees with the engine, over statements and the policy's summary", () => {
  const judge = judgeOf(asker([own('allow', ['acme/*']), own('deny', ['acme/x*'])]), 'pull');
  const nothing = { allows: false, denies: false, isPublic: false };
  expect(judge('acme/api')).toBe(true);
  expect(judge('acme/xy', { ...nothing, allows: true })).toBe(false);
  expect(judge('other/api')).toBe(false);
  expect(judge('other/api', { ...nothing, allows: true })).toBe(true);
  expect(judge('acme/api', { ...nothing, denies: true })).toBe(false);
});

test('many prefixes are searched by their common parts, in time linear in their number', () => {
  const many = Array.from({ length: 20_000 }, (_, n) => `acme/${n}-*`);
  expect(reachOf(many).prefixes).toEqual(['acme/']);
  expect(reachOf(many.map((_, n) => `org-${n}/*`)).prefixes).toEqual(['']);
});

test('a user with a policy full of patterns gets all pages of a list', async () => {
  const alice: Person = await inviteUser(world, 'alice');
  const names = Array.from({ length: 30 }, (_, n) => `acme/app-${String(n).padStart(2, '0')}`);
  for (const name of names) await api(world, 'PUT', `/repositories/${name}`);
  const statements = Array.from({ length: 40 }, (_, n) => ({
    actions: ['pull'],
    repositories: Array.from({ length: 50 }, (__, m) => `*${n}*${m}`).slice(0, 40),
  }));
  const all = { actions: ['pull'], repositories: ['acme/*'] };
  const saved = await api(world, 'PUT', '/users/alice/policy', { body: { statements: [...statements, all] } });
  expect(saved.status, JSON.stringify(saved.body)).toBe(200);
  const found: string[] = [];
  for (let last: string | null = ''; last !== null; ) {
    const query: string = last === '' ? '' : `&last=${encodeURIComponent(last)}`;
    const page = await api<{ items: { name: string }[]; next: string | null }>(world, 'GET', `/repositories?n=100${query}`, {
      as: alice.basic,
    });
    found.push(...page.body.items.map(({ name }) => name));
    last = page.body.next;
  }
  expect(found).toEqual(names);
});
