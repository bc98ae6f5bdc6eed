/** The list of tags, the deletion of several, and the history of a tag with the way back. */
import { beforeEach, describe, expect, test } from 'vitest';
import { type Browser, browserOf } from '../../world/browser.ts';
import { type Content, pushImage } from '../../world/images.ts';
import { makeAcme, makeTeam } from '../../world/organizations.ts';
import { api, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

const REPOSITORY = 'acme/api';
const LIST = `/repositories/${REPOSITORY}`;
const PAGE = `${LIST}/-`;

let owner: Person;
let reader: Person;
let outsider: Person;
let first: Content;
let second: Content;
const fresh = builtOnce(async (built) => {
  ({ owner, outsider, member: reader } = await makeAcme(built));
  await makeTeam(built, 'acme', 'readers', [reader], [{ effect: 'allow', actions: ['pull'], repositories: [REPOSITORY] }]);
  first = await pushImage(built, REPOSITORY, 'v1', 1);
  second = await pushImage(built, REPOSITORY, 'v1', 2);
  await pushImage(built, REPOSITORY, 'v2', 2);
});

let world: World;
beforeEach(async () => {
  world = await fresh();
});

const as = (person: Person): Promise<Browser> => browserOf(world, person.name, person.secret);
const etagIn = (page: string) => (/name="etag" value="([^"]*)"/.exec(page)?.[1] ?? '').replaceAll('&quot;', '"');
const tagsNow = async () =>
  (await api<{ items: { tag: string; digest: string }[] }>(world, 'GET', `${LIST}/-/tags`)).body.items;

describe('the list of tags', () => {
  test('shows the command for the newest tag, where a tag came from, and the tags of signatures only if they are wanted', async () => {
    const signature = `${first.digest.replace(':', '-')}.sig`;
    await pushImage(world, REPOSITORY, signature, 3);
    const browser = await as(reader);
    const short = await browser.page(LIST);
    expect(short).not.toContain(signature);
    expect(short).toMatch(/name="attached" value="true"\/>.*Show tags of signatures <span class="count">1</s);
    const page = await browser.page(`${LIST}?attached=true`);
    expect(page).toMatch(/docker pull registry\.test\/acme\/api:v[12]</);
    expect(page).toContain(`moved from ${first.digest.slice(0, 19)}`);
    expect(page).toContain('1 tag of signatures and attestations on this page');
    expect(page).toContain(signature);
    expect(page).not.toContain('type="checkbox" name="tag"');
  });

  test('lets those who may delete select tags, but no immutable ones', async () => {
    await api(world, 'PUT', `${LIST}/-/tag-mutability`, {
      body: {
        imageTagMutability: 'MUTABLE_WITH_EXCLUSION',
        imageTagMutabilityExclusionFilters: [{ filterType: 'WILDCARD', filter: 'v1' }],
      },
    });
    const page = await (await as(owner)).page(LIST);
    expect(page).toContain('aria-label="Select v2"');
    expect(page).not.toContain('aria-label="Select v1"');
  });
});

describe('a deletion', () => {
  test('says what would go, and then takes exactly that', async () => {
    const browser = await as(owner);
    const keep = await browser.page(`${PAGE}/deletion?tag=v1&tag=v2`);
    expect(keep).toContain('Only names go: the images stay');
    expect(keep).toContain('Also what nothing else holds then (1)');
    const preview = await browser.page(`${PAGE}/deletion?tag=v1&tag=v2&orphans=delete`);
    expect(preview).toContain('Delete 2 tags and 1 manifest');
    expect(preview).toMatch(/This repository gives up [1-9]\d* B/);
    expect(await tagsNow()).toHaveLength(2);
    const sent: [string, string][] = [
      ['tag', 'v1'],
      ['tag', 'v2'],
      ['orphans', 'delete'],
      ['etag', etagIn(preview)],
    ];
    const response = await browser.post(`${PAGE}/deletion`, sent);
    expect([response.status, response.headers.get('location')]).toEqual([303, `${LIST}?notice=content-deleted`]);
    expect(await tagsNow()).toEqual([]);
    expect((await browser.get(`${PAGE}/images/${second.digest}`)).status).toBe(404);
  });

  test('takes nothing if something changed since the preview, and shows the preview anew', async () => {
    const browser = await as(owner);
    const etag = etagIn(await browser.page(`${PAGE}/deletion?tag=v1`));
    await pushImage(world, REPOSITORY, 'v1', 4);
    const response = await browser.post(`${PAGE}/deletion`, { tag: 'v1', orphans: 'keep', etag });
    const page = await response.text();
    expect([response.status, page.includes('role="alert"'), etagIn(page) !== etag]).toEqual([412, true, true]);
    expect(await tagsNow()).toHaveLength(2);
  });

  test('without a choice, or of what is not there, says so', async () => {
    const browser = await as(owner);
    expect(await browser.page(`${PAGE}/deletion`)).toContain('No tag is selected');
    const response = await browser.get(`${PAGE}/deletion?tag=none`);
    expect([response.status, (await response.text()).includes('This cannot be deleted')]).toEqual([404, true]);
    expect((await browser.get(`${PAGE}/deletion?tag=%3Cscript%3E`)).status).toBe(400);
  });

  test('is for those who may delete', async () => {
    for (const [person, status] of [
      [reader, 403],
      [outsider, 404],
    ] as const) {
      const browser = await as(person);
      expect((await browser.get(`${PAGE}/deletion?tag=v1`)).status).toBe(status);
      expect((await browser.post(`${PAGE}/deletion`, { tag: 'v1' })).status).toBe(status);
    }
    expect(await tagsNow()).toHaveLength(2);
  });
});

describe('the history of a tag', () => {
  const history = `${PAGE}/tags/v1/history`;

  test('says what it named, and rolls it back', async () => {
    const browser = await as(owner);
    const page = await browser.page(history);
    for (const text of [first.digest, second.digest, 'moved', 'created', '>Roll back<']) expect(page).toContain(text);
    const response = await browser.post(history, { point: '1', now: second.digest });
    expect([response.status, response.headers.get('location')]).toEqual([303, `${history}?notice=rolled-back`]);
    expect((await tagsNow()).find(({ tag }) => tag === 'v1')?.digest).toBe(first.digest);
  });

  test('changes nothing if the tag was moved since it was shown, or the point is none', async () => {
    const browser = await as(owner);
    expect((await browser.post(history, { point: '1', now: first.digest })).status).toBe(412);
    expect((await browser.post(history, { point: 'x', now: second.digest })).status).toBe(400);
    expect((await tagsNow()).find(({ tag }) => tag === 'v1')?.digest).toBe(second.digest);
  });

  test('is read by those who may pull, and rolled back by those who may push', async () => {
    const browser = await as(reader);
    expect(await browser.page(history)).not.toContain('Roll back');
    expect((await browser.post(history, { point: '1', now: second.digest })).status).toBe(403);
    expect((await (await as(outsider)).get(history)).status).toBe(404);
  });
});
