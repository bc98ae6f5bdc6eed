/** The page with the files of a layer. */
import { beforeEach, describe, expect, test } from 'vitest';
import { Browser, browserOf } from '../../world/browser.ts';
import { pushBlob } from '../../world/images.ts';
import { inviteUser, type Person } from '../../world/people.ts';
import { tarOf } from '../../world/tar.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

let alice: Person;
const fresh = builtOnce(async (built) => {
  alice = await inviteUser(built, 'alice');
});
let world: World;
beforeEach(async () => {
  world = await fresh();
});

const TAR = tarOf([
  { path: 'app/<script>alert(1)</script>\u202e', content: 'hello' },
  { path: 'etc/.wh.passwd' },
  { path: 'usr/bin/node', content: 'x'.repeat(3000), mode: 0o755 },
]);

async function gzipped(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Response(bytes).body?.pipeThrough(new CompressionStream('gzip'));
  return new Uint8Array(await new Response(stream as ReadableStream).arrayBuffer());
}

async function pageOf(bytes: Uint8Array<ArrayBuffer>, { query = '', of = world } = {}) {
  const { digest } = await pushBlob(world, 'acme/app', bytes);
  const browser = await browserOf(of);
  const response = await browser.get(`/repositories/acme/app/-/layers/${digest}${query}`);
  return { status: response.status, text: await response.text(), digest };
}

describe.each([
  ['gzip', gzipped],
  ['no compression', async (bytes: Uint8Array<ArrayBuffer>) => bytes],
])('with %s', (_, pack) => {
  test('the files are listed as text, with what the layer removes', async () => {
    const { status, text } = await pageOf(await pack(TAR));
    expect(status).toBe(200);
    expect(text).toContain('app/&lt;script&gt;alert(1)&lt;/script&gt;\u241b');
    expect(text).toContain('usr/bin/node');
    expect(text).toMatch(/etc\/passwd.*removed/s);
    expect(text).toContain('3 entries');
  });
});

/** Made by `tar` and `zstd -19 --check`. */
const ZSTD = [
  'KLUv/QRoBQsAgogaF4BtA8BwJTc9ikhQSYwef0VvfmFcPPSmzkikf4ZrkRZDYifHPtTk8RmlXfECHVbeD8NxVVsbdj/xJ7F2Xp75QwkILVCes9',
  'p5/zwkVdM5PpSqshGrTVN11bkdim3pmuauofnN8o68n0HIAWqgYUtBCgrKSFoDQIQYcoquxv2FHhizehPANBuAlKZrSOl1Vk7DcRa+EFPe0+36',
  '40c+3RFBzLG5WTr8a/yNofonzAKkRRXoLxfq3JsQkggnVJJ0Q44CGgW7+NRw+HLokIGm7OytjMRtEnHKmxKnU3fYv0MoOa3qnPAhywjAMo4JXh',
  'KtrLNoSx8LqDLgEFWdJvMBWWDjCdbN7koU58QJfuNiK3BEo+vZMYHuUEfXNYN3HXzJvX25PLyYda6eYPMIA4VxHX3dpg9uxHLtKNrYkmzoCa0X',
  'Tq3gyezUHnR9HEBSSjvUf27KD1wKAO23B/SAcyaQBmJtXLI=',
].join('');

describe('with zstd', () => {
  const layer = () => Uint8Array.from(atob(ZSTD), (character) => character.charCodeAt(0));

  test('the files are listed', async () => {
    const { status, text } = await pageOf(layer());
    expect(status).toBe(200);
    for (const words of ['app/server.js', 'usr/share/words', '3 entries']) expect(text).toContain(words);
    expect(text).toMatch(/etc\/passwd.*removed/s);
  });

  test.each<[string, (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>, string]>([
    ['that is cut', (bytes) => bytes.slice(0, 100), 'ends in the middle of its zstd data'],
    ['that is damaged', (bytes) => bytes.fill(7, 60, 90), 'no valid zstd'],
    [
      'with a huge window',
      (bytes) => Uint8Array.of(...bytes.slice(0, 4), 0, 0x88, ...bytes.slice(6)),
      'a window of 134217728 bytes',
    ],
  ])('one %s is told, and is no error of the registry', async (_, spoil, words) => {
    const { status, text } = await pageOf(spoil(layer()));
    expect([status, text.includes(words)]).toEqual([409, true]);
  });

  test('one that unpacks to far more than itself is read to a limit', async () => {
    // 3,000 blocks of 128 KiB each, of one byte that is repeated.
    const header = [0x28, 0xb5, 0x2f, 0xfd, 0, 0x38];
    const member = tarOf([{ path: 'zeros', size: 400_000_000 }]).subarray(0, 512);
    const blocks = Array.from({ length: 3000 }, () => [0x02, 0, 0x10, 0]).flat();
    const bomb = Uint8Array.of(...header, 512 << 3, (512 << 3) >> 8, 0, ...member, ...blocks, 1, 0, 0);
    const { status, text } = await pageOf(bomb);
    expect([status, text.includes('more entries than are read'), text.includes('zeros')]).toEqual([200, true, true]);
  });
});

test('a filter shows the paths that contain it', async () => {
  const { text } = await pageOf(await gzipped(TAR), { query: '?filter=NODE' });
  expect(text).toContain('usr/bin/node');
  expect(text).not.toContain('passwd');
});

test('a layer that is too large is not read, and the page says how large it may be', async () => {
  const small = worldOf({ ...world.env, LAYER_FILES_BYTES: '100' });
  const { status, text } = await pageOf(TAR, { of: small });
  expect([status, text.includes('up to 100 bytes (LAYER_FILES_BYTES)')]).toEqual([400, true]);
});

test('a layer that unpacks to far more than itself is read to a limit', async () => {
  const huge = tarOf([{ path: 'zeros', content: '\0'.repeat(4_000_000) }, { path: 'after' }]);
  const { status, text } = await pageOf(await gzipped(huge));
  expect(status).toBe(200);
  expect(text).toContain('more entries than are read');
});

test.each([
  ['no archive', new TextEncoder().encode('hello '.repeat(200)), 'no tar archive'],
  ['a damaged gzip', new Uint8Array([0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8]), 'no valid gzip'],
  ['a damaged zstd', new Uint8Array([0x28, 0xb5, 0x2f, 0xfd, 8, 0, 0, 0]), 'zstd'],
])('%s is told, and is no error of the registry', async (_, bytes, words) => {
  const { status, text } = await pageOf(bytes as Uint8Array<ArrayBuffer>);
  expect([status, text.includes(words)]).toEqual([409, true]);
});

test('others see nothing of it, as of a layer that does not exist', async () => {
  const { digest } = await pageOf(TAR);
  const browser = await browserOf(world, 'alice', alice.secret);
  for (const path of [`acme/app/-/layers/${digest}`, `acme/none/-/layers/${digest}`]) {
    expect((await browser.get(`/repositories/${path}`)).status).toBe(404);
  }
  expect((await new Browser(world).get(`/repositories/acme/app/-/layers/${digest}`)).status).toBe(303);
  const absent = await (await browserOf(world)).get(`/repositories/acme/app/-/layers/sha256:${'a'.repeat(64)}`);
  expect(absent.status).toBe(404);
});
