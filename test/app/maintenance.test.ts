/** Operations of maintenance are for administrators only, and keep to the daily budget of background jobs. */
import { beforeEach, expect, test } from 'vitest';
import { checkConsistency, collectNow, getBudget, getMaintenance, scrubNow } from '../../src/app/maintenance.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { makeOrganization } from '../world/organizations.ts';
import { inviteUser, type Person } from '../world/people.ts';
import { builtOnce, type World, worldOf } from '../world/world.ts';

let world: World;
let owner: Person;

const build = builtOnce(async (made) => {
  world = made;
  owner = await inviteUser(world, 'owning');
  await makeOrganization(world, 'acme', { owners: [owner] });
});

beforeEach(async () => {
  world = await build();
});

test('an operation of maintenance is refused to everybody but administrators', async () => {
  for (const [person, reason] of [
    [null, 'unauthenticated'],
    [owner, 'forbidden'],
  ] as const) {
    const call = await callAs(world, person);
    for (const operation of [
      () => getMaintenance(call),
      () => getBudget(call),
      () => collectNow(call, { force: true }),
      () => scrubNow(call, { force: true }),
      () => checkConsistency(call, undefined),
    ]) {
      expect(await reasonOf(world, operation)).toBe(reason);
    }
  }
});

test('without force, nothing runs once the budget of the day is used up', async () => {
  const { env } = worldOf({ ...world.env, BACKGROUND_ROWS_READ: '1' });
  const call = { ...(await callAs(world, 'administrator')), env };
  await collectNow(call, { force: true });
  expect(await reasonOf(world, () => collectNow(call, { force: false }))).toBe('daily-limit');
  expect(await reasonOf(world, () => scrubNow(call, { force: false }))).toBe('daily-limit');
});

test('a consistency check does not continue from a cursor that it has not given', async () => {
  const call = await callAs(world, 'administrator');
  for (const cursor of ['', 'x', '{}', '["no such phase"]', '[1]']) {
    expect(await reasonOf(world, () => checkConsistency(call, cursor))).toBe('request-invalid');
  }
});
