/** The page about a repository: the overview is rendered when it is saved, and edited by its administrators. */
import { beforeEach, expect, test } from 'vitest';
import { type Browser, browserOf } from '../../world/browser.ts';
import { api, inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

const PAGE = '/repositories/alice/api/-/about';

let alice: Person;
let bob: Person;
const fresh = builtOnce(async (built) => {
  alice = await inviteUser(built, 'alice');
  bob = await inviteUser(built, 'bob');
  const body = { visibility: 'public', overview: '# Shop\n\n<script>alert(1)</script>' };
  await api(built, 'PUT', '/repositories/alice/api', { as: alice.basic, body });
});

let world: World;
let browser: Browser;
beforeEach(async () => {
  world = await fresh();
  browser = await browserOf(world, 'alice', alice.secret);
});

const stored = async () => (await api(world, 'GET', '/repositories/alice/api', { as: alice.basic })).body;

test('the overview that the API saved is shown rendered, and HTML in it as text', async () => {
  const page = await browser.page(PAGE);
  expect(page).toContain('<h3>Shop</h3>\n<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>');
  expect(page).toContain('?edit=1');
});

test('it is previewed without being saved, and then saved', async () => {
  expect(await browser.page(`${PAGE}?edit=1`)).toContain('# Shop\n\n&lt;script&gt;');
  const preview = await browser.post(PAGE, { overview: '**New**', version: '1', preview: '1' });
  const text = await preview.text();
  expect([preview.status, text.includes('<strong>New</strong>'), text.includes('**New**</textarea>')]).toEqual([
    200,
    true,
    true,
  ]);
  expect(await stored()).toMatchObject({ overview: '# Shop\n\n<script>alert(1)</script>' });
  const saved = await browser.post(PAGE, { overview: '**New**\r\nline', version: '1' });
  expect([saved.status, saved.headers.get('location')]).toEqual([303, `${PAGE}?notice=saved`]);
  expect(await stored()).toMatchObject({ overview: '**New**\nline' });
  expect(await browser.page(PAGE)).toContain('<p><strong>New</strong>\nline</p>');
});

test('a stale or too large overview comes back to be changed', async () => {
  await browser.post(PAGE, { overview: 'First', version: '1' });
  const stale = await browser.post(PAGE, { overview: 'Second', version: '1' });
  expect([stale.status, (await stale.text()).includes('Second</textarea>')]).toEqual([412, true]);
  const table = `|${'a|'.repeat(500)}\n|${'-|'.repeat(500)}\n${'a\n'.repeat(60)}`;
  const large = await browser.post(PAGE, { overview: table, version: '2' });
  expect([large.status, (await large.text()).includes('id="overview-error"')]).toEqual([400, true]);
  expect(await stored()).toMatchObject({ overview: 'First' });
});

test('an overview from before rendering is rendered when it is first shown, and a change of the description keeps it', async () => {
  await world.env.DB.exec("UPDATE repository_pages SET overview = '*old*', overview_html = NULL, rendered_version = NULL");
  expect(await browser.page(PAGE)).toContain('<em>old</em>');
  const kept = 'SELECT overview_html FROM repository_pages WHERE rendered_version = version';
  await expect.poll(() => world.env.DB.prepare(kept).first('overview_html')).toBe('<p><em>old</em></p>\n');
  await api(world, 'PATCH', '/repositories/alice/api', { as: alice.basic, body: { description: 'x' } });
  expect(await world.env.DB.prepare(kept).first('overview_html')).toBe('<p><em>old</em></p>\n');
  // The previous version of the program counts the version, but does not render.
  await world.env.DB.exec("UPDATE repository_pages SET overview = '*newer*', version = version + 1");
  expect(await browser.page(PAGE)).toContain('<em>newer</em>');
});

test('a reader sees the overview but no control, and is refused when posting', async () => {
  const other = await browserOf(world, 'bob', bob.secret);
  const page = await other.page(`${PAGE}?edit=1`);
  expect([page.includes('<h3>Shop</h3>'), page.includes('edit=1'), page.includes('<textarea')]).toEqual([true, false, false]);
  expect((await other.post(PAGE, { overview: 'mine' })).status).toBe(403);
  expect((await other.get('/repositories/alice/none/-/about')).status).toBe(404);
});
