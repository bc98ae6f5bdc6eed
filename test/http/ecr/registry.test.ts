import { beforeEach, expect, test } from 'vitest';
import { ecr } from '../../world/aws.ts';
import { inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

let world: World;
let alice: Person;

const build = builtOnce(async (made) => {
  alice = await inviteUser(made, 'alice');
});

beforeEach(async () => {
  world = await build();
});

const call = (operation: string, input: object = {}) => ecr(world, { id: alice.keyId, secret: alice.secret }, operation, input);

test.each([
  ['DescribeRegistry', {}, { replicationConfiguration: { rules: [] } }],
  ['PutReplicationConfiguration', { replicationConfiguration: { rules: [] } }, { replicationConfiguration: { rules: [] } }],
  ['GetRegistryScanningConfiguration', {}, { scanningConfiguration: { scanType: 'BASIC', rules: [] } }],
  ['DescribePullThroughCacheRules', {}, { pullThroughCacheRules: [] }],
  ['DescribeRepositoryCreationTemplates', {}, { repositoryCreationTemplates: [] }],
  ['ListPullTimeUpdateExclusions', {}, { pullTimeUpdateExclusions: [] }],
  ['ListReplicationBackfills', {}, { backfills: [] }],
])('%s says that there is nothing', async (operation, input, output) => {
  const { status, body } = await call(operation, input);
  expect([status, body]).toEqual([200, expect.objectContaining(output)]);
});

test.each([
  ['GetRegistryPolicy', {}, 'RegistryPolicyNotFound'],
  ['DeleteRegistryPolicy', {}, 'RegistryPolicyNotFound'],
  ['GetSigningConfiguration', {}, 'SigningConfigurationNotFound'],
  ['DeleteSigningConfiguration', {}, 'SigningConfigurationNotFound'],
  ['DescribePullThroughCacheRules', { ecrRepositoryPrefixes: ['quay'] }, 'PullThroughCacheRuleNotFound'],
  ['DeletePullThroughCacheRule', { ecrRepositoryPrefix: 'quay' }, 'PullThroughCacheRuleNotFound'],
  ['DeleteRepositoryCreationTemplate', { prefix: 'shop' }, 'TemplateNotFound'],
  [
    'PutReplicationConfiguration',
    { replicationConfiguration: { rules: [{ destinations: [{ region: 'us-east-1', registryId: '123456789012' }] }] } },
    'Validation',
  ],
  ['CreatePullThroughCacheRule', {}, 'UnsupportedOperation'],
])('%s with %j is refused with the status 400', async (operation, input, error) => {
  expect(await call(operation, input)).toMatchObject({ status: 400, error });
});

test('the registry has one number of 12 digits, which never changes', async () => {
  const numbers = await Promise.all([call('DescribeRegistry'), call('GetRegistryScanningConfiguration')]);
  const [one, other] = numbers.map(({ body }) => body.registryId);
  expect(one).toMatch(/^\d{12}$/);
  expect(other).toBe(one);
});
