/** The operations on lifecycle texts check rights and input by themselves, whatever `http` has checked. */
import { beforeAll, expect, test } from 'vitest';
import type { Call } from '../../src/app/call.ts';
import { listPreviewedImages, putLifecycleText, startLifecyclePreview } from '../../src/app/lifecycle-previews.ts';
import { parseRepositoryName } from '../../src/oci/name.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { pushImage } from '../world/images.ts';
import { makeAcme, makeRobot } from '../world/organizations.ts';
import type { Person } from '../world/people.ts';
import { newWorld, type World } from '../world/world.ts';

const REPOSITORY = parseRepositoryName('acme/api');

let world: World;
let outsider: Person;
let puller: Person;

beforeAll(async () => {
  world = await newWorld();
  ({ outsider } = await makeAcme(world));
  puller = await makeRobot(world, 'acme', 'puller', [{ actions: ['pull'], repositories: ['acme/*'] }]);
  await pushImage(world, REPOSITORY, 'v1');
});

test('they are for callers who may administer the repository, and refuse what is not a policy', async () => {
  const operations = [
    (call: Call) => putLifecycleText(call, REPOSITORY, '{"rules":[]}'),
    (call: Call) => startLifecyclePreview(call, REPOSITORY, '{}'),
    (call: Call) => listPreviewedImages(call, REPOSITORY, { place: null, limit: 10 }),
  ];
  const reasons = (who: Person | 'administrator') =>
    Promise.all(operations.map((one) => reasonOf(world, async () => one(await callAs(world, who, [REPOSITORY])))));
  expect(await reasons(outsider)).toEqual(['not-found', 'not-found', 'not-found']);
  expect(await reasons(puller)).toEqual(['forbidden', 'forbidden', 'forbidden']);
  expect((await reasons('administrator')).slice(0, 2)).toEqual(['request-invalid', 'request-invalid']);
});
