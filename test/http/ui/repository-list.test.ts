/** The list of repositories: its columns, and the filter by visibility. */
import { beforeAll, expect, test } from 'vitest';
import { Browser, browserOf } from '../../world/browser.ts';
import { pushImage } from '../../world/images.ts';
import { api, inviteUser, type Person } from '../../world/people.ts';
import { newWorld, type World } from '../../world/world.ts';

let world: World;
let alice: Person;
beforeAll(async () => {
  world = await newWorld();
  alice = await inviteUser(world, 'alice');
  await api(world, 'PUT', '/repositories/alice/open', { as: alice.basic, body: { visibility: 'public', description: '<b>' } });
  await pushImage(world, 'alice/closed', 'v1');
  await api(world, 'PUT', '/repositories/alice/open/-/star', { as: alice.basic });
});

test('each repository has its last push and its stars', async () => {
  const page = await (await browserOf(world, 'alice', alice.secret)).page('/repositories');
  expect(page).toMatch(/alice\/closed<\/a>.*data-label="Last push"><time datetime=.*data-label="Stars">0<\/td>/s);
  expect(page).toMatch(/alice\/open<\/a>.*&lt;b&gt;.*data-label="Last push"><span>never.*data-label="Stars">1<\/td>/s);
});

test('the filter by visibility leaves out the others, in the page and in the API', async () => {
  const browser = await browserOf(world, 'alice', alice.secret);
  const open = await browser.page('/repositories?visibility=public');
  expect([open.includes('alice/open</a>'), open.includes('alice/closed</a>')]).toEqual([true, false]);
  const closed = await browser.page('/repositories?visibility=private');
  expect([closed.includes('alice/open</a>'), closed.includes('alice/closed</a>')]).toEqual([false, true]);
  const { body } = await api<{ items: { name: string }[] }>(world, 'GET', '/repositories?visibility=private', {
    as: alice.basic,
  });
  expect(body.items).toMatchObject([{ name: 'alice/closed', lastPushedAt: expect.any(String), stars: 0 }]);
  expect((await api(world, 'GET', '/repositories?visibility=secret', { as: alice.basic })).status).toBe(400);
});

test('a reader who is not signed in sees the public ones', async () => {
  const page = await new Browser(world).page('/repositories');
  expect([page.includes('alice/open</a>'), page.includes('alice/closed')]).toEqual([true, false]);
});
