/** Stars and comments: who may write and delete them, who sees names, their limits, and the trash. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Call } from '../../src/app/call.ts';
import {
  changeComment,
  deleteComment,
  getOwnComment,
  getStars,
  listComments,
  postComment,
  putStar,
} from '../../src/app/comments.ts';
import { changeRepository, deleteRepository } from '../../src/app/repositories.ts';
import { restoreRepository } from '../../src/app/trash.ts';
import type { RepositoryName } from '../../src/oci/name.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { makeRobot } from '../world/organizations.ts';
import { api, inviteUser, type Person } from '../world/people.ts';
import { builtOnce, type World } from '../world/world.ts';

const API = 'alice/api' as RepositoryName;

let alice: Person;
let bob: Person;
let robot: Person;
const fresh = builtOnce(async (built) => {
  alice = await inviteUser(built, 'alice');
  bob = await inviteUser(built, 'bob');
  await api(built, 'PUT', '/organizations/acme', { body: {} });
  robot = await makeRobot(built, 'acme', 'ci');
  await api(built, 'PUT', `/repositories/${API}`, { as: alice.basic, body: { visibility: 'public' } });
});

let world: World;
let owner: Call;
let reader: Call;
beforeEach(async () => {
  world = await fresh();
  [owner, reader] = [await callAs(world, alice, [API]), await callAs(world, bob, [API])];
});

const all = { before: null, limit: 10 };
const textsFor = async (call: Call) => (await listComments(call, API, all)).items.map(({ author, source }) => [author, source]);
const anonymous = () => callAs(world, null, [API]);

describe('a star', () => {
  test('counts once for each person, and is taken back', async () => {
    await putStar(reader, API, true);
    expect(await putStar(reader, API, true)).toEqual({ stars: 1, starred: true });
    expect(await putStar(owner, API, true)).toEqual({ stars: 2, starred: true });
    expect(await getStars(await anonymous(), API)).toEqual({ stars: 2, starred: false });
    await putStar(owner, API, false);
    expect(await putStar(owner, API, false)).toEqual({ stars: 1, starred: false });
  });

  test('is not for robots, strangers, and people who may not pull', async () => {
    expect(await reasonOf(world, async () => putStar(await callAs(world, robot, [API]), API, true))).toBe('forbidden');
    expect(await reasonOf(world, async () => putStar(await anonymous(), API, true))).toBe('unauthenticated');
    await changeRepository(owner, API, { visibility: 'private' }, null);
    expect(await reasonOf(world, async () => putStar(await callAs(world, bob, [API]), API, true))).toBe('not-found');
  });
});

describe('a comment', () => {
  test('is rendered when it is written, and changed by its author alone', async () => {
    const { id, html } = await postComment(reader, API, { text: '**good** <b>' });
    expect([id, html]).toEqual([1, '<p><strong>good</strong> &lt;b&gt;</p>\n']);
    expect(await reasonOf(world, () => changeComment(owner, API, id, { text: 'mine' }))).toBe('not-found');
    expect(await reasonOf(world, () => getOwnComment(owner, API, id))).toBe('not-found');
    expect(await getOwnComment(reader, API, id)).toMatchObject({ source: '**good** <b>', editedAt: null });
    expect(await changeComment(reader, API, id, { text: 'better' })).toMatchObject({ html: '<p>better</p>\n', isOwn: true });
    expect(await textsFor(owner)).toEqual([['user:bob', 'better']]);
  });

  test('is deleted by its author or by who administers the repository, and its number is not used again', async () => {
    await postComment(reader, API, { text: 'one' });
    await postComment(owner, API, { text: 'two' });
    expect(await reasonOf(world, () => deleteComment(reader, API, 2))).toBe('not-found');
    await deleteComment(owner, API, 1);
    await deleteComment(owner, API, 2);
    expect(await postComment(reader, API, { text: 'three' })).toMatchObject({ id: 3 });
    await deleteComment(reader, API, 3);
    expect(await textsFor(owner)).toEqual([]);
  });

  test('of a person without the right to pull stays, and hides the name from readers', async () => {
    await postComment(reader, API, { text: 'good' });
    const statements = [
      { actions: ['pull'], principals: ['*'] },
      { effect: 'deny', actions: ['pull'], principals: ['user:bob'] },
    ];
    await api(world, 'PUT', `/repositories/${API}/-/policy`, { as: alice.basic, body: { statements } });
    expect(await textsFor(owner)).toEqual([['user:bob', 'good']]);
    expect(await textsFor(await anonymous())).toEqual([[null, 'good']]);
  });

  test('has limits: its bytes, its HTML, and the number for each person', async () => {
    const table = `|${'a|'.repeat(500)}\n|${'-|'.repeat(500)}\n${'a\n'.repeat(9)}`;
    for (const text of [' ', 'x'.repeat(4097), 'ä'.repeat(2049), table]) {
      expect(await reasonOf(world, () => postComment(reader, API, { text })), text.slice(0, 9)).toBe('request-invalid');
    }
    const fill = `INSERT INTO comments SELECT r.id, 100 + n.value, 'user:bob', 'x', 'x', 0, NULL
      FROM repositories r, (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT 100) SELECT * FROM n) n`;
    await world.env.DB.prepare(fill).run();
    expect(await reasonOf(world, () => postComment(reader, API, { text: 'more' }))).toBe('limit-reached');
    expect(await postComment(owner, API, { text: 'mine' })).toMatchObject({ author: 'user:alice' });
  });

  test('is refused and not shown if comments are switched off, and can still be deleted', async () => {
    await postComment(reader, API, { text: 'good' });
    const off = { ...reader, env: { ...reader.env, COMMENTS: 'off' } };
    expect(await reasonOf(world, () => postComment(off, API, { text: 'more' }))).toBe('disabled');
    expect(await listComments(off, API, all)).toEqual({ items: [], more: false });
    await deleteComment(off, API, 1);
    expect(await textsFor(owner)).toEqual([]);
  });
});

test('stars and comments go to the trash with their repository, and come back', async () => {
  await putStar(reader, API, true);
  await postComment(reader, API, { text: 'good' });
  const { entry } = await deleteRepository(owner, API, { force: true, ifVersion: null });
  await api(world, 'PUT', `/repositories/${API}`, { as: alice.basic, body: {} });
  expect(await textsFor(owner)).toEqual([]);
  await deleteRepository(owner, API, { force: true, ifVersion: null });
  await restoreRepository(owner, String(entry));
  expect(await textsFor(owner)).toEqual([['user:bob', 'good']]);
  expect(await getStars(owner, API)).toEqual({ stars: 1, starred: false });
});
