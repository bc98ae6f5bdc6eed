/** The pages of the trash. */
import { beforeEach, expect, test } from 'vitest';
import { browserOf } from '../../world/browser.ts';
import { pushImage } from '../../world/images.ts';
import { api, inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

const PAGE = '/repositories/alice/api/-/trash';

let alice: Person;
let reader: Person;
let digest: string;
const fresh = builtOnce(async (built) => {
  alice = await inviteUser(built, 'alice');
  reader = await inviteUser(built, 'reader');
  ({ digest } = await pushImage(built, 'alice/api', 'v1'));
  const statements = [{ effect: 'allow', actions: ['pull'], principals: ['user:reader'] }];
  await api(built, 'PUT', '/repositories/alice/api/-/policy', { as: alice.basic, body: { statements } });
  await api(built, 'DELETE', '/repositories/alice/api/-/tags/v1', { as: alice.basic });
});

let world: World;
beforeEach(async () => {
  world = await fresh();
});

test('a deleted tag is listed and restored', async () => {
  const browser = await browserOf(world, 'alice', alice.secret);
  const page = await browser.page(PAGE);
  expect(page).toContain('aria-label="Restore v1"');
  const response = await browser.post(`${PAGE}/restore`, { kind: 'tag', name: 'v1' });
  expect([response.status, response.headers.get('location')]).toEqual([303, `${PAGE}?notice=restored`]);
  expect(await browser.page('/repositories/alice/api')).toContain('/tags/v1"');
});

test('a tag is deleted for good only if its name is typed', async () => {
  const browser = await browserOf(world, 'alice', alice.secret);
  expect(await browser.page(`${PAGE}/purge?kind=tag&name=v1`)).toContain('Type v1 to confirm');
  const wrong = await browser.post(`${PAGE}/purge`, { kind: 'tag', name: 'v1', confirm: '<b>' });
  expect([wrong.status, (await wrong.text()).includes('value="&lt;b&gt;"')]).toEqual([400, true]);
  expect((await browser.post(`${PAGE}/purge`, { kind: 'tag', name: 'v1', confirm: 'v1' })).status).toBe(303);
  expect((await browser.post(`${PAGE}/restore`, { kind: 'tag', name: 'v1' })).status).toBe(404);
  for (const query of ['', '?kind=tag&name=%3Cscript%3E', `?kind=tag&name=${digest}`]) {
    expect((await browser.get(`${PAGE}/purge${query}`)).status).toBe(404);
  }
});

test('a reader is refused, and sees no link', async () => {
  const browser = await browserOf(world, 'reader', reader.secret);
  expect(await browser.page('/repositories/alice/api')).not.toContain(PAGE);
  expect((await browser.get(PAGE)).status).toBe(403);
  expect((await browser.post(`${PAGE}/restore`, { kind: 'tag', name: 'v1' })).status).toBe(403);
  expect((await browser.post(`${PAGE}/purge`, { kind: 'tag', name: 'v1', confirm: 'v1' })).status).toBe(403);
});

test('a deleted repository is restored or deleted for good by those who may, and is absent for others', async () => {
  await api(world, 'DELETE', '/repositories/alice/api?force=true', { as: alice.basic });
  const browser = await browserOf(world, 'alice', alice.secret);
  const entry = /\/trash\/(\d+)\/restore/.exec(await browser.page('/trash'))?.[1];
  const other = await browserOf(world, 'reader', reader.secret);
  expect(await other.page('/trash')).not.toContain('alice/api');
  expect((await other.get(`/trash/${entry}/purge`)).status).toBe(404);
  expect((await other.post(`/trash/${entry}/restore`, {})).status).toBe(404);
  expect((await browser.post(`/trash/${entry}/purge`, { confirm: 'alice' })).status).toBe(400);
  const restored = await browser.post(`/trash/${entry}/restore`, {});
  expect([restored.status, restored.headers.get('location')]).toEqual([303, '/repositories/alice/api?notice=restored']);
  await api(world, 'DELETE', '/repositories/alice/api?force=true', { as: alice.basic });
  expect((await browser.post(`/trash/${entry}/purge`, { confirm: 'alice/api' })).headers.get('location')).toBe(
    '/trash?notice=purged',
  );
});
