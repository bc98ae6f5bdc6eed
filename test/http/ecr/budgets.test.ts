import { beforeEach, expect, test } from 'vitest';
import { ecr } from '../../world/aws.ts';
import { counting } from '../../world/counting.ts';
import { pushImage } from '../../world/images.ts';
import { inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

let world: World;
let alice: Person;

const build = builtOnce(async (made) => {
  alice = await inviteUser(made, 'alice');
  await pushImage(made, 'alice/app', 'v1');
});

beforeEach(async () => {
  world = await build();
});

const statement = { actions: 'pull only', principals: ['*'] };
const policyText = JSON.stringify({
  Statement: { Effect: 'Allow', Principal: '*', Action: ['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'] },
});
const PATH = '/api/v1/repositories/alice/app';

/** Operations, each with a request of the management API that does the same. */
const TWINS: [string, object, string, string, object?][] = [
  ['DescribeRepositories', { repositoryNames: ['alice/app'] }, 'GET', PATH],
  ['DescribeRepositories', {}, 'GET', '/api/v1/repositories'],
  ['ListImages', { repositoryName: 'alice/app' }, 'GET', `${PATH}/-/tags`],
  ['SetRepositoryPolicy', { repositoryName: 'alice/app', policyText }, 'PUT', `${PATH}/-/policy`, { statements: [statement] }],
  ['GetRepositoryPolicy', { repositoryName: 'alice/app' }, 'GET', `${PATH}/-/policy`],
  ['CreateRepository', { repositoryName: 'alice/one' }, 'PUT', '/api/v1/repositories/alice/two', {}],
  ['DeleteRepository', { repositoryName: 'alice/one' }, 'DELETE', '/api/v1/repositories/alice/two'],
];

test('a signed request takes at most one D1 call more than its twin of the management API', async () => {
  const { env, counts } = counting(world.env);
  const counted = worldOf(env);
  const signed = async (operation: string, input: object) => {
    counts.d1 = 0;
    const { status, message } = await ecr(counted, { id: alice.keyId, secret: alice.secret }, operation, input);
    expect(status, `${operation}: ${message}`).toBe(200);
    // The helper that signs makes one call itself.
    return counts.d1 - 1;
  };
  // The first request also reads the registry's number, and notes the use of the key.
  await signed('DescribeRegistry', {});
  for (const [operation, input, method, path, body] of TWINS) {
    const calls = await signed(operation, input);
    counts.d1 = 0;
    const headers = { 'content-type': 'application/json' };
    const sent = body === undefined ? {} : { body: JSON.stringify(body), headers };
    const { status } = await counted.fetch(method, path, { authorization: alice.bearer, ...sent });
    expect(status, path).toBeLessThan(300);
    expect(calls, operation).toBeLessThanOrEqual(counts.d1 + 1);
  }
});
