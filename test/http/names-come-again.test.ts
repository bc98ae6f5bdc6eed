/** Entries of the trash while another user creates something with the same name, or with a name that an entry contains. */
import { beforeEach, describe, expect, test } from 'vitest';
import { collect, daysPass } from '../registry/gc/garbage.ts';
import { remove, restoreRepository, trashRepository } from '../registry/trash/trash.ts';
import { pushImage } from '../world/images.ts';
import { makeOrganization } from '../world/organizations.ts';
import { type ApiRequest, api, inviteUser, type Person } from '../world/people.ts';
import { builtOnce, type World } from '../world/world.ts';

const REPOSITORY = 'acme/api';
const POLICY = `/repositories/${REPOSITORY}/-/policy`;

let world: World;
let bob: Person;

const build = builtOnce(async (made) => {
  world = made;
  bob = await inviteUser(world, 'bob');
  await makeOrganization(world, 'acme', { members: [bob] });
});

beforeEach(async () => {
  world = await build();
});

async function must(method: string, path: string, request?: ApiRequest): Promise<void> {
  const { status, body } = await api(world, method, path, request);
  expect(status, `${method} ${path}: ${JSON.stringify(body)}`).toBeLessThan(300);
}

const letting = (principal: string, actions: string | string[]) => ({
  body: { statements: [{ effect: 'allow', actions, principals: [principal] }] },
});

async function typesSeenBy(person: Person): Promise<string[]> {
  const request = { as: person.basic };
  const { status, body } = await api<{ items: { type: string }[] }>(world, 'GET', `/events?repository=${REPOSITORY}`, request);
  expect(status).toBe(200);
  return body.items.map(({ type }) => type);
}

/** Makes deleted content so old that the next pass of the collector purges it. The repository itself stays in the trash. */
async function purgeWhatWasDeletedBefore(): Promise<void> {
  await daysPass(world, 10);
  await world.env.DB.prepare("UPDATE trash SET deleted_at = unixepoch() WHERE kind = 'repository'").run();
  await collect(world);
}

describe('the policy of a repository in the trash', () => {
  test('treats a deleted team like one that exists: a new team with its name gets none of its rights', async () => {
    await must('PUT', '/organizations/acme/teams/dev');
    await pushImage(world, REPOSITORY, 'v1', 1);
    await must('PUT', POLICY, letting('team:acme/dev', ['pull']));
    const entry = await trashRepository(world, REPOSITORY);
    await must('DELETE', '/organizations/acme/teams/dev');

    const again = await api(world, 'PUT', '/organizations/acme/teams/dev');
    if (again.status < 300) await must('PUT', '/organizations/acme/teams/dev/members/bob');
    expect((await restoreRepository(world, entry)).status).toBe(200);
    expect((await world.fetch('GET', `/v2/${REPOSITORY}/manifests/v1`, { authorization: bob.basic })).status).not.toBe(200);
  });
});

describe('the audit log of a recreated repository', () => {
  test('does not show the purges of the previous repository from before it was recreated', async () => {
    await pushImage(world, REPOSITORY, 'secret-name', 1);
    await remove(world, REPOSITORY, 'secret-name');
    await trashRepository(world, REPOSITORY);
    await purgeWhatWasDeletedBefore();
    await must('PUT', `/repositories/${REPOSITORY}`);
    await must('PUT', POLICY, letting('user:bob', 'all actions'));
    expect(await typesSeenBy(bob)).toEqual(['policy.saved', 'repository.created']);
  });

  test('does not show the purges of the previous repository from after it was recreated', async () => {
    await pushImage(world, REPOSITORY, 'secret-name', 1);
    await remove(world, REPOSITORY, 'secret-name');
    await trashRepository(world, REPOSITORY);
    await must('PUT', `/repositories/${REPOSITORY}`);
    await must('PUT', POLICY, letting('user:bob', 'all actions'));
    await purgeWhatWasDeletedBefore();
    expect(await typesSeenBy(bob)).toEqual(['policy.saved', 'repository.created']);
  });
});

describe('a deleted repository', () => {
  test('still shows its deletion to the owners of its name after some of it was purged', async () => {
    await must('PUT', '/organizations/acme/teams/dev');
    await must('PUT', '/organizations/acme/teams/dev/members/bob');
    const body = { statements: [{ effect: 'allow', actions: 'all actions', repositories: ['acme/*'] }] };
    await must('PUT', '/organizations/acme/teams/dev/policy', { body });
    await pushImage(world, REPOSITORY, 'v1', 1);
    await remove(world, REPOSITORY, 'v1');
    await trashRepository(world, REPOSITORY);
    expect(await typesSeenBy(bob)).toContain('repository.deleted');
    await purgeWhatWasDeletedBefore();
    expect(await typesSeenBy(bob)).toContain('repository.deleted');
  });
});
