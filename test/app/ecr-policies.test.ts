/** The operations on policies as texts check rights and input by themselves, whatever `http` has checked. */
import { beforeAll, expect, test } from 'vitest';
import type { Call } from '../../src/app/call.ts';
import { deletePolicyText, getPolicyText, setPolicyText } from '../../src/app/ecr-policies.ts';
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
  const registryId = '123456789012';
  const operations = [
    (call: Call) => setPolicyText({ ...call, registryId }, REPOSITORY, { text: '{}', force: false }),
    (call: Call) => getPolicyText({ ...call, registryId }, REPOSITORY),
    (call: Call) => deletePolicyText({ ...call, registryId }, REPOSITORY),
  ];
  const reasons = async (who: Person) => {
    const all: string[] = [];
    for (const one of operations) all.push(await reasonOf(world, async () => one(await callAs(world, who, [REPOSITORY]))));
    return all;
  };
  expect(await reasons(outsider)).toEqual(['not-found', 'not-found', 'not-found']);
  expect(await reasons(puller)).toEqual(['forbidden', 'forbidden', 'forbidden']);
  const call = { ...(await callAs(world, 'administrator', [REPOSITORY])), registryId };
  expect(await reasonOf(world, () => setPolicyText(call, REPOSITORY, { text: '{}', force: false }))).toBe('request-invalid');
  expect(await getPolicyText(call, REPOSITORY)).toBeNull();
});
