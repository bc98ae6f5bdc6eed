/** Operations on policies and trust rules check rights and input by themselves, whatever `http` has checked. */
import { beforeEach, describe, expect, test } from 'vitest';
import { explain, getPolicy, previewChange, previewPolicy, savePolicy } from '../../src/app/policies.ts';
import { deleteTrustRule, getTrustRule, listTrustRules, putTrustRule } from '../../src/app/trust-rules.ts';
import { parseRepositoryName } from '../../src/oci/name.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { makeAcme, makeRobot, makeTeam } from '../world/organizations.ts';
import { api, type Person } from '../world/people.ts';
import { builtOnce, type World } from '../world/world.ts';

const REPOSITORY = parseRepositoryName('acme/api');
const TEAM = 'team:acme/dev';
const RULE = 'ci:acme/deploy';

let world: World;
let owner: Person;
let member: Person;
let outsider: Person;
let robot: Person;

const build = builtOnce(async (made) => {
  world = made;
  ({ owner, member, outsider } = await makeAcme(world));
  await makeTeam(world, 'acme', 'dev', [member]);
  robot = await makeRobot(world, 'acme', 'ci', [{ actions: 'all actions', repositories: ['acme/*'] }]);
  expect((await api(world, 'PUT', `/repositories/${REPOSITORY}`, { body: {} })).status).toBe(201);
});

beforeEach(async () => {
  world = await build();
});

function pulls(...repositories: string[]) {
  return [{ effect: 'allow' as const, actions: ['pull' as const], repositories }];
}

describe('a policy', () => {
  test('of a user is saved and read by administrators only', async () => {
    for (const who of [owner, robot]) {
      const call = await callAs(world, who);
      expect(await reasonOf(world, () => savePolicy(call, member.subject, pulls('*'), null))).toBe('forbidden');
      expect(await reasonOf(world, () => getPolicy(call, member.subject))).toBe('forbidden');
      expect(await reasonOf(world, () => previewPolicy(call, member.subject, pulls('*')))).toBe('forbidden');
    }
  });

  test('of a team or robot is saved by owners only', async () => {
    for (const subject of [TEAM, robot.subject]) {
      for (const [who, reason] of [
        [null, 'unauthenticated'],
        [member, 'forbidden'],
        [outsider, 'not-found'],
        [robot, 'forbidden'],
      ] as const) {
        const call = await callAs(world, who);
        expect(await reasonOf(world, () => savePolicy(call, subject, pulls('acme/*'), null))).toBe(reason);
        expect(await reasonOf(world, () => previewPolicy(call, subject, pulls('acme/*')))).toBe(reason);
        expect(await reasonOf(world, () => previewChange(call, subject, () => pulls('acme/*')))).toBe(reason);
      }
    }
  });

  test('of a team or robot cannot reach outside its organization', async () => {
    const call = await callAs(world, owner);
    for (const subject of [TEAM, robot.subject]) {
      expect(await reasonOf(world, () => savePolicy(call, subject, pulls('other/*'), null))).toBe('request-invalid');
    }
  });

  test('of a repository takes the right to administer it', async () => {
    const statements = [{ effect: 'allow' as const, actions: ['pull' as const], principals: ['*'] }];
    const subject = `repository:${REPOSITORY}`;
    for (const [who, reason] of [
      [null, 'unauthenticated'],
      [outsider, 'not-found'],
    ] as const) {
      const call = await callAs(world, who, [REPOSITORY]);
      expect(await reasonOf(world, () => savePolicy(call, subject, statements, null))).toBe(reason);
      expect(await reasonOf(world, () => getPolicy(call, subject))).toBe(reason);
    }
  });

  test('is not saved for a team, user or repository that does not exist', async () => {
    const call = await callAs(world, 'administrator');
    expect(await reasonOf(world, () => savePolicy(call, 'team:acme/none', pulls('acme/*'), null))).toBe('not-found');
    expect(await reasonOf(world, () => savePolicy(call, 'user:nobody9', pulls('*'), null))).toBe('not-found');
    expect(await reasonOf(world, () => savePolicy(call, 'repository:acme/none', [], null))).toBe('repository-unknown');
  });

  test('is not saved over another version than the expected one', async () => {
    const call = await callAs(world, owner);
    expect(await reasonOf(world, () => savePolicy(call, TEAM, pulls('acme/*'), 7))).toBe('version-mismatch');
  });

  test('is not saved beyond its size', async () => {
    const call = await callAs(world, owner);
    const many = Array.from({ length: 60 }, () => pulls('acme/*')).flat();
    expect(await reasonOf(world, () => savePolicy(call, TEAM, many, null))).toBe('request-invalid');
  });
});

test('a right is explained only to those who may administer the repository', async () => {
  const question = { principal: owner.subject, action: 'pull' as const, repository: REPOSITORY, tag: null, claims: {} };
  for (const [who, reason] of [
    [null, 'unauthenticated'],
    [outsider, 'not-found'],
  ] as const) {
    const call = await callAs(world, who, [REPOSITORY]);
    expect(await reasonOf(world, () => explain(call, question))).toBe(reason);
  }
});

describe('a trust rule', () => {
  const rule = {
    issuer: 'https://issuer.example.com',
    claims: { project: '42' },
    statements: [{ effect: 'allow' as const, actions: ['pull' as const], repositories: ['acme/*'] }],
    lifetime: 600,
    disabled: false,
  };

  test('of an organization is saved, read and deleted by owners only', async () => {
    for (const [who, reason] of [
      [null, 'unauthenticated'],
      [member, 'forbidden'],
      [outsider, 'not-found'],
      [robot, 'forbidden'],
    ] as const) {
      const call = await callAs(world, who);
      expect(await reasonOf(world, () => putTrustRule(call, RULE, rule, null))).toBe(reason);
      expect(await reasonOf(world, () => deleteTrustRule(call, RULE, null))).toBe(reason);
      expect(await reasonOf(world, () => getTrustRule(call, RULE))).toBe(reason);
      expect(await reasonOf(world, () => listTrustRules(call, 'acme', { after: '', limit: 10 }))).toBe(reason);
    }
  });

  test('of the registry is saved by administrators only', async () => {
    const call = await callAs(world, owner);
    expect(await reasonOf(world, () => putTrustRule(call, 'ci:deploy', rule, null))).toBe('forbidden');
  });

  test('is not saved if it trusts everybody, reaches outside its organization, or uses an unsafe issuer', async () => {
    const call = await callAs(world, owner);
    const outside = rule.statements.map((statement) => ({ ...statement, repositories: ['other/*'] }));
    for (const unsafe of [
      { ...rule, claims: {} },
      { ...rule, claims: { project: '*' } },
      { ...rule, statements: outside },
      { ...rule, issuer: 'http://issuer.example.com' },
      { ...rule, lifetime: 7 * 24 * 3600 },
      { ...rule, statements: [] },
    ]) {
      expect(await reasonOf(world, () => putTrustRule(call, RULE, unsafe, null))).toBe('request-invalid');
    }
  });
});
