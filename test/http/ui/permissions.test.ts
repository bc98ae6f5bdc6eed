/** The pages about who may use a repository: rights are given, reviewed, saved, taken and explained. */
import { beforeEach, expect, test } from 'vitest';
import { type Browser, browserOf } from '../../world/browser.ts';
import { api, inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

const PAGE = '/repositories/alice/api/-/permissions';

let alice: Person;
let bob: Person;
const fresh = builtOnce(async (built) => {
  alice = await inviteUser(built, 'alice');
  bob = await inviteUser(built, 'bob');
  await api(built, 'PUT', '/repositories/alice/api', { as: alice.basic, body: {} });
});

let world: World;
let browser: Browser;
beforeEach(async () => {
  world = await fresh();
  browser = await browserOf(world, 'alice', alice.secret);
});

const stored = async () =>
  (await api<{ statements: unknown[] }>(world, 'GET', '/repositories/alice/api/-/policy', { as: alice.basic })).body.statements;

/** The fields of the form of a review, which saves what was reviewed. */
function reviewed(page: string): Record<string, string> {
  const text = (name: string) =>
    (new RegExp(`name="${name}" value="([^"]*)"`).exec(page)?.[1] ?? '').replaceAll('&quot;', '"').replaceAll('&amp;', '&');
  return { what: 'save', statements: text('statements'), version: text('version') };
}

test('a right is given after a review of who gains and loses, and is then in the list', async () => {
  expect(await browser.page(PAGE)).toContain('Nobody has a right from this repository alone');
  const give = { what: 'give', principal: 'bob', preset: 'push and pull', tags: 'v*', version: '1' };
  const review = await (await browser.post(PAGE, give)).text();
  expect(review).toMatch(/bob.*pull.*push v\*.*move tags v\*/s);
  expect(await stored()).toEqual([]);
  const saved = await browser.post(PAGE, reviewed(review));
  expect([saved.status, saved.headers.get('location')]).toEqual([303, `${PAGE}?notice=saved`]);
  expect(await stored()).toEqual([
    { effect: 'allow', actions: ['pull'], principals: ['user:bob'] },
    { effect: 'allow', actions: ['push', 'retag'], principals: ['user:bob'], tags: ['v*'] },
  ]);
  expect(await browser.page(PAGE)).toMatch(/bob.*push and pull.*only tags v\*/s);
});

test('another preset replaces the rights of one principal, and removing takes all of them', async () => {
  const statements = [
    { actions: 'all actions', principals: ['user:bob', 'team:acme/dev'] },
    { effect: 'deny', actions: ['delete'], principals: ['user:bob'] },
  ];
  await api(world, 'PUT', '/repositories/alice/api/-/policy', { as: alice.basic, body: { statements } });
  const less = await (await browser.post(PAGE, { what: 'give', principal: 'user:bob', preset: 'pull only' })).text();
  expect(JSON.parse(reviewed(less).statements ?? '')).toMatchObject([
    { principals: ['team:acme/dev'] },
    { effect: 'deny', principals: ['user:bob'] },
    { actions: ['pull'], principals: ['user:bob'] },
  ]);
  const none = await (await browser.post(PAGE, { what: 'remove', principal: 'user:bob' })).text();
  expect(JSON.parse(reviewed(none).statements ?? '')).toMatchObject([{ principals: ['team:acme/dev'] }]);
});

test('statements that are wrong or overtaken come back, and nothing is saved', async () => {
  for (const statements of ['{', '[{"actions":["fly"],"principals":["*"]}]', '[{"effect":"<script>"}]']) {
    const refused = await browser.post(PAGE, { what: 'statements', statements, version: '1' });
    const text = await refused.text();
    expect([refused.status, text.includes('id="statements-error"'), text.includes('<script>"')]).toEqual([400, true, false]);
  }
  const wrong = await browser.post(PAGE, { what: 'give', principal: 'team:acme', preset: 'pull only' });
  expect([wrong.status, (await wrong.text()).includes('id="principal-error"')]).toEqual([400, true]);
  const version = reviewed(
    await (await browser.post(PAGE, { what: 'give', principal: 'bob', preset: 'pull only', version: '0' })).text(),
  );
  const stale = await browser.post(PAGE, version);
  expect([stale.status, (await stale.text()).includes('Start from what is saved now')]).toEqual([412, true]);
  expect(await stored()).toEqual([]);
});

test('a statement with conditions is not shown as a right, and another right leaves it as it is', async () => {
  const conditional = {
    effect: 'allow',
    actions: ['pull'],
    principals: ['user:carol'],
    conditions: [{ operator: 'IpAddress', key: 'aws:SourceIp', values: ['203.0.113.0/24'] }],
  };
  await api(world, 'PUT', '/repositories/alice/api/-/policy', { as: alice.basic, body: { statements: [conditional] } });
  const page = await browser.page(PAGE);
  expect(page).toContain('Nobody has a right from this repository alone');
  expect(page).toContain('1 more statement applies under conditions, or with exceptions');
  const review = await (await browser.post(PAGE, { what: 'give', principal: 'bob', preset: 'pull only' })).text();
  expect(JSON.parse(reviewed(review).statements ?? '')).toEqual([
    conditional,
    { effect: 'allow', actions: ['pull'], principals: ['user:bob'] },
  ]);
});

test('rights from elsewhere are shown to those who may know them', async () => {
  await api(world, 'PUT', '/users/bob/policy', { body: { statements: [{ actions: 'pull only', repositories: ['alice/*'] }] } });
  expect(await browser.page(PAGE)).not.toContain('the policy of the user');
  const page = await (await browserOf(world)).page(PAGE);
  expect(page).toMatch(/alice.*all actions.*owner of the namespace.*bob.*pull only.*the policy of the user/s);
});

test('a question is answered with the statements that decide', async () => {
  await browser.post(PAGE, { what: 'save', statements: '[{"actions":["pull"],"principals":["user:bob"]}]' });
  const yes = await browser.page(`${PAGE}/explain?principal=bob&action=pull`);
  expect(yes).toMatch(/yes<\/span>.*bob.*may.*pull.*allowed by repository:alice\/api/s);
  const no = await browser.page(`${PAGE}/explain?principal=bob&action=push&tag=v1`);
  expect(no).toMatch(/no<\/span>.*may not.*push v1/s);
  const wrong = await browser.get(`${PAGE}/explain?principal=%3Cb%3E&action=pull`);
  expect([wrong.status, (await wrong.text()).includes('value="<b>"')]).toEqual([400, false]);
});

test('only administrators of the repository may see or change permissions', async () => {
  const other = await browserOf(world, 'bob', bob.secret);
  expect((await other.get(PAGE)).status).toBe(404);
  await browser.post(PAGE, { what: 'save', statements: '[{"actions":["pull"],"principals":["user:bob"]}]' });
  expect((await other.get(PAGE)).status).toBe(403);
  expect((await other.get(`${PAGE}/explain`)).status).toBe(403);
  expect((await other.post(PAGE, { what: 'save', statements: '[]' })).status).toBe(403);
  expect(await stored()).toHaveLength(1);
});
