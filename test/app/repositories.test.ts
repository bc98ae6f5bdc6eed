/** Operations on repositories check rights and input by themselves, whatever `http` has checked. */
import { beforeAll, expect, test } from 'vitest';
import { changeRepository, deleteRepository, getRepository, putRepository } from '../../src/app/repositories.ts';
import { listCatalog, listRepositories } from '../../src/app/repository-lists.ts';
import type { RepositoryName } from '../../src/oci/name.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { makeAcme, makeRobot } from '../world/organizations.ts';
import { api, type Person, personOf } from '../world/people.ts';
import { newWorld, type World } from '../world/world.ts';

const API = 'acme/api' as RepositoryName;
const NEW = 'acme/new' as RepositoryName;
const PAGE = { after: '', limit: 10 };

let world: World;
let owner: Person;
let member: Person;
let outsider: Person;
let puller: Person;
let creator: Person;
let narrowed: Person;

beforeAll(async () => {
  world = await newWorld();
  ({ owner, member, outsider } = await makeAcme(world));
  puller = await makeRobot(world, 'acme', 'puller', [{ actions: ['pull'], repositories: ['acme/*'] }]);
  creator = await makeRobot(world, 'acme', 'creator', [{ actions: ['create'], repositories: ['acme/*'] }]);
  const statements = [{ actions: ['pull', 'create'], repositories: ['acme/*'] }];
  const { body } = await api<{ key: { id: string }; secret: string }>(world, 'POST', '/keys', {
    as: owner.bearer,
    body: { name: 'narrowed', statements },
  });
  narrowed = personOf(owner.name, { id: body.key.id, secret: body.secret });
  expect((await api(world, 'PUT', `/repositories/${API}`, { body: {} })).status).toBe(201);
});

async function reasons(
  repository: RepositoryName,
  work: (call: Awaited<ReturnType<typeof callAs>>) => Promise<unknown>,
): Promise<string[]> {
  const found: string[] = [];
  for (const who of [null, member, outsider, puller, creator, narrowed]) {
    const call = await callAs(world, who, [repository]);
    found.push(await reasonOf(world, () => work(call)));
  }
  return found;
}

test('a repository is read only by callers who may pull', async () => {
  for (const who of [null, member, outsider, creator]) {
    const call = await callAs(world, who, [API]);
    const reason = await reasonOf(world, () => getRepository(call, API));
    expect(reason).toBe(who === null ? 'unauthenticated' : 'not-found');
    expect((await listRepositories(call, PAGE, {})).items).toEqual([]);
  }
  expect((await getRepository(await callAs(world, puller, [API]), API)).name).toBe(API);
});

test('the catalog has only repositories that the caller may pull', async () => {
  expect((await listCatalog(await callAs(world, outsider), PAGE)).items).toEqual([]);
  expect((await listCatalog(await callAs(world, puller), PAGE)).items).toEqual([API]);
});

test('a repository is created only by callers who may create it', async () => {
  const call = await callAs(world, puller, [NEW]);
  expect(await reasonOf(world, () => putRepository(call, NEW, {}, null))).toBe('forbidden');
  expect(await reasonOf(world, async () => putRepository(await callAs(world, outsider, [NEW]), NEW, {}, null))).toBe(
    'not-found',
  );
  expect(await reasonOf(world, async () => putRepository(await callAs(world, null, [NEW]), NEW, {}, null))).toBe(
    'unauthenticated',
  );
});

test('a creator who may not administer sets no text and no visibility, and takes no name', async () => {
  for (const who of [creator, narrowed]) {
    const call = await callAs(world, who, [NEW]);
    for (const wanted of [{ description: 'mine' }, { overview: 'mine' }, { visibility: 'public' as const }]) {
      expect(await reasonOf(world, () => putRepository(call, NEW, wanted, null))).toBe('forbidden');
    }
  }
  const taken = await reasonOf(world, async () => putRepository(await callAs(world, creator, [API]), API, {}, null));
  expect(taken).toBe('name-taken');
});

test('a repository is changed and deleted only by callers who may administer it', async () => {
  const expected = ['unauthenticated', 'not-found', 'not-found', 'forbidden', 'not-found', 'forbidden'];
  expect(await reasons(API, (call) => changeRepository(call, API, { visibility: 'public' }, null))).toEqual(expected);
  expect(await reasons(API, (call) => deleteRepository(call, API, { force: true, ifVersion: null }))).toEqual(expected);
});

test('another version, and content without force, are refused', async () => {
  const call = await callAs(world, owner, [API]);
  expect(await reasonOf(world, () => putRepository(call, API, {}, 0))).toBe('version-mismatch');
  expect(await reasonOf(world, () => putRepository(call, NEW, {}, 7))).toBe('version-mismatch');
  expect(await reasonOf(world, () => changeRepository(call, API, { description: 'new' }, 7))).toBe('version-mismatch');
  expect(await reasonOf(world, () => deleteRepository(call, API, { force: false, ifVersion: 7 }))).toBe('version-mismatch');
});
