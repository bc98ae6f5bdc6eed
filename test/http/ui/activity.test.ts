/** The pages of activity: of a repository, an organization, the registry, and oneself. */
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
  await pushImage(built, 'acme/api', 'v2');
  await api(built, 'PATCH', '/repositories/acme/api', { as: alice.basic, body: { visibility: 'public' } });
});

let world: World;
beforeEach(async () => {
  world = await fresh();
});

const LOG = '/repositories/acme/api/-/activity';

test('an owner sees what happened in a repository and its organization, in sentences', async () => {
  const browser = await browserOf(world, 'alice', alice.secret);
  const page = await browser.page(LOG);
  expect(page).toContain('<b>admin</b> pushed <a class="mono" href="/repositories/acme/api/-/tags/v1">acme/api:v1</a>');
  expect(page).toContain('/api/v1/events?repository=acme%2Fapi');
  expect(await browser.page('/organizations/acme/activity')).toContain('created the organization <code>acme</code>');
});

test('filters narrow the list, and stay in the form and the links', async () => {
  const browser = await browserOf(world, 'alice', alice.secret);
  const tagged = await browser.page(`${LOG}?tag=v2&actor=admin&since=2020-01-01&until=2099-01-01`);
  expect(tagged).toContain('acme/api:v2');
  expect(tagged).not.toContain('acme/api:v1');
  expect(tagged).toContain('value="2020-01-01"');
  expect(await browser.page(`${LOG}?actor=bob`)).toContain('No event matches');
  const wrong = await browser.get(`${LOG}?since=%3Cscript%3E`);
  expect([wrong.status, (await wrong.text()).includes('<script>')]).toEqual([400, false]);
});

test('without a repository, others see what they did, and an administrator sees everything', async () => {
  const page = await (await browserOf(world, 'alice', alice.secret)).page('/activity');
  expect(page).toContain('What you did.');
  expect(page).not.toContain('acme/api:v1');
  expect((await (await browserOf(world, 'alice', alice.secret)).get('/activity?actor=admin')).status).toBe(403);
  expect(await (await browserOf(world)).page('/activity')).toContain('acme/api:v1');
});

test('a member who may only pull is refused, and sees no link', async () => {
  const browser = await browserOf(world, 'bob', bob.secret);
  expect((await browser.get(LOG)).status).toBe(403);
  expect((await browser.get('/organizations/acme/activity')).status).toBe(403);
  expect(await browser.page('/repositories/acme/api')).not.toContain(LOG);
});
