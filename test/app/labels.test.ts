/** Operations on labels and on new repositories check rights and input by themselves, whatever `http` has checked. */
import { beforeAll, expect, test } from 'vitest';
import type { Call } from '../../src/app/call.ts';
import { credentialOfSignature, registryNumber } from '../../src/app/ecr.ts';
import { changeLabels, findRepositories, getLabels, listSettings, setScanOnPush } from '../../src/app/labels.ts';
import { createRepository } from '../../src/app/repositories.ts';
import { listRepositories } from '../../src/app/repository-lists.ts';
import { parseRepositoryName } from '../../src/oci/name.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { pushImage } from '../world/images.ts';
import { makeAcme, makeRobot } from '../world/organizations.ts';
import type { Person } from '../world/people.ts';
import { newWorld, type World } from '../world/world.ts';

const REPOSITORY = parseRepositoryName('acme/api');
const FRESH = parseRepositoryName('acme/fresh');

let world: World;
let outsider: Person;
let puller: Person;
let creator: Person;

beforeAll(async () => {
  world = await newWorld();
  ({ outsider } = await makeAcme(world));
  puller = await makeRobot(world, 'acme', 'puller', [{ actions: ['pull'], repositories: ['acme/*'] }]);
  creator = await makeRobot(world, 'acme', 'creator', [{ actions: ['pull', 'create'], repositories: ['acme/*'] }]);
  await pushImage(world, REPOSITORY, 'v1');
});

async function reason(who: Person | 'administrator' | null, operation: (call: Call) => Promise<unknown>): Promise<string> {
  return reasonOf(world, async () => operation(await callAs(world, who, [REPOSITORY, FRESH])));
}

test('labels are read by callers who may pull, and changed by those who may administer', async () => {
  const changes = [
    (call: Call) => changeLabels(call, REPOSITORY, { a: 'b' }),
    (call: Call) => setScanOnPush(call, REPOSITORY, true),
  ];
  for (const change of changes) {
    expect([await reason(null, change), await reason(outsider, change), await reason(puller, change)]).toEqual([
      'unauthenticated',
      'not-found',
      'forbidden',
    ]);
  }
  expect(await reason(outsider, (call) => getLabels(call, REPOSITORY))).toBe('not-found');
  expect(await getLabels(await callAs(world, puller, [REPOSITORY]), REPOSITORY)).toEqual({});
});

test('a label beyond the limits is refused, and nothing changes', async () => {
  const wrong = [{ '': 'a' }, { ['k'.repeat(129)]: 'a' }, { a: 'v'.repeat(257) }];
  for (const change of wrong)
    expect(await reason('administrator', (call) => changeLabels(call, REPOSITORY, change))).toBe('request-invalid');
  const many = Object.fromEntries(Array.from({ length: 51 }, (_, n) => [`k${n}`, '']));
  expect(await reason('administrator', (call) => changeLabels(call, REPOSITORY, many))).toBe('limit-reached');
  expect(await reason('administrator', (call) => changeLabels(call, FRESH, { a: 'b' }))).toBe('repository-unknown');
});

test('only repositories that the caller may pull are found', async () => {
  const find = async (who: Person) => findRepositories(await callAs(world, who, [REPOSITORY, FRESH]), [REPOSITORY, FRESH]);
  expect(await find(outsider)).toEqual([]);
  expect(await find(puller)).toMatchObject([{ name: REPOSITORY, mutability: { value: 'MUTABLE' }, scanOnPush: false }]);
  const call = await callAs(world, puller);
  const { items } = await listRepositories(call, { after: '', limit: 10 }, {});
  expect(await listSettings(call, items)).toMatchObject([{ name: REPOSITORY }]);
});

test('somebody who may create a repository but not administer it creates it without labels and settings', async () => {
  expect(await reason(outsider, (call) => createRepository(call, FRESH, {}))).toBe('not-found');
  expect(await reason(creator, (call) => createRepository(call, FRESH, { labels: { a: 'b' } }))).toBe('forbidden');
  await createRepository(await callAs(world, creator, [FRESH]), FRESH, {});
  expect(await reason(creator, (call) => createRepository(call, FRESH, {}))).toBe('name-taken');
});

test('a request without a signature has no signer', async () => {
  const call = {
    ...(await callAs(world, null)),
    network: () => null,
    clientAddress: () => null,
    client: 'api' as const,
    fetch,
    requestId: '',
  };
  const request = { method: 'POST', headers: new Map(), body: new Uint8Array() };
  expect(await credentialOfSignature(call, request)).toEqual({ problem: 'missing' });
  await expect(registryNumber(world.env)).rejects.toThrow('no registry has claimed this database');
});
