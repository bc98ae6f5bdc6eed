/**
 * What a page costs in D1. The rights of the reader are one round trip, and a page may wait for two more. So one that shows more
 * reads it at the same time.
 */
import { beforeEach, expect, test } from 'vitest';
import { type Browser, browserOf } from '../../world/browser.ts';
import { counting } from '../../world/counting.ts';
import { pushImage } from '../../world/images.ts';
import { makeAcme } from '../../world/organizations.ts';
import { api, type Person } from '../../world/people.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

let owner: Person;
const fresh = builtOnce(async (built) => {
  ({ owner } = await makeAcme(built));
  for (const name of ['acme/api', 'acme/web', 'admin/tools']) await pushImage(built, name, 'v1');
  const statements = [{ principals: [owner.subject], actions: ['pull', 'push'] }];
  await api(built, 'PUT', '/repositories/acme/api/-/policy', { body: { statements } });
});

let world: World;
let admin: Browser;
beforeEach(async () => {
  world = await fresh();
  admin = await browserOf(world);
});

/** Sends a request in a browser whose registry counts. */
async function cost(browser: Browser, send: (counted: Browser) => Promise<Response>) {
  const { env, counts, longest } = counting(world.env);
  const { status } = await send(Object.create(browser, { world: { value: worldOf(env) } }) as Browser);
  return { status, sequential: longest(), calls: counts.d1, read: counts.rowsRead, written: counts.rowsWritten };
}

test.each([
  // The path, and the limits: calls and rows read.
  ['/', 12, 200],
  ['/repositories', 4, 100],
  ['/organizations', 3, 50],
  ['/organizations/acme', 6, 100],
  ['/organizations/acme/usage', 5, 250],
  ['/account', 3, 50],
  ['/account/keys', 3, 50],
  ['/users', 3, 50],
  ['/users/admin', 4, 50],
  ['/users/admin/usage', 6, 250],
  ['/usage', 8, 100],
  ['/upkeep', 5, 50],
  ['/webhooks', 3, 50],
  ['/organizations/acme/webhooks', 4, 50],
  ['/repositories/acme/api/-/webhooks', 6, 50],
  ['/activity', 4, 200],
  ['/trash', 3, 50],
  ['/repositories/acme/api/-/trash', 5, 50],
  ['/repositories/acme/api/-/permissions', 6, 80],
  ['/repositories/acme/api/-/permissions/explain?principal=user:owner', 6, 80],
  ['/trust-rules', 3, 50],
])('%s waits for two round trips after the rights', async (path, calls, rows) => {
  const counted = await cost(admin, (browser) => browser.get(path));
  expect(counted).toMatchObject({ status: 200, written: 0 });
  expect(counted.sequential).toBeLessThanOrEqual(3);
  expect(counted.calls).toBeLessThanOrEqual(calls);
  expect(counted.read).toBeLessThanOrEqual(rows);
});

test('the list of repositories waits for one more for those whose rights do not reach all names', async () => {
  const browser = await browserOf(world, owner.name, owner.secret);
  for (const path of ['/', '/repositories']) {
    expect((await cost(browser, (counted) => counted.get(path))).sequential).toBeLessThanOrEqual(4);
  }
});

test('a review waits for one more: the saved statements, whom they concern, and the rights of these', async () => {
  const page = '/repositories/acme/api/-/permissions';
  const given = { what: 'give', principal: 'admin', preset: 'pull only', version: '1' };
  const counted = await cost(admin, (browser) => browser.post(page, given));
  expect(counted).toMatchObject({ status: 200, written: 0 });
  expect(counted.sequential).toBeLessThanOrEqual(4);
  expect(counted.read).toBeLessThanOrEqual(150);
});
