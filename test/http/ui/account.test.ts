/** The pages of the reader's own account: keys, login passwords, invitations, and how the console looks. */
import { beforeEach, describe, expect, test } from 'vitest';
import { Browser, browserOf } from '../../world/browser.ts';
import { makeAcme } from '../../world/organizations.ts';
import { api, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

let owner: Person;
let outsider: Person;
const fresh = builtOnce(async (built) => {
  ({ owner, outsider } = await makeAcme(built));
});

let world: World;
beforeEach(async () => {
  world = await fresh();
});

const secretIn = (page: string) => /data-secret[^>]*><div class="command"><pre[^>]*><code>([^<]*)</.exec(page)?.[1] ?? '';

describe('the account', () => {
  test('shows who the reader is, and sends strangers to sign in', async () => {
    const page = await (await browserOf(world, owner.name, owner.secret)).page('/account');
    expect(page).toContain('<h1>owner1</h1>');
    expect(page).toContain('<a href="/organizations/acme">acme</a> <span class="chip plain">owner</span>');
    expect((await new Browser(world).get('/account')).headers.get('location')).toBe('/sign-in?next=%2Faccount');
  });

  test('keeps colours and keys in the browser, and the server writes them into the page', async () => {
    const browser = await browserOf(world, owner.name, owner.secret);
    const saved = await browser.post('/account/appearance', { theme: 'dark' });
    expect(saved.headers.getSetCookie()).toEqual([
      'berth-theme=dark; Path=/; SameSite=Lax; Max-Age=31536000; Secure',
      'berth-keys=off; Path=/; SameSite=Lax; Max-Age=31536000; Secure',
    ]);
    const cookie = `${browser.cookie}; berth-theme=dark; berth-keys=off`;
    expect(await (await browser.get('/account', { cookie })).text()).toContain('<html lang="en" data-theme="dark">');
    const other = { cookie: `${browser.cookie}; berth-theme="><script>` };
    expect(await (await browser.get('/account', other)).text()).toContain('<html lang="en">');
  });

  test('lists invitations, which are accepted or declined', async () => {
    await api(world, 'PUT', `/organizations/acme/members/${outsider.name}`, { as: owner.basic, body: { role: 'member' } });
    const browser = await browserOf(world, outsider.name, outsider.secret);
    expect(await browser.page('/account')).toContain('action="/account/invitations/acme"');
    const joined = await browser.post('/account/invitations/acme', { accept: 'yes' });
    expect([joined.status, joined.headers.get('location')]).toEqual([303, '/organizations/acme?notice=joined']);
    const again = await browser.post('/account/invitations/acme', { accept: 'yes' });
    expect([again.status, (await again.text()).includes('class="notice bad"')]).toEqual([409, true]);
    expect((await browser.post('/account/invitations/acme', { decline: 'yes' })).headers.get('location')).toContain('declined');
  });
});

describe('access keys', () => {
  test('are made with an access key typed again, shown once, and limited by a preset or by JSON', async () => {
    const browser = await browserOf(world, owner.name, owner.secret);
    const fields = { name: '<script>\u202e', days: '7', rights: 'pull only', repositories: 'acme/* acme/api' };
    const unconfirmed = await browser.post('/account/keys/-/new', { ...fields, name: 'laptop' });
    expect([unconfirmed.status, secretIn(await unconfirmed.text())]).toEqual([401, '']);
    const foreign = await browser.post('/account/keys/-/new', { ...fields, name: 'laptop', password: outsider.secret });
    expect([foreign.status, (await foreign.text()).includes('value="laptop"')]).toEqual([403, true]);
    const made = await browser.post('/account/keys/-/new', { ...fields, name: '<script>', password: owner.secret });
    const page = await made.text();
    expect([made.status, page.includes('<script>'), page.includes('&lt;script&gt;')]).toEqual([200, false, true]);
    const as = `Bearer ${secretIn(page)}`;
    expect((await api(world, 'GET', '/me', { as })).body).toMatchObject({ credential: { narrowed: true } });
    expect(await browser.page('/account/keys')).not.toContain(secretIn(page));
    const statements = '[{"actions": ["pull"], "repositories": ["acme/*"]}';
    const json = { name: 'json', statements, password: owner.secret };
    expect(await (await browser.post('/account/keys/-/new', json)).text()).toContain('not valid JSON');
    expect((await browser.post('/account/keys/-/new', { ...json, statements: `${statements}]` })).status).toBe(200);
  });

  test('are the same key if the form is sent twice', async () => {
    const browser = await browserOf(world, owner.name, owner.secret);
    const once = /name="once" value="([^"]+)"/.exec(await browser.page('/account/keys/-/new'))?.[1] ?? '';
    const fields = { name: 'laptop', once, password: owner.secret };
    const [first, second] = [
      await browser.post('/account/keys/-/new', fields),
      await browser.post('/account/keys/-/new', fields),
    ];
    expect(secretIn(await second.text())).toBe(secretIn(await first.text()));
  });

  test('are renamed and limited, unless somebody else has changed them', async () => {
    const browser = await browserOf(world, owner.name, owner.secret);
    const path = `/keys/${owner.keyId}`;
    const [, version = ''] = /name="version" value="(\d+)"/.exec(await browser.page(path)) ?? [];
    const change = { version, name: 'Desk', statements: '' };
    expect((await browser.post(path, { ...change, statements: '{' })).status).toBe(400);
    expect((await browser.post(path, change)).headers.get('location')).toBe(`${path}?notice=saved`);
    expect((await browser.post(path, change)).status).toBe(412);
    const stranger = await browserOf(world, outsider.name, outsider.secret);
    expect((await stranger.post(path, { name: 'x', statements: '' })).status).toBe(404);
  });

  test('are replaced and revoked; strangers see none of it', async () => {
    const browser = await browserOf(world, owner.name, owner.secret);
    const made = await browser.post(`/keys/${owner.keyId}/rotation`, { overlap: '0', password: owner.secret });
    const secret = secretIn(await made.text());
    expect((await api(world, 'GET', '/me', { as: `Bearer ${secret}` })).status).toBe(200);
    expect((await browser.get('/account')).headers.get('location')).toContain('/sign-in');
    const again = await browserOf(world, owner.name, secret);
    const id = secret.split('_')[1] ?? '';
    expect(await again.page('/account/keys')).toContain(`href="/keys/${id}"`);
    const wrong = await again.post(`/keys/${id}/revocation`, { confirm: 'nothing' });
    expect([wrong.status, (await wrong.text()).includes('aria-invalid="true"')]).toEqual([400, true]);
    const stranger = await browserOf(world, outsider.name, outsider.secret);
    expect((await stranger.get(`/keys/${id}`)).status).toBe(404);
    expect((await stranger.post(`/keys/${id}/revocation`, { confirm: id })).status).toBe(404);
    const revoked = await again.post(`/keys/${id}/revocation`, { confirm: id });
    expect([revoked.status, revoked.headers.get('location')]).toEqual([303, '/account/keys?notice=revoked']);
  });
});

test('a login password is shown once, as a whole command', async () => {
  const browser = await browserOf(world, owner.name, owner.secret);
  expect(await browser.page('/account/logins')).toContain('docker login -u owner1 registry.test');
  const refused = await browser.post('/account/logins', { lifetime: '3600', password: 'wrong' });
  expect([refused.status, (await refused.text()).includes('role="alert"')]).toEqual([401, true]);
  const made = await browser.post('/account/logins', { lifetime: '3600', password: owner.secret });
  const command = secretIn(await made.text());
  const [, token = ''] = /^echo (\S+) \| docker login -u owner1 --password-stdin registry\.test$/.exec(command) ?? [];
  expect((await api(world, 'GET', '/me', { as: `Bearer ${token}` })).body).toMatchObject({ credential: { kind: 'login' } });
});
