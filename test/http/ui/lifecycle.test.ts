/** The pages of lifecycle rules. */
import { beforeEach, describe, expect, test } from 'vitest';
import { ruleText, usualOf } from '../../../src/http/ui/lifecycle/rules.ts';
import { browserOf } from '../../world/browser.ts';
import { pushImage } from '../../world/images.ts';
import { api, inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

const PAGE = '/repositories/alice/api/-/lifecycle';

let alice: Person;
let reader: Person;
const fresh = builtOnce(async (built) => {
  alice = await inviteUser(built, 'alice');
  reader = await inviteUser(built, 'reader');
  for (const [n, tag] of ['v1', 'v2', 'v3'].entries()) await pushImage(built, 'alice/api', tag, n + 1);
  const statements = [{ effect: 'allow', actions: ['pull'], principals: ['user:reader'] }];
  await api(built, 'PUT', '/repositories/alice/api/-/policy', { as: alice.basic, body: { statements } });
});

let world: World;
beforeEach(async () => {
  world = await fresh();
});

const USUAL = { untaggedDays: '7', newest: '1', patterns: 'pr-*', patternDays: '14', keep: 'release-*' };
const saved = async () => (await api<{ policy: unknown }>(world, 'GET', PAGE, { as: alice.basic })).body.policy;

test('the usual rules are previewed as a draft, saved, previewed and run exactly', async () => {
  const browser = await browserOf(world, 'alice', alice.secret);
  expect(await browser.page(PAGE)).toContain('No rules');
  const draft = await (await browser.post(`${PAGE}/preview`, { ...USUAL, version: '0' })).text();
  expect(draft).toContain('Save these rules');
  expect(draft).toMatch(/\/tags\/v[12]"/);
  expect((await browser.post(PAGE, { ...USUAL, version: '0' })).headers.get('location')).toBe(`${PAGE}?notice=saved`);
  const page = await browser.page(PAGE);
  expect(page).toContain('Delete tags matching pr-* that were pushed more than 14 days ago');
  expect(page).toContain('value="pr-*"');
  const preview = await browser.page(`${PAGE}/preview`);
  const etag = /name="etag" value="([^"]*)"/.exec(preview)?.[1]?.replaceAll('&quot;', '"') ?? '';
  await pushImage(world, 'alice/api', 'v4', 4);
  const refused = await browser.post(`${PAGE}/run`, { etag });
  expect([refused.status, (await refused.text()).includes('role="alert"')]).toEqual([412, true]);
  const now = /name="etag" value="([^"]*)"/.exec(await browser.page(`${PAGE}/preview`))?.[1]?.replaceAll('&quot;', '"') ?? '';
  expect((await browser.post(`${PAGE}/run`, { etag: now })).headers.get('location')).toBe(`${PAGE}?notice=rules-ran`);
  const tags = await browser.page('/repositories/alice/api');
  expect(new Set(tags.match(/\/tags\/v\d(?=")/g)).size).toBe(1);
});

test('a form that is wrong comes back filled in, and changes nothing', async () => {
  const browser = await browserOf(world, 'alice', alice.secret);
  const wrong = await browser.post(PAGE, { ...USUAL, newest: 'many', version: '0' });
  const text = await wrong.text();
  expect([wrong.status, text.includes('id="newest-error"'), text.includes('value="many"')]).toEqual([400, true, true]);
  const json = await browser.post(PAGE, { json: '{"rules": [<script>', version: '0' });
  expect([json.status, (await json.text()).includes('[&lt;script&gt;')]).toEqual([400, true]);
  expect(await saved()).toBeUndefined();
});

test('rules that the form cannot say are edited as JSON, and somebody else who saved first is not overwritten', async () => {
  const browser = await browserOf(world, 'alice', alice.secret);
  const rules = [
    { rulePriority: 5, selection: { tagStatus: 'tagged', tagSemverRange: '^1' }, action: { type: 'keep' }, description: '<b>' },
  ];
  const json = JSON.stringify({ rules });
  expect((await browser.post(PAGE, { json, version: '0' })).status).toBe(303);
  const page = await browser.page(PAGE);
  expect(page).toContain('more than the form for the usual ones can say');
  expect(page).toContain('<bdi>&lt;b&gt;</bdi>');
  expect((await browser.post(PAGE, { json, version: '0' })).status).toBe(412);
  expect((await browser.post(`${PAGE}/deletion`, { version: '1' })).status).toBe(303);
  expect(await saved()).toBeUndefined();
});

test('a reader sees the rules and no control, and is refused', async () => {
  await api(world, 'PUT', PAGE, {
    as: alice.basic,
    body: {
      rules: [
        {
          rulePriority: 1,
          selection: { tagStatus: 'untagged', countType: 'sinceImagePushed', countUnit: 'days', countNumber: 1 },
          action: { type: 'expire' },
        },
      ],
    },
  });
  const browser = await browserOf(world, 'reader', reader.secret);
  const page = await browser.page(PAGE);
  expect(page).toContain('Delete untagged images that were pushed more than 1 day ago');
  expect(page).not.toContain('<textarea');
  expect((await browser.post(PAGE, { ...USUAL, version: '1' })).status).toBe(403);
  expect((await browser.get(`${PAGE}/preview`)).status).toBe(403);
});

describe('a rule in words', () => {
  const rule = (selection: object, action: object = { type: 'expire' }) =>
    ({ rulePriority: 1, selection: { tagStatus: 'tagged', ...selection }, action }) as Parameters<typeof ruleText>[0];

  test.each([
    [
      rule({ tagPrefixList: ['a', 'b'], countType: 'imageCountMoreThan', countNumber: 5 }),
      'Delete tags that begin with a or b, except the newest 5',
    ],
    [
      rule({ tagStatus: 'any', countType: 'sinceImagePulled', countNumber: 1 }),
      'Delete all tags and untagged images that nobody pulled for 1 day',
    ],
    [rule({ tagSemverRange: '^1', countNumber: 3 }, { type: 'keep' }), 'Keep tags that are versions in ^1, the highest 3'],
    [rule({ tagPatternList: ['v*'] }, { type: 'keep' }), 'Keep tags matching v*'],
    [
      rule(
        { tagPatternList: ['v*'], countType: 'sinceImagePushed', countNumber: 2 },
        { type: 'expire', includeImmutable: true },
      ),
      'Delete tags matching v* that were pushed more than 2 days ago, immutable tags too',
    ],
  ])('%#', (one, text) => expect(ruleText(one)).toBe(text));

  test('is a field of the form only if the form says the same', () => {
    expect(usualOf({ rules: [rule({ tagPatternList: ['v*'] }, { type: 'keep' })] })?.keep).toBe('v*');
    expect(usualOf({ rules: [rule({ tagPatternList: ['v*', '*1'] }, { type: 'keep' })] })).toBeNull();
  });
});
