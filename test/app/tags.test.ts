/** Operations on tags check rights and input by themselves, whatever `http` has checked. */
import { beforeEach, describe, expect, test } from 'vitest';
import { getTagMutability, listTagHistory, putTagMutability, rollBackTag } from '../../src/app/tags.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepositoryName } from '../../src/oci/name.ts';
import type { Tag } from '../../src/oci/reference.ts';
import type { Mutability } from '../../src/vocabulary/mutability.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { type Content, imageIn, putManifest, textOf } from '../world/images.ts';
import { makeOrganization, makeTeam } from '../world/organizations.ts';
import { inviteUser, type Person } from '../world/people.ts';
import { builtOnce, type World } from '../world/world.ts';

const REPOSITORY = parseRepositoryName('acme/api');
const TAG = 'v1' as Tag;

let world: World;
let one: Content;
let reader: Person;
let pusher: Person;
let stranger: Person;

const build = builtOnce(async (made) => {
  world = made;
  one = await imageIn(world, REPOSITORY, 1);
  const two = await imageIn(world, REPOSITORY, 2);
  for (const image of [one, two]) await putManifest(world, REPOSITORY, TAG, textOf(image));
  [reader, pusher, stranger] = [
    await inviteUser(world, 'reader'),
    await inviteUser(world, 'pusher'),
    await inviteUser(world, 'someone'),
  ];
  await makeOrganization(world, 'acme', { members: [reader, pusher] });
  const allow = (...actions: string[]) => [{ effect: 'allow', actions, repositories: ['acme/*'] }];
  await makeTeam(world, 'acme', 'readers', [reader], allow('pull'));
  await makeTeam(world, 'acme', 'pushers', [pusher], allow('pull', 'push'));
});

beforeEach(async () => {
  world = await build();
});

const as = (person: Person | 'administrator' | null) => callAs(world, person, [REPOSITORY]);
const immutable: Mutability = { value: 'IMMUTABLE', exclusions: [] };

describe('rolling a tag back', () => {
  test('needs the right to push, and to move the tag', async () => {
    const rollBack = async (person: Person | null) => {
      const call = await as(person);
      return reasonOf(world, () => rollBackTag(call, REPOSITORY, TAG, { point: 1 }, null));
    };
    expect(await rollBack(null)).toBe('unauthenticated');
    expect(await rollBack(stranger)).toBe('not-found');
    expect(await rollBack(reader)).toBe('forbidden');
    expect(await rollBack(pusher)).toBe('forbidden');
  });

  test('names a digest that the tag has named before', async () => {
    const call = await as('administrator');
    const other = parseDigest(`sha256:${'0'.repeat(64)}`);
    expect(await reasonOf(world, () => rollBackTag(call, REPOSITORY, TAG, { digest: other }, null))).toBe('not-found');
    expect(await rollBackTag(call, REPOSITORY, TAG, { point: 1 }, null)).toBe(one.digest);
  });
});

test('the history tells names of people only to those who may push', async () => {
  const actorsFor = async (person: Person) => {
    const { items } = await listTagHistory(await as(person), REPOSITORY, TAG, { before: null, limit: 10 });
    return items.map(({ by }) => by?.subject);
  };
  expect(await actorsFor(reader)).toEqual([undefined, undefined]);
  expect(await actorsFor(pusher)).toEqual(['user:admin', 'user:admin']);
  const call = await as(stranger);
  expect(await reasonOf(world, () => listTagHistory(call, REPOSITORY, TAG, { before: null, limit: 10 }))).toBe('not-found');
});

describe('the mutability of tags', () => {
  test('is saved by those who administer the repository, and read by those who pull', async () => {
    for (const [person, reason] of [
      [null, 'unauthenticated'],
      [stranger, 'not-found'],
      [pusher, 'forbidden'],
    ] as const) {
      const call = await as(person);
      expect(await reasonOf(world, () => putTagMutability(call, REPOSITORY, immutable, null))).toBe(reason);
    }
    const call = await as(stranger);
    expect(await reasonOf(world, () => getTagMutability(call, REPOSITORY))).toBe('not-found');
  });

  test.each<[string, Mutability]>([
    ['six exclusions', { value: 'IMMUTABLE_WITH_EXCLUSION', exclusions: ['a', 'b', 'c', 'd', 'e', 'f'] }],
    ['a value with exclusions that has none', { value: 'MUTABLE_WITH_EXCLUSION', exclusions: [] }],
    ['a value without exclusions that has one', { value: 'IMMUTABLE', exclusions: ['a'] }],
    ['an exclusion that is no pattern of tags', { value: 'IMMUTABLE_WITH_EXCLUSION', exclusions: ['a/b'] }],
    ['an exclusion that is too long', { value: 'IMMUTABLE_WITH_EXCLUSION', exclusions: ['x'.repeat(129)] }],
  ])('is not saved with %s', async (_, mutability) => {
    const call = await as('administrator');
    expect(await reasonOf(world, () => putTagMutability(call, REPOSITORY, mutability, null))).toBe('request-invalid');
  });
});
