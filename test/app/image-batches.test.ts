/** Operations on several images check rights and input by themselves, whatever `http` has checked. */
import { beforeAll, expect, test } from 'vitest';
import type { Call } from '../../src/app/call.ts';
import { pullImages, putImage } from '../../src/app/image-batches.ts';
import { deleteImages } from '../../src/app/image-deletions.ts';
import { describeNamed, getNamed, keepStored, listDescribed, listImageIds, listReferrersOf } from '../../src/app/image-ids.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepositoryName } from '../../src/oci/name.ts';
import { parseTag } from '../../src/oci/reference.ts';
import { callAs, contentCallAs, reasonOf } from '../world/call.ts';
import { type Content, IMAGE_TYPE, imageIn, pushImage } from '../world/images.ts';
import { makeAcme, makeRobot } from '../world/organizations.ts';
import type { Person } from '../world/people.ts';
import { newWorld, type World } from '../world/world.ts';

const API = parseRepositoryName('acme/api');
const PAGE = { tagged: 'any', after: null, limit: 10 } as const;

let world: World;
let outsider: Person;
let puller: Person;
let cleaner: Person;
let image: Content;

beforeAll(async () => {
  world = await newWorld();
  ({ outsider } = await makeAcme(world));
  puller = await makeRobot(world, 'acme', 'puller', [{ actions: ['pull'], repositories: ['acme/*'] }]);
  cleaner = await makeRobot(world, 'acme', 'cleaner', [
    { actions: ['pull'], repositories: ['acme/*'] },
    { actions: ['delete'], repositories: ['acme/*'], tags: ['pr-*'] },
  ]);
  image = await pushImage(world, API, 'pr-1');
  await pushImage(world, API, 'v1', 2);
});

const put = async (who: Person | null) =>
  putImage((await contentCallAs(world, who, [API])) as Parameters<typeof putImage>[0], {
    ...{ repository: API, bytes: image.bytes, mediaType: IMAGE_TYPE, expected: null, tag: parseTag('new'), charge: () => {} },
  });

const names = [{ tag: 'pr-1' }];
const READS: ((call: Call) => Promise<unknown>)[] = [
  (call) => pullImages(call, API, names, { accepted: undefined, random: 0 }),
  (call) => getNamed(call, API, { tag: 'pr-1' }),
  (call) => describeNamed(call, API, names),
  (call) => listDescribed(call, API, PAGE),
  (call) => listImageIds(call, API, PAGE),
  (call) =>
    listReferrersOf(call, API, {
      ...{ subject: parseDigest(image.digest), artifactTypes: [], after: undefined, limit: 1 },
    }),
];
const CHANGES: ((call: Call) => Promise<unknown>)[] = [
  (call) => deleteImages(call, API, names),
  (call) => keepStored(call, API, { tag: 'pr-1' }),
];

async function reason(who: Person | null, operation: (call: Call) => Promise<unknown>): Promise<string> {
  return reasonOf(world, async () => operation(await callAs(world, who, [API])));
}

test('without the right to pull, the repository does not exist', async () => {
  for (const operation of [...READS, ...CHANGES]) {
    expect(await reason(null, operation)).toBe('unauthenticated');
    expect(await reason(outsider, operation)).toBe('not-found');
  }
  expect(await reasonOf(world, () => put(outsider))).toBe('not-found');
});

test('with the right to pull alone, images are read and not changed', async () => {
  for (const operation of READS) await operation(await callAs(world, puller, [API]));
  for (const operation of CHANGES) expect(await reason(puller, operation)).toBe('forbidden');
  expect(await reasonOf(world, () => put(puller))).toBe('forbidden');
});

test('more than a hundred images in a request are refused', async () => {
  const many = Array.from({ length: 101 }, (_, n) => ({ tag: `pr-${n}` }));
  expect(await reason(cleaner, (call) => deleteImages(call, API, many))).toBe('too-much-work');
});

test('a right to delete some tags removes these tags, and no image', async () => {
  expect(await reason(cleaner, (call) => deleteImages(call, API, [{ tag: 'pr-1' }, { tag: 'v1' }]))).toBe('forbidden');
  expect(await reason(cleaner, (call) => deleteImages(call, API, [{ digest: image.digest }]))).toBe('forbidden');
  const { deleted } = await deleteImages(await callAs(world, cleaner, [API]), API, names);
  expect(deleted).toEqual([{ tag: 'pr-1', digest: image.digest }]);
  expect((await getNamed(await callAs(world, puller, [API]), API, { digest: image.digest })).digest).toBe(image.digest);
});

test('documents that do not fit into one answer are left out', async () => {
  const text = 'x'.repeat(3 * 1024 * 1024);
  for (const tag of ['long-1', 'long-2']) {
    const { bytes } = await imageIn(world, API, 1, { annotations: { text, tag } });
    const put = await world.fetch('PUT', `/v2/${API}/manifests/${tag}`, {
      headers: { 'content-type': IMAGE_TYPE },
      body: bytes,
    });
    expect(put.status).toBe(201);
  }
  const pull = { accepted: undefined, random: 0 };
  const pulled = await pullImages(
    await callAs(world, puller, [API]),
    API,
    [{ tag: 'long-1' }, { tag: 'long-2' }, { tag: 'v1' }],
    pull,
  );
  expect(pulled.map((one) => ('problem' in one ? one.problem.code : one.found.text.length > 0))).toEqual([
    true,
    'too-large',
    true,
  ]);
});
