/** Operations on layers check rights and input by themselves, whatever `http` has checked. */
import { beforeAll, expect, test } from 'vitest';
import type { Call } from '../../src/app/call.ts';
import type { ContentCall } from '../../src/app/content.ts';
import { checkLayers, downloadUrl, finishLayerUpload, startLayerUpload, uploadLayerPart } from '../../src/app/layers.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepositoryName } from '../../src/oci/name.ts';
import { contentCallAs, reasonOf } from '../world/call.ts';
import { pushImage } from '../world/images.ts';
import { makeAcme, makeRobot } from '../world/organizations.ts';
import type { Person } from '../world/people.ts';
import { newWorld, type World } from '../world/world.ts';

const API = parseRepositoryName('acme/api');
const DIGEST = parseDigest(`sha256:${'0'.repeat(64)}`);
const UPLOAD = '00000000-0000-4000-8000-000000000000';
const PART = { first: 0, last: 1, bytes: new Uint8Array(2) };

type Operation = (call: ContentCall & Call) => Promise<unknown>;

let world: World;
let outsider: Person;
let puller: Person;

beforeAll(async () => {
  world = await newWorld();
  ({ outsider } = await makeAcme(world));
  puller = await makeRobot(world, 'acme', 'puller', [{ actions: ['pull'], repositories: ['acme/*'] }]);
  await pushImage(world, API, 'v1');
});

async function reason(who: Person | 'administrator' | null, operation: Operation): Promise<string> {
  return reasonOf(world, async () => operation((await contentCallAs(world, who, [API])) as ContentCall & Call));
}

const READS: Operation[] = [(call) => checkLayers(call, API, [DIGEST]), (call) => downloadUrl(call, API, DIGEST)];
const CHANGES: Operation[] = [
  (call) => startLayerUpload(call, API),
  (call) => uploadLayerPart(call, API, UPLOAD, PART),
  (call) => finishLayerUpload(call, API, UPLOAD, DIGEST),
];

test('without the right to pull, the repository does not exist; with it alone, nothing is uploaded', async () => {
  for (const operation of [...READS, ...CHANGES]) {
    expect(await reason(null, operation)).toBe('unauthenticated');
    expect(await reason(outsider, operation)).toBe('not-found');
  }
  for (const operation of CHANGES) expect(await reason(puller, operation)).toBe('forbidden');
});

test('more than a hundred layers, and uploads that nobody has started, are refused', async () => {
  const many = Array.from({ length: 101 }, () => DIGEST);
  expect(await reason(puller, (call) => checkLayers(call, API, many))).toBe('too-much-work');
  expect(await reason('administrator', (call) => uploadLayerPart(call, API, UPLOAD, PART))).toBe('upload-unknown');
  expect(await reason('administrator', (call) => finishLayerUpload(call, API, 'no id', DIGEST))).toBe('upload-unknown');
});
