/** Policies in the notation of AWS mean exactly what the statements mean, or are refused. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type PolicyStatement, statementsOfText, textOfStatements } from '../../src/contract/aws-policy.ts';
import { repositoryStatements } from '../../src/contract/statements.ts';
import { ACTIONS } from '../../src/vocabulary/actions.ts';
import { CONDITION_OPERATORS, type ConditionKey } from '../../src/vocabulary/conditions.ts';

const registryId = '123456789012';
const place = { subject: 'repository:acme/app', registryId };

/** A policy with one statement. */
const policy = (statement: object, more: object = {}) =>
  JSON.stringify({ Version: '2012-10-17', ...more, Statement: [{ Effect: 'Allow', Principal: '*', ...statement }] });

const PULL = ['ecr:GetDownloadUrlForLayer', 'ecr:BatchGetImage', 'ecr:BatchCheckLayerAvailability'];
const PUSH = ['ecr:PutImage', 'ecr:InitiateLayerUpload', 'ecr:UploadLayerPart', 'ecr:CompleteLayerUpload'];

describe('actions that allow', () => {
  test.each([
    ['pull only', PULL, ['pull']],
    ['pull, as most examples have it', ['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'], ['pull']],
    ['push and pull', [...PULL, ...PUSH], ['pull', 'push', 'retag']],
    ['everything', 'ecr:*', ACTIONS],
    ['everything of every service', '*', ACTIONS],
    ['wildcards and another case', ['ECR:batchget*', 'ecr:Get*'], ['pull']],
    ['deletion', 'ecr:BatchDeleteImage', ['delete']],
    ['a part of what pulling takes', ['ecr:BatchGetImage', 'ecr:BatchDeleteImage'], ['delete']],
  ])('%s', (_, Action, actions) => {
    expect(statementsOfText(policy({ Action }), place)).toEqual([{ effect: 'allow', actions, principals: ['*'] }]);
  });
});

test.each([
  ['one of the actions of a push', 'ecr:PutImage', ['push', 'retag']],
  ['one of the actions of an administrator', 'ecr:DeleteRepository', ['admin']],
  ['a wildcard', 'ecr:Batch*', ['pull', 'delete']],
])('a denial of %s denies the whole action', (_, Action, actions) => {
  expect(statementsOfText(policy({ Effect: 'Deny', Action }), place)).toEqual([{ effect: 'deny', actions, principals: ['*'] }]);
});

test('principals are users, teams, organizations, robots and everybody', () => {
  const arns = ['user/alice', 'group/acme/dev', 'group/acme', 'role/acme/ci'].map((one) => `arn:aws:iam::${registryId}:${one}`);
  const statements = statementsOfText(policy({ Action: PULL, Principal: { AWS: arns } }), place);
  expect(statements[0]?.principals).toEqual(['user:alice', 'team:acme/dev', 'organization:acme', 'robot:acme/ci']);
  expect(statementsOfText(policy({ Action: PULL, Principal: { AWS: '*' } }), place)[0]?.principals).toEqual(['*']);
});

test.each([`arn:aws:iam::${registryId}:root`, registryId])(
  '%s may do everything anyway, so its statement is left out',
  (arn) => {
    expect(statementsOfText(policy({ Action: PULL, Principal: { AWS: [arn] } }), place)).toEqual([]);
    const mixed = { AWS: [arn, `arn:aws:iam::${registryId}:user/bob`] };
    expect(statementsOfText(policy({ Action: PULL, Principal: mixed }), place)[0]?.principals).toEqual(['user:bob']);
  },
);

test('a denial with NotPrincipal has exceptions', () => {
  const statement = { Effect: 'Deny', Principal: undefined, NotPrincipal: { AWS: `arn:aws:iam::${registryId}:user/bob` } };
  expect(statementsOfText(policy({ ...statement, Action: 'ecr:*' }), place)).toEqual([
    { effect: 'deny', actions: ACTIONS, principals: ['*'], except: ['user:bob'] },
  ]);
});

test('conditions keep their operators, keys and values', () => {
  const Condition = {
    IpAddress: { 'aws:sourceip': ['203.0.113.0/24', '2001:db8::/32'] },
    StringLike: { 'aws:username': 'dev-*', 'berth:tag': ['v*'] },
  };
  expect(statementsOfText(policy({ Action: 'ecr:BatchDeleteImage', Condition }), place)[0]).toMatchObject({
    tags: ['v*'],
    conditions: [
      { operator: 'IpAddress', key: 'aws:SourceIp', values: ['203.0.113.0/24', '2001:db8::/32'] },
      { operator: 'StringLike', key: 'aws:username', values: ['dev-*'] },
    ],
  });
});

describe('a policy is refused, and the message names', () => {
  const refusals: [string, string, RegExp][] = [
    ['broken JSON', '{', /not valid JSON/],
    ['a repeated key', '{"Statement":[],"Statement":[]}', /repeats a key/],
    ['a missing list', '{}', /Statement/],
    ['another version', policy({ Action: '*' }, { Version: '2020-01-01' }), /2012-10-17/],
    ['a member that is not known', policy({ Action: '*', NotAction: 'ecr:*' }), /NotAction is not supported/],
    ['a resource in the policy of a repository', policy({ Action: '*', Resource: '*' }), /Resource is not supported/],
    ['another effect', policy({ Action: '*', Effect: 'allow' }), /Effect.*Allow or Deny/],
    ['actions of another service', policy({ Action: 's3:GetObject' }), /"s3:GetObject" is no action of ECR/],
    ['actions that allow nothing here', policy({ Action: 'ecr:DescribeImages' }), /allow nothing here/],
    [
      'a denial of a part of pulling',
      policy({ Effect: 'Deny', Action: 'ecr:DescribeImages' }),
      /ecr:DescribeImages cannot be denied/,
    ],
    ['no principal', policy({ Action: '*', Principal: undefined }), /either Principal or NotPrincipal/],
    ['a service', policy({ Action: '*', Principal: { Service: 'lambda.amazonaws.com' } }), /kind Service/],
    ['another account', policy({ Action: '*', Principal: { AWS: 'arn:aws:iam::999999999999:user/a' } }), /another account/],
    ['a principal of another form', policy({ Action: '*', Principal: { AWS: 'alice' } }), /"alice" is no principal/],
    [
      'a denial to root',
      policy({ Effect: 'Deny', Action: '*', Principal: { AWS: registryId } }),
      /nothing can be denied to root/,
    ],
    [
      'a key that is not supported',
      policy({ Action: '*', Condition: { StringEquals: { 'aws:PrincipalOrgID': 'o-1' } } }),
      /the key aws:PrincipalOrgID/,
    ],
    [
      'an operator that is not supported',
      policy({ Action: '*', Condition: { StringEqualsIfExists: { 'aws:username': 'a' } } }),
      /StringEqualsIfExists/,
    ],
    ['a variable', policy({ Action: '*', Condition: { StringEquals: { 'aws:username': '$' + '{aws:userid}' } } }), /variables/],
    [
      'NotPrincipal with Allow',
      policy({ Action: '*', Principal: undefined, NotPrincipal: '*' }),
      /NotPrincipal.*not supported with Allow/,
    ],
    [
      'a prototype as kind',
      policy({ Action: '*', Principal: { AWS: `arn:aws:iam::${registryId}:constructor/x` } }),
      /no principal/,
    ],
  ];

  test.each(refusals)('%s', (_, text, message) => {
    expect(() => statementsOfText(text, place)).toThrow(message);
  });
});

describe('the policy of a team', () => {
  const team = { subject: 'team:acme/dev', registryId };
  const identity = (Resource: unknown) =>
    JSON.stringify({ Statement: { Effect: 'Allow', Action: ['ecr:GetAuthorizationToken', ...PULL], Resource } });

  test.each([
    ['*', ['acme/*']],
    [`arn:aws:ecr:*:${registryId}:repository/acme/web*`, ['acme/web*']],
    ['arn:aws:ecr:eu-central-1:*:repository/acme/app', ['acme/app']],
  ])('names %s', (resource, repositories) => {
    expect(statementsOfText(identity(resource), team)).toEqual([{ effect: 'allow', actions: ['pull'], repositories }]);
  });

  test('names no repository of another registry', () => {
    expect(() => statementsOfText(identity('arn:aws:ecr:eu-central-1:999999999999:repository/a'), team)).toThrow(
      /no repository/,
    );
    expect(() => statementsOfText(identity('arn:aws:s3:::bucket'), team)).toThrow(/no repository/);
  });
});

const conditions = fc.uniqueArray(
  fc.constantFrom(...(Object.keys(CONDITION_OPERATORS) as ConditionKey[])).chain((key) =>
    fc.record({
      key: fc.constant(key),
      operator: fc.constantFrom(...CONDITION_OPERATORS[key]),
      values: fc.array(fc.constantFrom('a', '10.0.0.0/8', '2030-01-01'), { minLength: 1, maxLength: 3 }),
    }),
  ),
  { maxLength: 3, minLength: 1, selector: ({ operator, key }) => `${operator} ${key}` },
);
const principals = fc.uniqueArray(fc.constantFrom('user:a', 'team:acme/b', 'organization:acme', 'robot:acme/c', '*'), {
  minLength: 1,
});

test('every statement of a repository comes back from its text', () => {
  const shape = fc.record(
    {
      effect: fc.constantFrom('allow' as const, 'deny' as const),
      actions: fc.subarray([...ACTIONS], { minLength: 1 }),
      principals,
      tags: fc.array(fc.constantFrom('v*', 'latest'), { minLength: 1 }),
      conditions,
    },
    { requiredKeys: ['effect', 'actions', 'principals'] },
  );
  fc.assert(
    fc.property(fc.array(shape, { maxLength: 4 }), (statements) => {
      const text = textOfStatements(statements as PolicyStatement[], registryId);
      const sorted = (one: PolicyStatement) => ({
        ...one,
        conditions: (one.conditions ?? []).toSorted((x, y) => (x.operator + x.key < y.operator + y.key ? -1 : 1)),
      });
      expect(statementsOfText(text, place).map(sorted)).toEqual((statements as PolicyStatement[]).map(sorted));
    }),
  );
});

test('what the schema of policies refuses cannot be sent in this notation', () => {
  const statements = statementsOfText(policy({ Action: 'ecr:*', Condition: { StringLike: { 'berth:tag': 'v*' } } }), place);
  expect(repositoryStatements.safeParse(statements).success).toBe(false);
});
