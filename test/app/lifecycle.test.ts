/** Operations on lifecycle policies check rights and input by themselves, whatever `http` has checked. */
import { beforeEach, describe, expect, test } from 'vitest';
import { deleteLifecycle, getLifecycle, previewLifecycle, putLifecycle, runLifecycle } from '../../src/app/lifecycle.ts';
import { parseRepositoryName } from '../../src/oci/name.ts';
import type { LifecyclePolicy, Rule } from '../../src/registry/lifecycle/policy.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { imageIn } from '../world/images.ts';
import { makeOrganization, makeTeam } from '../world/organizations.ts';
import { inviteUser, type Person } from '../world/people.ts';
import { builtOnce, type World } from '../world/world.ts';

const REPOSITORY = parseRepositoryName('acme/api');
const RULE: Rule = {
  rulePriority: 1,
  selection: { tagStatus: 'any', countType: 'imageCountMoreThan', countNumber: 1 },
  action: { type: 'expire' },
};
const POLICY: LifecyclePolicy = { rules: [RULE] };

let world: World;
let pusher: Person;
let reader: Person;
let stranger: Person;

const build = builtOnce(async (made) => {
  world = made;
  await imageIn(world, REPOSITORY, 1);
  [pusher, reader, stranger] = [
    await inviteUser(world, 'pusher'),
    await inviteUser(world, 'reader'),
    await inviteUser(world, 'someone'),
  ];
  await makeOrganization(world, 'acme', { members: [pusher, reader] });
  const allow = (...actions: string[]) => [{ effect: 'allow', actions, repositories: ['acme/*'] }];
  await makeTeam(world, 'acme', 'pushers', [pusher], allow('pull', 'push', 'delete'));
  await makeTeam(world, 'acme', 'readers', [reader], allow('pull'));
});

beforeEach(async () => {
  world = await build();
});

const as = (person: Person | 'administrator' | null) => callAs(world, person, [REPOSITORY]);

test('policies are saved, deleted, previewed and run by those who administer the repository', { tags: 'slow' }, async () => {
  await putLifecycle(await as('administrator'), REPOSITORY, POLICY, null);
  for (const [person, reason] of [
    [null, 'unauthenticated'],
    [stranger, 'not-found'],
    [pusher, 'forbidden'],
  ] as const) {
    const call = await as(person);
    const other = { rules: [{ ...RULE, rulePriority: 2 }] };
    expect(await reasonOf(world, () => putLifecycle(call, REPOSITORY, other, null))).toBe(reason);
    expect(await reasonOf(world, () => deleteLifecycle(call, REPOSITORY, null))).toBe(reason);
    expect(await reasonOf(world, () => previewLifecycle(call, REPOSITORY, {}))).toBe(reason);
    expect(await reasonOf(world, () => runLifecycle(call, REPOSITORY, null))).toBe(reason);
  }
});

test('the last report tells who ran it only to those who may push', async () => {
  const administrator = await as('administrator');
  await putLifecycle(administrator, REPOSITORY, POLICY, null);
  await runLifecycle(administrator, REPOSITORY, null);
  expect((await getLifecycle(await as(pusher), REPOSITORY)).report?.by).toBe('user:admin');
  expect((await getLifecycle(await as(reader), REPOSITORY)).report?.by).toBeNull();
});

const tagged = (list: Partial<Rule['selection']>): Rule => ({
  ...RULE,
  selection: { ...RULE.selection, tagStatus: 'tagged', ...list },
});

describe('a policy is neither saved nor previewed', () => {
  test.each<[string, Rule[]]>([
    ['without rules', []],
    ['with 51 rules', Array.from({ length: 51 }, (_, n) => ({ ...tagged({ tagPrefixList: ['v'] }), rulePriority: n + 1 }))],
    ['with two rules of one priority', [tagged({ tagPrefixList: ['v'] }), RULE]],
    ['with the priority 0', [{ ...RULE, rulePriority: 0 }]],
    ['with a count that is no whole number', [{ ...RULE, selection: { ...RULE.selection, countNumber: 1.5 } }]],
    ['with a description of two lines', [{ ...RULE, description: 'a\nb' }]],
    ['with a long description', [{ ...RULE, description: 'x'.repeat(257) }]],
    ['with 51 prefixes in a rule', [tagged({ tagPrefixList: Array.from({ length: 51 }, (_, n) => `v${n}`) })]],
    ['with a prefix of 129 characters', [tagged({ tagPrefixList: ['x'.repeat(129)] })]],
    ['with a pattern that matches no tag', [tagged({ tagPatternList: ['a b'] })]],
    ['with a pattern that has five wildcards', [tagged({ tagPatternList: ['*a*b*c*d*'] })]],
    ['with a range that is none', [{ ...tagged({ tagSemverRange: 'nope' }), action: { type: 'keep' } }]],
    ['with a rule that expires and has no count', [{ ...RULE, selection: { tagStatus: 'any' } }]],
  ])('%s', async (_, rules) => {
    const call = await as('administrator');
    expect(await reasonOf(world, () => putLifecycle(call, REPOSITORY, { rules }, null))).toBe('request-invalid');
    expect(await reasonOf(world, () => previewLifecycle(call, REPOSITORY, { policy: { rules } }))).toBe('request-invalid');
  });
});

test('a preview does not go on from a cursor that it has not given', async () => {
  const call = await as('administrator');
  for (const after of [
    '',
    'x',
    '{}',
    '{"after":"a","known":{"thresholds":{},"versions":{"__proto__":["1.0.0"]},"scanned":7}}',
  ]) {
    expect(await reasonOf(world, () => previewLifecycle(call, REPOSITORY, { policy: POLICY, after }))).toBe('request-invalid');
  }
});
