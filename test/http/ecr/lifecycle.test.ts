import { beforeEach, expect, test } from 'vitest';
import { ecr } from '../../world/aws.ts';
import { pushImage } from '../../world/images.ts';
import { api, inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

let world: World;
let alice: Person;
let bob: Person;

const build = builtOnce(async (made) => {
  alice = await inviteUser(made, 'alice');
  bob = await inviteUser(made, 'bob');
  for (const [seed, tag] of ['pr-1', 'pr-2', 'pr-3', 'v1'].entries()) {
    await pushImage(made, 'alice/app', tag, seed);
    // Images are counted by the time of their push, in seconds.
    await made.env.DB.prepare('UPDATE tags SET updated_at = updated_at + ?1 WHERE name = ?2').bind(seed, tag).run();
  }
});

beforeEach(async () => {
  world = await build();
});

const repositoryName = 'alice/app';

function call<T = Record<string, unknown>>(operation: string, input: object = {}, who = alice) {
  return ecr<T>(world, { id: who.keyId, secret: who.secret }, operation, { repositoryName, ...input });
}

/** A policy with spaces, which must come back as they are. */
const policyText = (count: number) =>
  JSON.stringify(
    {
      rules: [
        {
          rulePriority: 7,
          description: 'previews',
          selection: { tagStatus: 'tagged', tagPatternList: ['pr-*'], countType: 'imageCountMoreThan', countNumber: count },
          action: { type: 'expire' },
        },
      ],
    },
    null,
    1,
  );

test('a policy is saved, read as it was sent, and deleted', async () => {
  const saved = await call('PutLifecyclePolicy', { lifecyclePolicyText: policyText(1) });
  expect(saved.body).toMatchObject({ repositoryName, lifecyclePolicyText: policyText(1) });
  const notRun = { ...saved.body, lastEvaluatedAt: 0 };
  expect((await call('GetLifecyclePolicy')).body).toEqual(notRun);
  expect((await call('DeleteLifecyclePolicy')).body).toEqual(notRun);
  const { registryId } = saved.body;
  expect(await call('GetLifecyclePolicy')).toMatchObject({
    status: 400,
    error: 'LifecyclePolicyNotFound',
    message: `Lifecycle policy does not exist for the repository with name 'alice/app' in the registry with id '${registryId}'`,
  });
  expect((await call('DeleteLifecyclePolicy')).error).toBe('LifecyclePolicyNotFound');
});

test('a policy that was changed in another way is told as it is now', async () => {
  await call('PutLifecyclePolicy', { lifecyclePolicyText: policyText(1) });
  const rules = JSON.parse(policyText(2)).rules;
  await api(world, 'PUT', '/repositories/alice%2Fapp/-/lifecycle', { as: alice.bearer, body: { rules } });
  const { body } = await call<{ lifecyclePolicyText: string }>('GetLifecyclePolicy');
  expect(JSON.parse(body.lifecyclePolicyText)).toEqual({ rules });
});

test.each([
  ['not JSON', 'x'.repeat(100), /not valid JSON/],
  ['without rules', `{"rules":[]}${' '.repeat(100)}`, /rules/],
  [
    'with a storage class',
    policyText(1).replace('"countNumber"', '"storageClass": "standard", "countNumber"'),
    /storage classes are not supported/,
  ],
  [
    'that expires everything tagged twice',
    policyText(1).replace('"tagPatternList"', '"tagPrefixList": ["pr"], "tagPatternList"'),
    /needs either/,
  ],
])('a policy %s is refused with the reason, and nothing changes', async (_, lifecyclePolicyText, message) => {
  const answer = await call('PutLifecyclePolicy', { lifecyclePolicyText });
  expect(answer.error).toBe('InvalidParameter');
  expect(answer.message).toMatch(
    /^Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure: /,
  );
  expect(answer.message).toMatch(message);
  expect((await call('GetLifecyclePolicy')).error).toBe('LifecyclePolicyNotFound');
});

interface Preview {
  status: string;
  previewResults: {
    imageTags?: string[];
    imageDigest: string;
    appliedRulePriority: number;
    action: object;
    imagePushedAt: number;
  }[];
  summary: { expiringImageTotalCount: number };
  nextToken?: string;
}

test('a preview is started with a policy, and lists a row for each image page by page', async () => {
  expect((await call('GetLifecyclePolicyPreview')).error).toBe('LifecyclePolicyPreviewNotFound');
  const started = await call('StartLifecyclePolicyPreview', { lifecyclePolicyText: policyText(1) });
  expect(started.body).toMatchObject({ status: 'IN_PROGRESS', lifecyclePolicyText: policyText(1) });
  const first = (await call<Preview>('GetLifecyclePolicyPreview', { maxResults: 1 })).body;
  expect(first).toMatchObject({ status: 'COMPLETE', summary: { expiringImageTotalCount: 2 } });
  const second = (await call<Preview>('GetLifecyclePolicyPreview', { maxResults: 1, nextToken: first.nextToken })).body;
  expect(second.nextToken).toBeUndefined();
  const rows = [...first.previewResults, ...second.previewResults];
  expect(rows.flatMap(({ imageTags = [] }) => imageTags).sort()).toEqual(['pr-1', 'pr-2']);
  expect(rows[0]).toMatchObject({ action: { type: 'EXPIRE' }, appliedRulePriority: 7, imagePushedAt: expect.any(Number) });
  const named = await call<Preview>('GetLifecyclePolicyPreview', { imageIds: [{ imageTag: 'pr-2' }] });
  expect(named.body.previewResults).toMatchObject([{ imageTags: ['pr-2'] }]);
  const untagged = await call<Preview>('GetLifecyclePolicyPreview', { filter: { tagStatus: 'UNTAGGED' } });
  expect(untagged.body.previewResults).toEqual([]);
  expect((await world.fetch('GET', '/v2/alice/app/manifests/pr-1')).status).toBe(200);
});

test('a preview without a policy tries the saved one', async () => {
  expect((await call('StartLifecyclePolicyPreview')).error).toBe('LifecyclePolicyNotFound');
  await call('PutLifecyclePolicy', { lifecyclePolicyText: policyText(2) });
  expect((await call('StartLifecyclePolicyPreview')).body).toMatchObject({ lifecyclePolicyText: policyText(2) });
  expect((await call<Preview>('GetLifecyclePolicyPreview')).body.summary).toEqual({ expiringImageTotalCount: 1 });
});

test('a token of another list is refused', async () => {
  await call('StartLifecyclePolicyPreview', { lifecyclePolicyText: policyText(1) });
  for (const nextToken of ['x', 'eyJhIjoxfQ', '%%%'])
    expect((await call('GetLifecyclePolicyPreview', { nextToken })).error).toBe('InvalidParameter');
});

test('somebody who may not pull does not learn that the repository or its policy exists', async () => {
  await call('PutLifecyclePolicy', { lifecyclePolicyText: policyText(1) });
  const operations = [
    'GetLifecyclePolicy',
    'DeleteLifecyclePolicy',
    'StartLifecyclePolicyPreview',
    'GetLifecyclePolicyPreview',
  ];
  for (const operation of operations) {
    const [hidden, absent] = [await call(operation, {}, bob), await call(operation, { repositoryName: 'alice/nil' }, bob)];
    expect([hidden.error, absent.error], operation).toEqual(['RepositoryNotFound', 'RepositoryNotFound']);
  }
  expect((await call('PutLifecyclePolicy', { lifecyclePolicyText: policyText(1) }, bob)).error).toBe('RepositoryNotFound');
});
