/** Operations on usage and quotas check rights and input by themselves, whatever `http` has checked. */
import { beforeEach, expect, test } from 'vitest';
import {
  getOrganizationUsage,
  getPulls,
  getUserUsage,
  listUsage,
  putOrganizationQuota,
  putUserQuota,
  type QuotaChange,
} from '../../src/app/usage.ts';
import { parseRepositoryName } from '../../src/oci/name.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { pushImage } from '../world/images.ts';
import { makeOrganization, makeTeam } from '../world/organizations.ts';
import { inviteUser, type Person } from '../world/people.ts';
import { builtOnce, type World } from '../world/world.ts';

const REPOSITORY = parseRepositoryName('acme/api');

let world: World;
let owner: Person;
let member: Person;
let stranger: Person;

const build = builtOnce(async (made) => {
  world = made;
  await pushImage(world, REPOSITORY, 'v1');
  [owner, member, stranger] = [
    await inviteUser(world, 'owning'),
    await inviteUser(world, 'member'),
    await inviteUser(world, 'someone'),
  ];
  await makeOrganization(world, 'acme', { owners: [owner], members: [member] });
  const statements = [{ effect: 'allow', actions: ['pull'], repositories: ['acme/*'] }];
  await makeTeam(world, 'acme', 'members', [member], statements);
});

beforeEach(async () => {
  world = await build();
});

const as = (person: Person | 'administrator' | null) => callAs(world, person, [REPOSITORY]);

test('quotas are set by administrators only', { tags: 'slow' }, async () => {
  for (const [person, reason] of [
    [null, 'unauthenticated'],
    [owner, 'forbidden'],
  ] as const) {
    const call = await as(person);
    expect(await reasonOf(world, () => putOrganizationQuota(call, 'acme', { maxBytes: null }, null))).toBe(reason);
    expect(await reasonOf(world, () => putUserQuota(call, 'owning', { maxBytes: 1 }, null))).toBe(reason);
    expect(await reasonOf(world, () => listUsage(call, { after: null, limit: 10 }))).toBe(reason);
  }
  const call = await as('administrator');
  expect(await reasonOf(world, () => putOrganizationQuota(call, 'nobody', { maxBytes: 1 }, null))).toBe('not-found');
  expect(await reasonOf(world, () => putUserQuota(call, 'nobody', { maxBytes: 1 }, null))).toBe('not-found');
  expect(await reasonOf(world, () => putUserQuota(call, 'owning', { maxBytes: 1 }, 7))).toBe('version-mismatch');
});

test.each<QuotaChange>([
  { maxBytes: -1 },
  { maxBytes: 1.5 },
  { maxBytes: Number.NaN },
  { maxBytes: 1, warnPercent: 0 },
  { maxBytes: 1, warnPercent: 101 },
])('the quota %j is not saved', async (quota) => {
  const call = await as('administrator');
  expect(await reasonOf(world, () => putOrganizationQuota(call, 'acme', quota, null))).toBe('request-invalid');
});

test('usage is read by owners, by the user themselves, and by administrators', async () => {
  const forMember = await as(member);
  expect(await reasonOf(world, () => getOrganizationUsage(forMember, 'acme'))).toBe('forbidden');
  const forStranger = await as(stranger);
  expect(await reasonOf(world, () => getOrganizationUsage(forStranger, 'acme'))).toBe('not-found');
  expect(await reasonOf(world, () => getUserUsage(forStranger, 'owning'))).toBe('not-found');
  const forOwner = await as(owner);
  expect((await getOrganizationUsage(forOwner, 'acme')).blobs).toBeGreaterThan(0);
  expect((await getUserUsage(forOwner, 'owning')).blobs).toBe(0);
});

test('pulls of a whole repository are counted for those who push', async () => {
  const forMember = await as(member);
  expect(await reasonOf(world, () => getPulls(forMember, REPOSITORY, {}))).toBe('forbidden');
  const forStranger = await as(stranger);
  expect(await reasonOf(world, () => getPulls(forStranger, REPOSITORY, {}))).toBe('not-found');
  expect((await getPulls(await as('administrator'), REPOSITORY, {})).total).toBe(0);
});
