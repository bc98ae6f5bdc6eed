/** The page about a repository: the overview is rendered when it is saved, and edited by its administrators. */
import { beforeEach, expect, test } from 'vitest';
import { Browser, browserOf } from '../../world/browser.ts';
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
  expect([page.includes('<h3>Shop</h3>'), page.includes('edit=1'), page.includes('name="overview"')]).toEqual([
    true,
    false,
    false,
  ]);
  expect((await other.post(PAGE, { overview: 'mine' })).status).toBe(403);
  expect((await other.get('/repositories/alice/none/-/about')).status).toBe(404);
});

test('a star is given and taken back', async () => {
  const other = await browserOf(world, 'bob', bob.secret);
  expect(await other.page(PAGE)).toMatch(/aria-pressed="false".*Star<span class="count">0/s);
  const given = await other.post('/repositories/alice/api/-/star', { starred: 'yes' });
  expect([given.status, given.headers.get('location')]).toEqual([303, PAGE]);
  expect(await other.page(PAGE)).toMatch(/aria-pressed="true".*Starred<span class="count">1/s);
  await other.post('/repositories/alice/api/-/star', { starred: 'no' });
  expect(await other.page(PAGE)).toContain('aria-pressed="false"');
});

test('a comment is written, changed and deleted by its author, and deleted by an administrator', async () => {
  const other = await browserOf(world, 'bob', bob.secret);
  const comments = '/repositories/alice/api/-/comments';
  const written = await other.post(comments, { text: '**good** <script>' });
  expect([written.status, written.headers.get('location')]).toEqual([303, `${PAGE}?last=2#comment-1`]);
  expect(await other.page(PAGE)).toContain('<strong>good</strong> &lt;script&gt;');
  expect(await other.page(`${PAGE}?comment=1`)).toContain('**good** &lt;script&gt;</textarea>');
  expect((await other.post(`${comments}/1`, { text: 'better' })).headers.get('location')).toContain('notice=saved');
  const empty = await other.post(comments, { text: ' ' });
  expect([empty.status, (await empty.text()).includes('id="text-error"')]).toEqual([400, true]);
  expect((await browser.post(`${comments}/1`, { text: 'mine' })).status).toBe(404);
  const moderator = await browser.page(`${PAGE}?comment=1`);
  expect([moderator.includes('Delete comment 1'), moderator.includes('Edit comment 1')]).toEqual([true, false]);
  expect((await browser.post(`${comments}/1`, { delete: '1' })).status).toBe(303);
  expect(await other.page(PAGE)).toContain('No comments yet.');
});

test('a reader who is not signed in is asked to sign in, and cannot write', async () => {
  const nobody = new Browser(world);
  const page = await nobody.page(PAGE);
  expect([page.includes('to comment.'), page.includes('<textarea'), page.includes('/-/star')]).toEqual([true, false, false]);
  expect((await nobody.post('/repositories/alice/api/-/comments', { text: 'x' })).headers.get('location')).toBe('/sign-in');
  expect((await nobody.post('/repositories/alice/api/-/star', { starred: 'yes' })).headers.get('location')).toBe('/sign-in');
});
