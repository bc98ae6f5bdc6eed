/** The pages of usage and of the health of the registry. */
import { beforeEach, expect, test } from 'vitest';
import { browserOf } from '../../world/browser.ts';
import { pushImage } from '../../world/images.ts';
import { makeOrganization } from '../../world/organizations.ts';
import { api, inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

let alice: Person;
let bob: Person;
const fresh = builtOnce(async (built) => {
  alice = await inviteUser(built, 'alice');
  bob = await inviteUser(built, 'bob');
  await makeOrganization(built, 'acme', { owners: [alice], members: [bob] });
  await pushImage(built, 'acme/api', 'v1');
});

let world: World;
beforeEach(async () => {
  world = await fresh();
});

test('an administrator sees what everybody stores, and the largest repositories', async () => {
  const page = await (await browserOf(world)).page('/usage');
  expect(page).toContain('/repositories?namespace=acme');
  expect(page).toContain('aria-label="acme/api: ');
  expect(page).toMatch(/Storage<\/span><span class="figures">[^<]+ of 10 GB/);
});

test('an owner sees the usage of the organization, and an administrator sets its limit', async () => {
  const admin = await browserOf(world);
  const PAGE = '/organizations/acme/usage';
  expect((await admin.post(PAGE, { limit: 'x<y', warnPercent: '80', version: '1' })).status).toBe(400);
  expect((await admin.post(PAGE, { limit: '2.5', warnPercent: '80', version: '1' })).headers.get('location')).toBe(
    `${PAGE}?notice=saved`,
  );
  const late = await admin.post(PAGE, { limit: '3', warnPercent: '80', version: '1' });
  const conflict = (await late.text()).replaceAll(/<[^>]+>/g, '|');
  // What was typed stands beside what the other change has saved. The percentage is the same in both.
  expect([late.status, conflict]).toEqual([
    412,
    expect.stringMatching(/You typed\|+Stands now.*GB that may be stored\|+3\|+2\.5\|/),
  ]);
  expect(conflict).not.toMatch(/Stands now.*\|Warn at, in percent\|+80\|+80\|/);
  const { body } = await api<{ maxBytes: number }>(world, 'GET', PAGE);
  expect(body.maxBytes).toBe(2_500_000_000);
  const owner = await browserOf(world, 'alice', alice.secret);
  const page = await owner.page(PAGE);
  expect(page).toContain('of 2.5 GB');
  expect(page).toContain('Emptying the trash would bring back');
  expect(page).not.toContain('Save limit');
  expect((await owner.post(PAGE, { limit: '', warnPercent: '80' })).status).toBe(403);
  expect((await (await browserOf(world, 'bob', bob.secret)).get(PAGE)).status).toBe(403);
});

test('people see the usage of their own repositories, and an administrator sees and limits it', async () => {
  const PAGE = '/users/alice/usage';
  await pushImage(world, 'alice/web', 'v1');
  const own = await browserOf(world, 'alice', alice.secret);
  expect(await own.page('/account')).toContain(`href="${PAGE}"`);
  const page = await own.page(PAGE);
  expect([page.includes('aria-label="alice/web: '), page.includes('acme/api'), page.includes('Save limit')]).toEqual([
    true,
    false,
    false,
  ]);
  expect((await own.post(PAGE, { limit: '1', warnPercent: '80' })).status).toBe(403);
  const other = await browserOf(world, 'bob', bob.secret);
  for (const path of [PAGE, '/users/nobody9/usage']) expect((await other.get(path)).status).toBe(404);
  const admin = await browserOf(world);
  expect((await admin.post(PAGE, { limit: '1.5', warnPercent: '80', version: '1' })).headers.get('location')).toBe(
    `${PAGE}?notice=saved`,
  );
  expect(await own.page(PAGE)).toContain('of 1.5 GB');
});

test('an administrator runs the collector and the scrub, and checks the consistency', async () => {
  const admin = await browserOf(world);
  expect(await admin.page('/upkeep')).toContain('No job is stopped');
  expect((await admin.post('/upkeep/collector', {})).headers.get('location')).toMatch(/notice=(?:pass-finished|slice-ran)/);
  expect((await admin.post('/upkeep/scrub', {})).headers.get('location')).toMatch(/notice=(?:pass-finished|slice-ran)/);
  expect(await admin.page('/upkeep/check')).toMatch(/Nothing is wrong/);
});

test.each(['/usage', '/upkeep', '/upkeep/check'])('%s is for administrators', async (path) => {
  expect((await (await browserOf(world, 'alice', alice.secret)).get(path)).status).toBe(403);
});
