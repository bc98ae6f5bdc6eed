/**
 * Webhooks of users who left, were disabled or lost the right to administer. Such webhooks are disabled, an event tells the
 * owners, and another user can take them over.
 */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { consume } from '../../../src/queue.ts';
import { pushImage } from '../../world/images.ts';
import { type Jobs, jobsOf } from '../../world/jobs.ts';
import { makeOrganization, makeRobot, makeTeam } from '../../world/organizations.ts';
import { type ApiRequest, api as anyApi, inviteUser, type Person } from '../../world/people.ts';
import { deliverBatch, type TestQueue } from '../../world/queues.ts';
import { builtOnce, type World } from '../../world/world.ts';

interface Body {
  webhook: { id: string };
  enabled: boolean;
  disabled: string | null;
  items: { type: string; target: Record<string, unknown>; repository: string | null; actor: { subject: string } }[];
}

const api = (method: string, path: string, request?: ApiRequest) => anyApi<Body>(world, method, path, request);

const REPOSITORY = '/repositories/acme/api/-/webhooks';
const ORGANIZATION = '/organizations/acme/webhooks';
const LOST = 'owner-lost-access';
const ADMIN = { actions: 'all actions', repositories: ['acme/*'] };

let world: World;
/** Owners of acme, a member of its administrators' team, an administrator, a robot, and a user named by a policy. */
let olga: Person;
let oscar: Person;
let tina: Person;
let rita: Person;
let robot: Person;
let paul: Person;

const build = builtOnce(async (made) => {
  world = made;
  [olga, oscar, tina, paul] = (await Promise.all(['olga', 'oscar', 'tina', 'paul'].map((name) => inviteUser(world, name)))) as [
    Person,
    Person,
    Person,
    Person,
  ];
  rita = await inviteUser(world, 'rita', { administrator: true });
  await makeOrganization(world, 'acme', { owners: [olga, oscar], members: [tina] });
  await makeTeam(world, 'acme', 'admins', [tina], [ADMIN]);
  robot = await makeRobot(world, 'acme', 'ci', [ADMIN]);
  await done('PUT', '/repositories/acme/api');
  await done('PUT', '/repositories/acme/api/-/policy', {
    body: { statements: [{ actions: 'all actions', principals: [paul.subject] }] },
  });
});

beforeEach(async () => {
  world = await build();
});

afterEach(() => {
  vi.restoreAllMocks();
});

async function done(method: string, path: string, request?: ApiRequest) {
  const answer = await api(method, path, request);
  expect(answer.status, `${method} ${path}: ${JSON.stringify(answer.body)}`).toBeLessThan(300);
  return answer;
}

async function make(place: string, person: Person): Promise<string> {
  const body = { url: 'https://hooks.example.com/in', types: ['*'] };
  return (await done('POST', place, { as: person.basic, body })).body.webhook.id;
}

const queue = (name: 'EVENTS' | 'DELIVERIES') => world.env[name] as unknown as TestQueue;

async function matched(): Promise<void> {
  await world.env.EVENTS.send({ newest: 1 });
  while (queue('EVENTS').held.length > 0) await deliverBatch(queue('EVENTS'), consume, world.env);
}

/** Delivers all messages of the queues. @returns the number of requests to the endpoint */
async function delivered(): Promise<number> {
  await matched();
  let posts = 0;
  vi.spyOn(globalThis, 'fetch').mockImplementation(async () => {
    posts++;
    return new Response('thanks');
  });
  for (let n = queue('DELIVERIES').held.length; n > 0; n -= 5) await deliverBatch(queue('DELIVERIES'), consume, world.env, 5);
  return posts;
}

const stateOf = async (id: string) => {
  const { enabled, disabled } = (await done('GET', `/webhooks/${id}`)).body;
  return { enabled, disabled };
};

const off = { enabled: false, disabled: LOST };
const on = { enabled: true, disabled: null };

const WAYS: [string, () => Person, string, () => Promise<unknown>][] = [
  ['an owner who is removed', () => oscar, ORGANIZATION, () => done('DELETE', '/organizations/acme/members/oscar')],
  [
    'an owner who becomes a member',
    () => oscar,
    ORGANIZATION,
    () => done('PUT', '/organizations/acme/members/oscar', { body: { role: 'member' } }),
  ],
  ['an owner who is disabled', () => oscar, ORGANIZATION, () => done('PATCH', '/users/oscar', { body: { disabled: true } })],
  ['an owner, of a repository', () => oscar, REPOSITORY, () => done('DELETE', '/organizations/acme/members/oscar')],
  ['a member who is removed', () => tina, REPOSITORY, () => done('DELETE', '/organizations/acme/members/tina')],
  [
    'a member who leaves the team',
    () => tina,
    REPOSITORY,
    () => done('DELETE', '/organizations/acme/teams/admins/members/tina'),
  ],
  ['a member whose team is deleted', () => tina, REPOSITORY, () => done('DELETE', '/organizations/acme/teams/admins')],
  [
    "a member whose team's policy changes",
    () => tina,
    REPOSITORY,
    () => done('PUT', '/organizations/acme/teams/admins/policy', { body: { statements: [] } }),
  ],
  [
    'somebody whom the repository names no more',
    () => paul,
    REPOSITORY,
    () => done('PUT', '/repositories/acme/api/-/policy', { body: { statements: [] } }),
  ],
  [
    'somebody of a repository, who is disabled',
    () => paul,
    REPOSITORY,
    () => done('PATCH', '/users/paul', { body: { disabled: true } }),
  ],
  [
    'an administrator who is one no more',
    () => rita,
    '/webhooks',
    () => done('PATCH', '/users/rita', { body: { administrator: false } }),
  ],
  [
    'an administrator who is disabled',
    () => rita,
    '/webhooks',
    () => done('PATCH', '/users/rita', { body: { disabled: true } }),
  ],
  ['a robot that is deleted', () => robot, REPOSITORY, () => done('DELETE', '/organizations/acme/robots/ci')],
  [
    'a robot that is disabled',
    () => robot,
    REPOSITORY,
    () => done('PUT', '/organizations/acme/robots/ci', { body: { disabled: true } }),
  ],
  [
    'a robot whose policy changes',
    () => robot,
    REPOSITORY,
    () => done('PUT', '/organizations/acme/robots/ci/policy', { body: { statements: [] } }),
  ],
];

/** True for ways in which the loss of the right is noticed only when an event is matched. */
const byPolicy = (way: string) => /policy|names no more/.test(way);

describe.each(WAYS)('a webhook of %s', (way, person, place, lose) => {
  test('is disabled at once, sends nothing more, and the owners are told', async () => {
    const id = await make(place, person());
    await pushImage(world, 'acme/api', 'before');
    // The delivery is already waiting when the right is lost.
    await matched();
    await lose();
    if (byPolicy(way)) await matched();
    expect(await stateOf(id)).toEqual(off);
    await pushImage(world, 'acme/api', 'after');
    expect(await delivered()).toBe(0);
    const about = place === '/webhooks' ? '' : place === REPOSITORY ? '&repository=acme/api' : '&organization=acme';
    const { items } = (await done('GET', `/events?type=webhook.disabled${about}`)).body;
    expect(items.map(({ target, actor }) => [target.reason, target.owner, target.id, actor.subject])).toEqual([
      [LOST, person().subject, id, 'registry'],
    ]);
  });

  test('stays enabled if the change does not take the right or is about others', async () => {
    const id = await make(place, place === '/webhooks' ? await inviteUser(world, 'ruth', { administrator: true }) : olga);
    await lose();
    await pushImage(world, 'acme/api', 'after');
    expect(await delivered()).toBeGreaterThan(0);
    expect(await stateOf(id)).toEqual(on);
  });

  test('is disabled when the next event is matched, if the review after the change was lost', async () => {
    const id = await make(place, person());
    await matched();
    await lose();
    await world.env.DB.prepare('UPDATE subscriptions SET disabled = NULL').run();
    await pushImage(world, 'acme/api', 'after');
    expect(await delivered()).toBe(0);
    expect(await stateOf(id)).toEqual(off);
  });
});

test('a webhook of the first administrator is disabled with that account', async () => {
  const id = (await done('POST', '/webhooks', { body: { url: 'https://hooks.example.com/in', types: ['*'] } })).body.webhook.id;
  await done('PATCH', '/users/admin', { as: rita.basic, body: { disabled: true } });
  const { enabled, disabled } = (await done('GET', `/webhooks/${id}`, { as: rita.basic })).body;
  expect({ enabled, disabled }).toEqual(off);
});

describe('a webhook that a CI job created', () => {
  const statement = (...repositories: string[]) => ({ actions: ['admin'], repositories });
  let jobs: Jobs;
  let id: string;

  beforeEach(async () => {
    jobs = await jobsOf(world);
    await jobs.trust('acme/deploy', { statements: [statement('acme/*')] });
    const body = { url: 'https://hooks.example.com/in', types: ['*'] };
    id = (await done('POST', REPOSITORY, { as: `Bearer ${await jobs.token()}`, body })).body.webhook.id;
  });

  test.each([
    ['allows to administer only another repository', [statement('acme/other')]],
    ['denies every job the repository', [statement('acme/*'), { effect: 'deny', ...statement('acme/api') }]],
  ])('is disabled when its trust rule %s', async (_, statements) => {
    await jobs.trust('acme/deploy', { statements });
    await matched();
    expect(await stateOf(id)).toEqual(off);
  });

  test.each([
    ['under a condition', [{ ...statement('acme/*'), when: { ref: 'refs/heads/main' } }]],
    ['by a claim', [statement('acme/{project_path}')]],
    ['except for some jobs', [statement('acme/*'), { effect: 'deny', ...statement('acme/api'), when: { ref: 'x' } }]],
  ])('stays enabled while its trust rule allows the repository %s', async (_, statements) => {
    await jobs.trust('acme/deploy', { statements });
    await matched();
    expect(await stateOf(id)).toEqual(on);
  });
});

test('enabling a webhook takes it over, and it then needs the right of its new owner', async () => {
  const id = await make(ORGANIZATION, oscar);
  await done('DELETE', '/organizations/acme/members/oscar');
  expect(await stateOf(id)).toEqual(off);
  await done('PATCH', `/webhooks/${id}`, { as: olga.basic, body: { enabled: true } });
  await pushImage(world, 'acme/api', 'v2');
  expect(await delivered()).toBeGreaterThan(0);
  expect(await stateOf(id)).toEqual(on);
  await done('PUT', '/organizations/acme/members/oscar', { body: { role: 'owner' } });
  await done('DELETE', '/organizations/acme/members/olga');
  expect(await stateOf(id)).toEqual(off);
});

test('a returning owner can enable their webhook again, and it is not enabled by itself', async () => {
  const id = await make(ORGANIZATION, oscar);
  await done('DELETE', '/organizations/acme/members/oscar');
  await done('PUT', '/organizations/acme/members/oscar', { body: { role: 'owner' } });
  expect(await stateOf(id)).toEqual(off);
  await done('PATCH', `/webhooks/${id}`, { as: oscar.basic, body: { enabled: true } });
  await pushImage(world, 'acme/api', 'v2');
  expect(await delivered()).toBeGreaterThan(0);
});

test('a webhook needs the right of whoever set its URL last', async () => {
  const id = await make(ORGANIZATION, olga);
  await done('PATCH', `/webhooks/${id}`, { as: oscar.basic, body: { url: 'https://oscar.example.com/' } });
  await done('DELETE', '/organizations/acme/members/oscar');
  expect(await stateOf(id)).toEqual(off);
});

test('a webhook that a user disabled keeps showing who it was', async () => {
  const id = await make(ORGANIZATION, oscar);
  await done('PATCH', `/webhooks/${id}`, { as: olga.basic, body: { enabled: false } });
  await done('DELETE', '/organizations/acme/members/oscar');
  expect(await stateOf(id)).toEqual({ enabled: false, disabled: 'by user:olga' });
});
