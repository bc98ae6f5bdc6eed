/** The page with a repository's settings: each form changes what it says, and only administrators of the repository see it. */
import { beforeEach, expect, test } from 'vitest';
import { type Browser, browserOf } from '../../world/browser.ts';
import { api, inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

const PAGE = '/repositories/alice/api/-/settings';

let alice: Person;
let bob: Person;
const fresh = builtOnce(async (built) => {
  alice = await inviteUser(built, 'alice');
  bob = await inviteUser(built, 'bob');
  const description = '<script>alert(1)</script>\u202e';
  await api(built, 'PUT', '/repositories/alice/api', { as: alice.basic, body: { description } });
});

let world: World;
let browser: Browser;
beforeEach(async () => {
  world = await fresh();
  browser = await browserOf(world, 'alice', alice.secret);
});

const stored = async (below = '') => (await api(world, 'GET', `/repositories/alice/api${below}`, { as: alice.basic })).body;

test('the description is changed, and a stale version is refused with what is stored', async () => {
  const page = await browser.page(PAGE);
  expect(page).toContain('&lt;script&gt;');
  expect(page).not.toMatch(/<script>|\u202e(?!")/);
  const change = { what: 'description', version: '1', description: 'The shop' };
  const answer = await browser.post(PAGE, change);
  expect([answer.status, answer.headers.get('location')]).toEqual([303, `${PAGE}?notice=saved`]);
  expect(await stored()).toMatchObject({ description: 'The shop' });
  const refused = await browser.post(PAGE, { ...change, description: 'Another' });
  const text = await refused.text();
  expect([refused.status, text.includes('value="Another"'), text.includes('<bdi>The shop</bdi>')]).toEqual([412, true, true]);
});

test('the visibility is changed after a page that shows who gains and loses', async () => {
  const review = await browser.page(`${PAGE}?visibility=public`);
  expect(review).toMatch(/everybody.*pull/s);
  expect(await stored()).toMatchObject({ visibility: 'private' });
  await browser.post(PAGE, { what: 'visibility', version: '1', visibility: 'public' });
  expect(await stored()).toMatchObject({ visibility: 'public' });
  expect(await browser.page(`${PAGE}?visibility=private`)).toContain('Make private');
});

test('the rule for immutable tags is saved, and a wrong pattern is shown at its field', async () => {
  const rule = { what: 'tags', version: '1', mutability: 'IMMUTABLE', exclusions: 'latest, dev-*' };
  expect((await browser.post(PAGE, rule)).status).toBe(303);
  expect(await stored('/-/tag-mutability')).toEqual({
    imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION',
    imageTagMutabilityExclusionFilters: [
      { filterType: 'WILDCARD', filter: 'latest' },
      { filterType: 'WILDCARD', filter: 'dev-*' },
    ],
  });
  const refused = await browser.post(PAGE, { ...rule, version: '2', exclusions: '<b>' });
  expect([refused.status, (await refused.text()).includes('id="exclusions-error"')]).toEqual([400, true]);
});

test('the repository is deleted only if its name is typed', async () => {
  const refused = await browser.post(PAGE, { what: 'deletion', version: '1', confirm: 'alice/ap' });
  expect([refused.status, (await refused.text()).includes('id="confirm-error"')]).toEqual([400, true]);
  const deleted = await browser.post(PAGE, { what: 'deletion', version: '1', confirm: 'alice/api' });
  expect([deleted.status, (await browser.get(PAGE)).status]).toEqual([303, 404]);
});

test('who may only pull sees neither the page nor the tab, and changes nothing', async () => {
  const other = await browserOf(world, 'bob', bob.secret);
  expect((await other.get(PAGE)).status).toBe(404);
  await browser.post(PAGE, { what: 'visibility', version: '1', visibility: 'public' });
  expect(await other.page('/repositories/alice/api')).not.toContain('/-/settings');
  expect((await other.get(PAGE)).status).toBe(403);
  expect((await other.post(PAGE, { what: 'description', description: 'x' })).status).toBe(403);
  expect(await stored()).not.toMatchObject({ description: 'x' });
});
