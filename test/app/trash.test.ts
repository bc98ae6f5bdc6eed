/** Operations on the trash check rights and input by themselves, whatever `http` has checked. */
import { beforeEach, expect, test } from 'vitest';
import {
  listDeletedRepositories,
  listTrash,
  purgeManifest,
  purgeRepository,
  purgeTag,
  restoreManifest,
  restoreRepository,
  restoreTag,
} from '../../src/app/trash.ts';
import { parseRepositoryName } from '../../src/oci/name.ts';
import type { Tag } from '../../src/oci/reference.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { type Content, imageIn, putManifest, textOf } from '../world/images.ts';
import { makeOrganization, makeTeam } from '../world/organizations.ts';
import { api, inviteUser, type Person } from '../world/people.ts';
import { builtOnce, type World, worldOf } from '../world/world.ts';

const REPOSITORY = parseRepositoryName('acme/api');
const TAG = 'v1' as Tag;
const ALL = { after: '', limit: 10 };

let world: World;
let image: Content;
let deleter: Person;
let reader: Person;
let stranger: Person;

const build = builtOnce(async (made) => {
  world = made;
  image = await imageIn(world, REPOSITORY, 1);
  await putManifest(world, REPOSITORY, TAG, textOf(image));
  [deleter, reader, stranger] = [
    await inviteUser(world, 'deleter'),
    await inviteUser(world, 'reader'),
    await inviteUser(world, 'someone'),
  ];
  await makeOrganization(world, 'acme', { members: [deleter, reader] });
  const allow = (...actions: string[]) => [{ effect: 'allow', actions, repositories: ['acme/*'] }];
  await makeTeam(world, 'acme', 'deleters', [deleter], allow('pull', 'delete'));
  await makeTeam(world, 'acme', 'readers', [reader], allow('pull'));
});

beforeEach(async () => {
  world = await build();
});

const as = (person: Person | 'administrator' | null, repositories: string[] = [REPOSITORY]) =>
  callAs(world, person, repositories);

async function deleted(path: string): Promise<void> {
  expect((await world.fetch('DELETE', path)).status).toBeLessThan(300);
}

test('deleted tags and manifests are listed and restored by those who may delete, and purged by administrators', async () => {
  await deleted(`/v2/${REPOSITORY}/manifests/${TAG}`);
  await deleted(`/v2/${REPOSITORY}/manifests/${image.digest}`);
  const outcomes = async (person: Person | null) => {
    const call = await as(person);
    const all = [
      () => listTrash(call, REPOSITORY, ALL),
      () => restoreTag(call, REPOSITORY, TAG),
      () => restoreManifest(call, REPOSITORY, image.digest),
      () => purgeTag(call, REPOSITORY, TAG),
      () => purgeManifest(call, REPOSITORY, image.digest),
    ];
    const reasons = [];
    for (const one of all) reasons.push(await reasonOf(world, one));
    return reasons;
  };
  expect(await outcomes(null)).toEqual(Array(5).fill('unauthenticated'));
  expect(await outcomes(stranger)).toEqual(Array(5).fill('not-found'));
  expect(await outcomes(reader)).toEqual(Array(5).fill('forbidden'));
  const call = await as(deleter);
  expect(await reasonOf(world, () => purgeTag(call, REPOSITORY, TAG))).toBe('forbidden');
  expect(await reasonOf(world, () => purgeManifest(call, REPOSITORY, image.digest))).toBe('forbidden');
  expect((await listTrash(call, REPOSITORY, ALL)).items.map(({ name }) => name)).toContain(TAG);
});

test('a registry that deletes nothing purges nothing', async () => {
  await deleted(`/v2/${REPOSITORY}/manifests/${TAG}`);
  const call = { ...(await as('administrator')), env: worldOf({ ...world.env, DELETION: 'off' }).env };
  expect(await reasonOf(world, () => purgeTag(call, REPOSITORY, TAG))).toBe('deletion-disabled');
});

test('a deleted repository exists only for those who may administer its name, whatever its own policy says', async () => {
  const statements = [{ effect: 'allow', actions: ['pull', 'admin'], principals: [stranger.subject] }];
  expect((await api(world, 'PUT', `/repositories/${REPOSITORY}/-/policy`, { body: { statements } })).status).toBe(200);
  await deleted(`/api/v1/repositories/${REPOSITORY}?force=true`);
  const { items } = await listDeletedRepositories(await as('administrator', []), ALL);
  const entry = String(items[0]?.entry);
  await imageIn(world, REPOSITORY, 2);
  await api(world, 'PUT', `/repositories/${REPOSITORY}/-/policy`, { body: { statements } });
  for (const [person, reason] of [
    [null, 'unauthenticated'],
    [stranger, 'not-found'],
    [deleter, 'not-found'],
  ] as const) {
    const call = await as(person);
    expect(await reasonOf(world, () => restoreRepository(call, entry))).toBe(reason);
    expect(await reasonOf(world, () => purgeRepository(call, entry))).toBe(reason);
  }
  const call = await as('administrator');
  expect(await reasonOf(world, () => restoreRepository(call, entry))).toBe('conflict');
  for (const none of ['', '0', '-1', 'x', '999999']) {
    expect(await reasonOf(world, () => restoreRepository(call, none))).toBe('not-found');
  }
});

test('deleted repositories are listed for those who are logged in, with cursors of that list', async () => {
  const anonymous = await as(null, []);
  expect(await reasonOf(world, () => listDeletedRepositories(anonymous, ALL))).toBe('unauthenticated');
  const call = await as(deleter, []);
  expect((await listDeletedRepositories(call, ALL)).items).toEqual([]);
  expect(await reasonOf(world, () => listDeletedRepositories(call, { after: '~forged', limit: 1 }))).toBe('request-invalid');
});
