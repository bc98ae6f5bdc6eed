/** Operations on users, organizations, teams and robots check rights and input by themselves, whatever `http` has checked. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Call } from '../../src/app/call.ts';
import { createLoginPassword, describeCaller, logOutEverywhere } from '../../src/app/login.ts';
import {
  acceptMembership,
  addTeamMember,
  declineInvitation,
  deleteOrganization,
  deleteRobot,
  deleteTeam,
  describeOrganization,
  getOrganization,
  getRobot,
  getTeam,
  listInvitations,
  listMembers,
  listOrganizations,
  listOwnInvitations,
  listRobots,
  listTeamMembers,
  listTeams,
  putMember,
  putOrganization,
  putRobot,
  putTeam,
  removeMember,
  removeTeamMember,
  withdrawInvitation,
} from '../../src/app/organizations.ts';
import {
  acceptInvitation,
  changeUser,
  getUser,
  inviteUser as invite,
  listUsers,
  logOutUser,
  openInvitation,
} from '../../src/app/people.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { makeAcme, makeRobot, makeTeam } from '../world/organizations.ts';
import { api, type Person, personOf } from '../world/people.ts';
import { builtOnce, type World } from '../world/world.ts';

const TEAM = 'team:acme/dev';
const PAGE = { after: '', limit: 10 };

let world: World;
let owner: Person;
let member: Person;
let outsider: Person;
let robot: Person;
let narrowed: Person;

const build = builtOnce(async (made) => {
  world = made;
  ({ owner, member, outsider } = await makeAcme(world));
  await makeTeam(world, 'acme', 'dev', [member]);
  robot = await makeRobot(world, 'acme', 'ci');
  const statements = [{ actions: 'all actions', repositories: ['acme/*'] }];
  const { body } = await api<{ key: { id: string }; secret: string }>(world, 'POST', '/keys', {
    as: owner.bearer,
    body: { name: 'narrow', statements },
  });
  narrowed = personOf(owner.name, { id: body.key.id, secret: body.secret });
});

beforeEach(async () => {
  world = await build();
});

async function expectReasons(operations: (call: Call) => (() => Promise<unknown>)[], reasons: [Person | null, string][]) {
  for (const [who, reason] of reasons) {
    const call = await callAs(world, who);
    for (const operation of operations(call)) expect(await reasonOf(world, operation), String(operation)).toBe(reason);
  }
}

test('users are listed, invited, changed and logged out by administrators only', async () => {
  await expectReasons(
    (call) => [
      () => listUsers(call, { ...PAGE, search: '' }),
      () => invite(call, 'user:new-user', { administrator: true }, null),
      () => changeUser(call, member.subject, { administrator: true }, null),
      () => changeUser(call, call.authority.subject, { administrator: true }, null),
      () => openInvitation(call, member.subject),
      () => logOutUser(call, member.subject, { keys: true }),
    ],
    [
      [null, 'unauthenticated'],
      [owner, 'forbidden'],
      [narrowed, 'forbidden'],
      [robot, 'forbidden'],
    ],
  );
});

test('a user is shown to nobody outside their organizations, and to a narrowed key only if it is theirs', async () => {
  expect(await reasonOf(world, async () => getUser(await callAs(world, outsider), member.subject))).toBe('not-found');
  expect(await reasonOf(world, async () => getUser(await callAs(world, narrowed), member.subject))).toBe('not-found');
  expect(await getUser(await callAs(world, owner), member.subject)).toEqual({ name: 'member1', subject: member.subject });
});

test('an invitation of another registry makes nobody a user', async () => {
  expect(await acceptInvitation(await callAs(world, null), 'no-token')).toBeNull();
});

test('organizations are listed to their members, and to no narrowed key', async () => {
  expect((await listOrganizations(await callAs(world, outsider), PAGE)).items).toEqual([]);
  expect((await listOrganizations(await callAs(world, member), PAGE)).items.map(({ name }) => name)).toEqual(['acme']);
  await expectReasons(
    (call) => [() => listOrganizations(call, PAGE)],
    [
      [null, 'unauthenticated'],
      [narrowed, 'forbidden'],
    ],
  );
});

test('a reserved name, the last administrator and another version are refused', async () => {
  const call = await callAs(world, 'administrator');
  expect(await reasonOf(world, () => invite(call, 'user:support', {}, null))).toBe('request-invalid');
  expect(await reasonOf(world, () => invite(call, 'user:0wner1', {}, null))).toBe('name-taken');
  expect(await reasonOf(world, () => changeUser(call, 'user:admin', { disabled: true }, null))).toBe('last-administrator');
  expect(await reasonOf(world, () => changeUser(call, member.subject, { description: 'new' }, 77))).toBe('version-mismatch');
  expect(await reasonOf(world, () => putOrganization(call, 'support', undefined, null))).toBe('request-invalid');
  expect(await reasonOf(world, () => putOrganization(call, 'acrne', undefined, null))).toBe('name-taken');
});

describe('an organization', () => {
  test('is created and deleted by administrators only', async () => {
    await expectReasons(
      (call) => [() => putOrganization(call, 'other', undefined, null), () => deleteOrganization(call, 'acme', null)],
      [
        [null, 'unauthenticated'],
        [owner, 'forbidden'],
        [narrowed, 'forbidden'],
        [robot, 'forbidden'],
      ],
    );
  });

  test('with repositories is not deleted', async () => {
    expect((await api(world, 'PUT', '/repositories/acme/api', { body: {} })).status).toBe(201);
    const call = await callAs(world, 'administrator');
    expect(await reasonOf(world, () => deleteOrganization(call, 'acme', null))).toBe('not-empty');
  });

  test('with its members, teams and robots is changed by owners only', { tags: 'slow' }, async () => {
    await expectReasons(
      (call) => [
        () => describeOrganization(call, 'acme', 'mine', null),
        () => putMember(call, 'acme', { user: 'outsider1', role: 'owner' }),
        () => removeMember(call, 'acme', 'owner1'),
        () => listInvitations(call, 'acme', PAGE),
        () => withdrawInvitation(call, 'acme', 'outsider1'),
        () => putTeam(call, 'team:acme/new', undefined, null),
        () => deleteTeam(call, TEAM, null),
        () => addTeamMember(call, TEAM, 'owner1'),
        () => removeTeamMember(call, TEAM, 'owner1'),
        () => listRobots(call, 'acme', PAGE),
        () => getRobot(call, robot.subject),
        () => putRobot(call, robot.subject, { disabled: true }, null),
        () => deleteRobot(call, robot.subject, null),
      ],
      [
        [null, 'unauthenticated'],
        [member, 'forbidden'],
        [outsider, 'not-found'],
        [narrowed, 'forbidden'],
        [robot, 'forbidden'],
      ],
    );
  });

  test('is shown to members only', async () => {
    await expectReasons(
      (call) => [
        () => getOrganization(call, 'acme'),
        () => listMembers(call, 'acme', PAGE),
        () => listTeams(call, 'acme', PAGE),
        () => getTeam(call, TEAM),
        () => listTeamMembers(call, TEAM, PAGE),
      ],
      [
        [null, 'unauthenticated'],
        [outsider, 'not-found'],
        [narrowed, 'forbidden'],
      ],
    );
  });

  test('keeps its last owner, and only its members are in its teams', async () => {
    const call = await callAs(world, owner);
    expect(await reasonOf(world, () => removeMember(call, 'acme', 'owner1'))).toBe('last-owner');
    expect(await reasonOf(world, () => putMember(call, 'acme', { user: 'owner1', role: 'member' }))).toBe('last-owner');
    expect(await reasonOf(world, () => addTeamMember(call, TEAM, 'outsider1'))).toBe('conflict');
  });

  test('is joined only by an invited user with a key that is not narrowed', async () => {
    expect(await reasonOf(world, async () => acceptMembership(await callAs(world, outsider), 'acme'))).toBe('conflict');
    await expectReasons(
      (call) => [
        () => acceptMembership(call, 'acme'),
        () => declineInvitation(call, 'acme'),
        () => listOwnInvitations(call, PAGE),
      ],
      [
        [null, 'unauthenticated'],
        [narrowed, 'forbidden'],
        [robot, 'forbidden'],
      ],
    );
  });
});

describe('the caller', () => {
  test('has to be somebody', async () => {
    await expectReasons(
      (call) => [
        () => createLoginPassword(call, undefined),
        () => logOutEverywhere(call, { keys: false }),
        async () => describeCaller(call),
      ],
      [[null, 'unauthenticated']],
    );
  });

  test('is not logged out by a narrowed key, and loses no keys by a robot', async () => {
    const call = await callAs(world, narrowed);
    expect(await reasonOf(world, () => logOutEverywhere(call, { keys: false }))).toBe('forbidden');
    const byRobot = await callAs(world, robot);
    expect(await reasonOf(world, () => logOutEverywhere(byRobot, { keys: true }))).toBe('forbidden');
  });

  test('is described to a narrowed key without organizations and teams', async () => {
    expect(describeCaller(await callAs(world, narrowed))).toMatchObject({ organizations: [], teams: [], administrator: false });
  });
});
