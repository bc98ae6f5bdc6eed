/** The files of two images, compared on the page and by the API. */
import { beforeEach, expect, test } from 'vitest';
import { browserOf } from '../../world/browser.ts';
import { counting } from '../../world/counting.ts';
import { CONFIG_TYPE, type Content, descriptorOf, IMAGE_TYPE, LAYER_TYPE, pushBlob, putManifest } from '../../world/images.ts';
import { api } from '../../world/people.ts';
import { type Member, tarOf } from '../../world/tar.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

const REPOSITORY = 'acme/api';
const PAGE = `/repositories/${REPOSITORY}/-/compare?from=v1&to=v2`;
const HOSTILE = '<script>alert(1)</script>\u202e';

let world: World;
let base: Content;
let readme: Content;

async function pushLayers(at: World, tag: string, layers: Content[]): Promise<void> {
  const config = await pushBlob(at, REPOSITORY, JSON.stringify({ os: 'linux', architecture: 'amd64', tag }));
  const document = { schemaVersion: 2, mediaType: IMAGE_TYPE, config: descriptorOf(config, CONFIG_TYPE) };
  const described = layers.map((layer) => descriptorOf(layer, LAYER_TYPE));
  expect((await putManifest(at, REPOSITORY, tag, { ...document, layers: described })).status).toBe(201);
}

const build = builtOnce(async (made) => {
  const push = (...members: Member[]) => pushBlob(made, REPOSITORY, tarOf(members));
  base = await push({ path: 'etc/passwd', content: 'root' }, { path: 'usr/bin/node', content: 'x'.repeat(9000) });
  readme = await pushBlob(made, REPOSITORY, 'read me');
  const first = await push({ path: 'app/server.js', content: 'one' }, { path: `app/${HOSTILE}` }, { path: 'app/same' });
  const second = await push({ path: 'app/server.js', content: 'three' }, { path: 'app/same' }, { path: 'etc/.wh.passwd' });
  await pushLayers(made, 'v1', [base, first]);
  await pushLayers(made, 'v2', [base, second]);
  await pushLayers(made, 'broken', [base, readme]);
});

beforeEach(async () => {
  world = await build();
});

test('the page offers to read the layers, and then lists the files that differ, as text', async () => {
  const browser = await browserOf(world);
  const before = await browser.page(PAGE);
  expect(before).toContain('is known once the archives of 3 layers with');
  expect(before).toMatch(/href="[^"]*files=read#files">Read 3 layers</);
  expect(before).not.toContain('server.js');
  const page = await browser.page(`${PAGE}&files=read`);
  expect(page).toContain('Files <span class="soft count">3 differences</span>');
  expect(page).toMatch(/0 files added, 2 removed, 1 changed/);
  expect(page).toMatch(/app\/server\.js<\/bdi>.*?changed<.*?3 B<.*?5 B</s);
  expect(page).toMatch(/etc\/passwd<\/bdi>.*?removed</s);
  expect(page).toContain('app/&lt;script&gt;alert(1)&lt;/script&gt;\u241b');
  for (const absent of ['app/same', 'usr/bin/node', '\u202e', '<script>alert']) expect(page).not.toContain(absent);
  // The lists are there now.
  expect(await browser.page(`${PAGE}&filter=PASSWD`)).toMatch(/etc\/passwd(?!.*server\.js)/s);
});

test('layers beyond the limit of one request are read by the next one', async () => {
  const least = Math.max(base.bytes.byteLength, 4000);
  const small = await browserOf(worldOf({ ...world.env, LAYER_FILES_BYTES: String(least) }));
  expect(await small.page(`${PAGE}&files=read`)).toMatch(/Read [12] layers?</);
  let page = '';
  for (let n = 0; n < 3; n++) page = await small.page(`${PAGE}&files=read`);
  expect(page).toContain('3 differences');
});

test('shared layers that are too large leave open what a file was before', async () => {
  const most = base.bytes.byteLength - 1;
  const { status, body } = await api<{ changes: { items: { path: string; change: string }[] }; unreadable: object[] }>(
    worldOf({ ...world.env, LAYER_FILES_BYTES: String(most) }),
    'GET',
    `/repositories/${REPOSITORY}/-/file-changes?from=v1&to=v2`,
  );
  expect(status).toBe(200);
  expect(body).toMatchObject({ sharedLayers: 1, sharedLayersRead: false, unreadable: [{ digest: base.digest }] });
  expect(body.changes.items.map(({ path, change }) => `${path} ${change}`)).toContain('etc/passwd removed');
});

test('a layer that is no archive is named, and the rest of the page is there', async () => {
  const page = await (await browserOf(world)).page(`/repositories/${REPOSITORY}/-/compare?from=v1&to=broken&files=read`);
  expect(page).toContain('The files cannot be compared.');
  expect(page).toContain(readme.digest);
  expect(page).toContain('no tar archive');
  expect(page).toContain('<h2 id="configuration">');
});

test('the API answers with the states of both, filters by path, and reads R2 once for each layer', async () => {
  const { env, counts } = counting(world.env);
  const path = `/repositories/${REPOSITORY}/-/file-changes?from=v1&to=v2&filter=SERVER`;
  const { status, body } = await api(worldOf(env), 'GET', path);
  expect(status).toBe(200);
  expect(body).toMatchObject({
    ...{ sharedLayers: 1, sharedLayersRead: true, unread: [], unreadable: [], truncated: false },
    changes: {
      ...{ added: 0, removed: 2, changed: 1, addedBytes: 5 },
      items: [{ path: 'app/server.js', change: 'changed', from: { kind: 'file', size: 3 }, to: { size: 5, target: null } }],
    },
  });
  expect(counts.r2Reads).toBe(3);
  expect(counts.rowsRead).toBeLessThanOrEqual(60);
});
