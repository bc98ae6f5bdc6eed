import { beforeEach, describe, expect, test } from 'vitest';
import {
  changeKey,
  createKey,
  createRobotKey,
  getKey,
  listKeys,
  listRobotKeys,
  revokeKey,
  rotateKey,
} from '../../src/app/keys.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { makeOrganization, makeRobot } from '../world/organizations.ts';
import { inviteUser, type Person, personOf } from '../world/people.ts';
import { builtOnce, type World } from '../world/world.ts';

let world: World;
let alice: Person;
let bob: Person;
let robot: Person;
let narrowed: Person;

const build = builtOnce(
  async (made) => {
    world = made;
    [alice, bob] = [await inviteUser(world, 'alice'), await inviteUser(world, 'bob')];
    await makeOrganization(world, 'acme', { owners: [alice], members: [bob] });
    robot = await makeRobot(world, 'acme', 'ci');
    const statements = [{ effect: 'allow' as const, actions: ['pull' as const], repositories: ['acme/*'] }];
    const { key, secret } = await createKey(await callAs(world, alice), { name: 'narrow', statements }, null);
    narrowed = personOf('alice', { id: key.id, secret });
  },
  { KEY_MAX_DAYS: '30', KEY_DEFAULT_DAYS: '30' },
);

beforeEach(async () => {
  world = await build();
});

const body = { name: 'new' };
const rotation = { overlap: 0 };

describe('creating a key', () => {
  test('is refused to an anonymous caller', async () => {
    const call = await callAs(world, null);
    expect(await reasonOf(world, () => createKey(call, body, null))).toBe('unauthenticated');
  });

  test('is refused to a narrowed key and to a robot', async () => {
    for (const who of [narrowed, robot]) {
      const call = await callAs(world, who);
      expect(await reasonOf(world, () => createKey(call, body, null))).toBe('forbidden');
    }
  });

  test('is refused beyond the longest lifetime', async () => {
    const call = await callAs(world, alice);
    expect(await reasonOf(world, () => createKey(call, { ...body, days: 31 }, null))).toBe('request-invalid');
  });

  test('is refused beyond the size of a policy', async () => {
    const repositories = Array.from({ length: 50 }, (_, n) => `acme/${n}${'x'.repeat(200)}`);
    const statement = { effect: 'allow' as const, actions: ['pull' as const], repositories };
    const call = await callAs(world, alice);
    expect(await reasonOf(world, () => createKey(call, { ...body, statements: [statement, statement] }, null))).toBe(
      'request-invalid',
    );
  });

  test('for a robot is refused to a member, and to everybody else as if there were none', async () => {
    expect(await reasonOf(world, async () => createRobotKey(await callAs(world, bob), robot.subject, body, null))).toBe(
      'forbidden',
    );
    const carol = await inviteUser(world, 'carol');
    expect(await reasonOf(world, async () => createRobotKey(await callAs(world, carol), robot.subject, body, null))).toBe(
      'not-found',
    );
  });
});

describe('a key of somebody else', () => {
  test('cannot be read or listed', async () => {
    const call = await callAs(world, bob);
    expect(await reasonOf(world, () => getKey(call, alice.keyId))).toBe('not-found');
    expect(await reasonOf(world, () => listKeys(call, alice.subject, { after: '', limit: 10 }))).toBe('not-found');
  });

  test("is listed to no member if it is a robot's", async () => {
    const call = await callAs(world, bob);
    expect(await reasonOf(world, () => listRobotKeys(call, robot.subject, { after: '', limit: 10 }))).toBe('forbidden');
  });

  test('cannot be changed, revoked or rotated', async () => {
    const call = await callAs(world, bob);
    expect(await reasonOf(world, () => changeKey(call, alice.keyId, { name: 'mine' }, null))).toBe('not-found');
    expect(await reasonOf(world, () => revokeKey(call, alice.keyId, {}))).toBe('not-found');
    expect(await reasonOf(world, () => rotateKey(call, alice.keyId, rotation, null))).toBe('not-found');
  });

  test('is not rotated for an administrator, who would learn its secret', async () => {
    const call = await callAs(world, 'administrator');
    expect(await reasonOf(world, () => rotateKey(call, alice.keyId, rotation, null))).toBe('forbidden');
  });
});

describe('a narrowed key', () => {
  test('changes, revokes and rotates no other key', async () => {
    const call = await callAs(world, narrowed);
    expect(await reasonOf(world, () => changeKey(call, alice.keyId, { name: 'mine' }, null))).toBe('forbidden');
    expect(await reasonOf(world, () => revokeKey(call, alice.keyId, {}))).toBe('forbidden');
    expect(await reasonOf(world, () => rotateKey(call, alice.keyId, rotation, null))).toBe('forbidden');
  });

  test('revokes itself, but neither without its successors nor with what it created', async () => {
    const call = await callAs(world, narrowed);
    expect(await reasonOf(world, () => revokeKey(call, narrowed.keyId, { successors: 'keep' }))).toBe('forbidden');
    expect(await reasonOf(world, () => revokeKey(call, narrowed.keyId, { made: 'revoke' }))).toBe('forbidden');
    await revokeKey(call, narrowed.keyId, {});
    expect(await getKey(await callAs(world, alice), narrowed.keyId)).toMatchObject({ state: 'revoked' });
  });

  test('cannot give its successor a longer life', async () => {
    const call = await callAs(world, narrowed);
    expect(await reasonOf(world, () => rotateKey(call, narrowed.keyId, { ...rotation, days: 30 }, null))).toBe('forbidden');
  });
});

test('changing or rotating a key is refused beyond the longest lifetime', async () => {
  const call = await callAs(world, alice);
  expect(await reasonOf(world, () => changeKey(call, narrowed.keyId, { days: 31 }, null))).toBe('request-invalid');
  expect(await reasonOf(world, () => rotateKey(call, narrowed.keyId, { ...rotation, days: 31 }, null))).toBe('request-invalid');
});

test('changing a key is refused for another version than the expected one', async () => {
  const call = await callAs(world, alice);
  expect(await reasonOf(world, () => changeKey(call, narrowed.keyId, { name: 'other' }, 7))).toBe('version-mismatch');
});
