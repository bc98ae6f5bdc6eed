/** Operations on the audit log show each caller only the events that they may see. */
import { beforeEach, expect, test } from 'vitest';
import { type ActivityFilter, listActivity } from '../../src/app/activity.ts';
import { parseRepositoryName } from '../../src/oci/name.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { imageIn } from '../world/images.ts';
import { makeOrganization, makeTeam } from '../world/organizations.ts';
import { api, inviteUser, type Person } from '../world/people.ts';
import { builtOnce, type World } from '../world/world.ts';

const REPOSITORY = parseRepositoryName('acme/api');
const PAGE = { before: null, limit: 100 };

let world: World;
let owner: Person;
let administering: Person;
let member: Person;
let stranger: Person;

const build = builtOnce(async (made) => {
  world = made;
  await imageIn(world, REPOSITORY, 1);
  [owner, administering, member, stranger] = [
    await inviteUser(world, 'owning'),
    await inviteUser(world, 'maintainer'),
    await inviteUser(world, 'member'),
    await inviteUser(world, 'someone'),
  ];
  await makeOrganization(world, 'acme', { owners: [owner], members: [administering, member] });
  const allow = (...actions: string[]) => [{ effect: 'allow', actions, repositories: ['acme/*'] }];
  await makeTeam(world, 'acme', 'maintainers', [administering], allow('pull', 'push', 'retag', 'delete', 'create', 'admin'));
  await makeTeam(world, 'acme', 'members', [member], allow('pull'));
});

beforeEach(async () => {
  world = await build();
});

const as = (person: Person | 'administrator' | null) => callAs(world, person, [REPOSITORY]);

async function reason(person: Person | null, filter: ActivityFilter): Promise<string> {
  const call = await as(person);
  return reasonOf(world, () => listActivity(call, filter, PAGE));
}

async function read(person: Person | 'administrator', filter: ActivityFilter) {
  return (await listActivity(await as(person), filter, PAGE)).items;
}

test('events about a repository are for those who administer it', async () => {
  const filter = { repository: REPOSITORY };
  expect(await reason(null, filter)).toBe('unauthenticated');
  expect(await reason(stranger, filter)).toBe('not-found');
  expect(await reason(member, filter)).toBe('forbidden');
  const events = await read(administering, filter);
  expect(events.length).toBeGreaterThan(0);
  expect(events.filter(({ repository }) => repository !== REPOSITORY)).toEqual([]);
});

test('events about an organization are for its owners', async () => {
  const filter = { organization: 'acme' };
  expect(await reason(null, filter)).toBe('unauthenticated');
  expect(await reason(stranger, filter)).toBe('not-found');
  expect(await reason(administering, filter)).toBe('forbidden');
  expect((await read(owner, { organization: 'ACME' })).length).toBeGreaterThan(0);
  expect(await reason(owner, { organization: '' })).toBe('request-invalid');
});

test('without a filter, everybody but an administrator reads their own events only', async () => {
  expect(await reason(null, {})).toBe('unauthenticated');
  expect(await reason(owner, { actor: 'user:admin' })).toBe('forbidden');
  const own = await read(owner, {});
  expect(own.filter(({ by }) => by.subject !== owner.subject)).toEqual([]);
  expect(new Set((await read('administrator', {})).map(({ by }) => by.subject)).size).toBeGreaterThan(1);
});

test('events of an earlier repository of the same name are for owners only', async () => {
  expect((await world.fetch('DELETE', `/api/v1/repositories/${REPOSITORY}?force=true`)).status).toBe(200);
  expect((await api(world, 'PUT', `/repositories/${REPOSITORY}`)).status).toBe(201);
  const typesFor = async (person: Person) => (await read(person, { repository: REPOSITORY })).map(({ type }) => type);
  expect(await typesFor(administering)).toEqual(['repository.created']);
  expect(await typesFor(owner)).toContain('repository.deleted');
});
