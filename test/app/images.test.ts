/** Operations on tags and images check rights and input by themselves, whatever `http` has checked. */
import { beforeAll, expect, test } from 'vitest';
import type { Call } from '../../src/app/call.ts';
import { deleteChosen, deleteImage, deleteTag, previewDeletion } from '../../src/app/deletions.ts';
import { getImage, getWholeImage, listImages, listTagDetails } from '../../src/app/images.ts';
import { compareFiles, compareFilesOf } from '../../src/app/layer-files.ts';
import { parseRepositoryName } from '../../src/oci/name.ts';
import { parseTag } from '../../src/oci/reference.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { type Content, descriptorOf, IMAGE_TYPE, INDEX_TYPE, pushImage, putManifest } from '../world/images.ts';
import { makeAcme, makeRobot } from '../world/organizations.ts';
import type { Person } from '../world/people.ts';
import { newWorld, type World } from '../world/world.ts';

const REPOSITORY = parseRepositoryName('acme/api');

let world: World;
let outsider: Person;
let puller: Person;
let image: Content;

beforeAll(async () => {
  world = await newWorld();
  ({ outsider } = await makeAcme(world));
  puller = await makeRobot(world, 'acme', 'puller', [{ actions: ['pull'], repositories: ['acme/*'] }]);
  image = await pushImage(world, REPOSITORY, 'v1');
});

async function reason(who: Person | null, operation: (call: Call) => Promise<unknown>): Promise<string> {
  return reasonOf(world, async () => operation(await callAs(world, who, [REPOSITORY])));
}

test('lists are for callers who may pull', async () => {
  const reads = [
    (call: Call) => listTagDetails(call, REPOSITORY, {}),
    (call: Call) => listImages(call, REPOSITORY, {}),
    (call: Call) => getImage(call, REPOSITORY, { digest: image.digest }),
    (call: Call) => getWholeImage(call, REPOSITORY, { digest: image.digest }),
  ];
  for (const read of reads) {
    expect([await reason(null, read), await reason(outsider, read)]).toEqual(['unauthenticated', 'not-found']);
  }
  const { items } = await listTagDetails(await callAs(world, puller, [REPOSITORY]), REPOSITORY, {});
  expect(items).toMatchObject([{ digest: image.digest, tagged: { by: null } }]);
});

test('files are compared for callers who may pull, and no index is', async () => {
  const query = { from: 'v1', to: image.digest };
  const reads = [
    (call: Call) => compareFiles(call, REPOSITORY, query),
    async (call: Call) => {
      const found = await getWholeImage(await callAs(world, puller, [REPOSITORY]), REPOSITORY, { digest: image.digest });
      return compareFilesOf(call, REPOSITORY, { from: found, to: found }, { read: true });
    },
  ];
  for (const read of reads) {
    expect([await reason(null, read), await reason(outsider, read)]).toEqual(['unauthenticated', 'not-found']);
  }
  expect(await compareFiles(await callAs(world, puller, [REPOSITORY]), REPOSITORY, query)).toMatchObject({
    ...{ from: image.digest, to: image.digest, shared: 1, unread: [] },
    changes: { added: 0, removed: 0, changed: 0 },
  });
  const index = { schemaVersion: 2, manifests: [descriptorOf(image, IMAGE_TYPE)] };
  await putManifest(world, REPOSITORY, 'multi', index, INDEX_TYPE);
  const wrong = [
    [{ from: 'v1', to: 'multi' }, 'request-invalid'],
    [{ from: 'v1', to: 'none' }, 'manifest-unknown'],
    [{ from: 'v1', to: 'sha256:x' }, 'digest-invalid'],
    [{ from: 'v1', to: 'v1', filter: 'x'.repeat(10_000) }, 'request-invalid'],
    [{ from: 'v1' } as never, 'request-invalid'],
  ] as const;
  for (const [sent, because] of wrong) {
    expect(await reason(puller, (call) => compareFiles(call, REPOSITORY, sent))).toBe(because);
  }
});

test('a malformed query is refused by the operation itself', async () => {
  const wrong = [{ n: 0 }, { n: 100_000 }, { filter: 'x'.repeat(10_000) }, { last: 'x' }, { sort: 'size' as never }];
  for (const query of wrong) {
    expect(await reason(puller, (call) => listTagDetails(call, REPOSITORY, query))).toBe('request-invalid');
  }
});

test('deletions and their previews are for callers who may delete', async () => {
  const operations = [
    (call: Call) => deleteTag(call, REPOSITORY, parseTag('v1'), null),
    (call: Call) => deleteImage(call, REPOSITORY, image.digest, null),
    (call: Call) => previewDeletion(call, REPOSITORY, { tags: ['v1'] }),
    (call: Call) => deleteChosen(call, REPOSITORY, { images: [image.digest] }, null),
  ];
  for (const operation of operations) {
    const reasons = [await reason(null, operation), await reason(outsider, operation), await reason(puller, operation)];
    expect(reasons).toEqual(['unauthenticated', 'not-found', 'forbidden']);
  }
});

test('a malformed deletion is refused whatever the door let through', async () => {
  const many = Array.from({ length: 101 }, (_, n) => `t${n}`);
  for (const sent of [{}, { tags: ['a b'] }, { tags: many }, { images: ['v1'] }, { tags: ['v1'], orphans: 'all' as never }]) {
    const call = await callAs(world, 'administrator', [REPOSITORY]);
    for (const operation of [() => previewDeletion(call, REPOSITORY, sent), () => deleteChosen(call, REPOSITORY, sent, null)]) {
      expect(await reasonOf(world, operation)).toBe('request-invalid');
    }
  }
});
