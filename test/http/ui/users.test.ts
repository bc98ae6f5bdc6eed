/** The pages of users: administrators see and change everybody, and for others the pages do not exist. */
import { beforeEach, expect, test } from 'vitest';
import { type Browser, browserOf } from '../../world/browser.ts';
import { api, inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

let alice: Person;
const fresh = builtOnce(async (built) => {
  alice = await inviteUser(built, 'alice');
});

let world: World;
let admin: Browser;
beforeEach(async () => {
  world = await fresh();
  admin = await browserOf(world);
});

const LINK = /https:\/\/registry\.test\/join#([\w.-]+)</;

test('the pages do not exist for other people, whether or not there is such a user', async () => {
  const browser = await browserOf(world, 'alice', alice.secret);
  const pages = ['/users', '/users/-/new', '/users/alice', '/users/admin', '/users/nobody9'];
  for (const path of pages) expect([path, (await browser.get(path)).status]).toEqual([path, 404]);
  expect((await browser.post('/users/admin', { disabled: 'true', version: '1' })).status).toBe(404);
  expect((await browser.post('/users/-/new', { name: 'eve' })).status).toBe(404);
  expect((await browser.post('/users/admin/logins', {})).status).toBe(404);
});

test('an administrator invites somebody by a link that is shown once', async () => {
  const made = await admin.post('/users/-/new', { name: 'bob', description: '<script>' });
  const page = await made.text();
  const token = LINK.exec(page)?.[1] ?? '';
  expect((await api(world, 'POST', '/invitations/accept', { as: null, body: { token } })).status).toBe(200);
  const list = await admin.page('/users?search=BO');
  expect([list.includes('&lt;script&gt;'), list.includes('<script>'), list.includes('/users/alice')]).toEqual([
    true,
    false,
    false,
  ]);
  const again = await admin.post('/users/-/new', { name: 'bob', description: 'x' });
  expect([again.status, (await again.text()).includes('value="bob"')]).toEqual([412, true]);
});

test('an administrator changes, logs out, disables and enables a user, and makes a new link', async () => {
  const post = async (below: string, fields: Record<string, string>) => {
    const response = await admin.post(`/users/alice${below}`, fields);
    return `${response.status} ${response.headers.get('location') ?? ''}`.trim();
  };
  const browser = await browserOf(world, 'alice', alice.secret);
  expect(await admin.page('/users/alice')).toContain(`href="/keys/${alice.keyId}"`);
  const version = /name="version" value="(\d+)"/.exec(await admin.page('/users/alice'))?.[1] ?? '';
  expect(await post('', { version, description: 'Alice', administrator: 'on' })).toBe('303 /users/alice?notice=saved');
  expect(await post('', { version, description: 'other' })).toBe('412');
  expect(await post('/logins', {})).toBe('303 /users/alice?notice=logged-out');
  expect((await browser.get('/account')).status).toBe(303);
  const next = String(Number(version) + 1);
  expect(await post('', { version: next, disabled: 'true' })).toBe('303 /users/alice?notice=saved');
  expect((await browser.signIn('alice', alice.secret)).status).toBe(401);
  expect(await post('/invitation', {})).toBe('409');
  expect(await post('', { version: String(Number(next) + 1), disabled: 'false' })).toContain('303');
  expect(await (await admin.post('/users/alice/invitation', {})).text()).toMatch(LINK);
});
