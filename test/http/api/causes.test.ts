/** The cause of a change of tags and manifests in events, in the history and in deliveries. */
import { beforeEach, describe, expect, test } from 'vitest';
import { matchEvents } from '../../../src/webhooks/delivery/matching.ts';
import { remove, restored } from '../../registry/trash/trash.ts';
import { pushImage, putManifest, textOf } from '../../world/images.ts';
import { api } from '../../world/people.ts';
import { newWorld, type World } from '../../world/world.ts';

const REPOSITORY = 'acme/api';
let world: World;
let ids: string[];
let digests: [string, string];

const path = (rest: string) => `/repositories/${REPOSITORY}/-/${rest}`;
const rollBack = async (tag: string, body: object) =>
  expect((await api(world, 'POST', path(`tags/${tag}/rollback`), { body })).status).toBe(200);

/** Creates a webhook with default types in each of two formats. */
beforeEach(async () => {
  world = await newWorld();
  const first = await pushImage(world, REPOSITORY, 'v1');
  ids = [];
  for (const format of ['native', 'docker-hub']) {
    const body = { url: 'https://hooks.example.com/', format };
    const made = await api<{ webhook: { id: string } }>(world, 'POST', path('webhooks'), { body });
    ids.push(made.body.webhook.id);
  }
  const second = await pushImage(world, REPOSITORY, 'v1', 2);
  digests = [first.digest, second.digest];
});

interface Logged {
  type: string;
  target: { tag?: string; digest: string; cause?: string };
}

/** The events as `<type> <cause>`, the oldest first. */
async function logged(query = ''): Promise<string[]> {
  const { body } = await api<{ items: Logged[] }>(world, 'GET', `/events?repository=${REPOSITORY}${query}`);
  return body.items.reverse().map(({ type, target }) => `${type} ${target.cause ?? 'none'}`);
}

/** The events that the default webhooks get. Expects that they are the same in both formats. */
async function told(): Promise<string[]> {
  while (!(await matchEvents(world.env, async () => new Map(), 4)));
  const { results } = await world.env.DB.prepare(
    `SELECT subscription, event_data ->> '$.event.type' || ' ' || (event_data ->> '$.event.target.cause') AS said
     FROM deliveries ORDER BY event`,
  ).all<{ subscription: string; said: string }>();
  const [one = [], other = []] = ids.map((id) =>
    results.filter(({ subscription }) => subscription === id).map(({ said }) => said),
  );
  expect(other).toEqual(one);
  return one;
}

async function causesIn(tag: string): Promise<unknown[]> {
  const { body } = await api<{ items: { cause: string | null }[] }>(world, 'GET', path(`tags/${tag}/history`));
  return body.items.reverse().map(({ cause }) => cause);
}

describe('a tag', () => {
  test('that is restored to what it named last starts no deployment', async () => {
    await remove(world, REPOSITORY, 'v1');
    await restored(world, REPOSITORY, 'v1');
    expect((await logged()).slice(-3)).toEqual(['tag.moved push', 'tag.deleted deletion', 'tag.restored restore']);
    expect(await causesIn('v1')).toEqual(['push', 'push', 'deletion', 'restore']);
    expect(await told()).toEqual(['tag.moved push']);
  });

  test('that comes back with its image starts none either', async () => {
    await remove(world, REPOSITORY, digests[1]);
    await restored(world, REPOSITORY, digests[1]);
    expect((await logged()).slice(-2)).toEqual(['manifest.restored restore', 'tag.restored restore']);
    expect(await told()).toEqual(['tag.moved push']);
  });

  test('that is restored to another image than it named last starts one', async () => {
    await remove(world, REPOSITORY, digests[1]);
    await putManifest(world, REPOSITORY, 'v1', textOf(await pushImage(world, REPOSITORY, 'other', 3)));
    await remove(world, REPOSITORY, 'v1');
    expect(await restored(world, REPOSITORY, digests[1])).toMatchObject({ tags: ['v1'] });
    expect((await logged()).at(-1)).toBe('tag.created restore');
    expect((await told()).at(-1)).toBe('tag.created restore');
  });

  test('that is rolled back starts a deployment if it names another image', async () => {
    await rollBack('v1', { digest: digests[0] });
    await rollBack('v1', { digest: digests[0] });
    expect((await logged()).slice(-2)).toEqual(['tag.moved push', 'tag.moved rollback']);
    expect(await causesIn('v1')).toEqual(['push', 'push', 'rollback']);
    await remove(world, REPOSITORY, 'v1');
    await rollBack('v1', { digest: digests[0] });
    expect((await logged()).at(-1)).toBe('tag.restored rollback');
    await remove(world, REPOSITORY, 'v1');
    await rollBack('v1', { digest: digests[1] });
    expect(await told()).toEqual(['tag.moved push', 'tag.moved rollback', 'tag.created rollback']);
  });

  test('that was pushed again after its deletion starts one: a push is a push', async () => {
    await remove(world, REPOSITORY, 'v1');
    await pushImage(world, REPOSITORY, 'v1', 2);
    expect(await told()).toEqual(['tag.moved push', 'tag.created push']);
  });
});

test('the log is searched by cause', async () => {
  await remove(world, REPOSITORY, 'v1');
  await restored(world, REPOSITORY, 'v1');
  expect(await logged('&cause=restore')).toEqual(['tag.restored restore']);
  expect(await logged('&cause=deletion')).toEqual(['tag.deleted deletion']);
  expect(await logged('&cause=push')).toEqual(['tag.created push', 'tag.moved push']);
  expect((await api(world, 'GET', '/events?cause=magic')).status).toBe(400);
});

test('a receiver that asks for restored tags is told of them', async () => {
  const asked = { types: ['tag.restored'] };
  for (const id of ids) expect((await api(world, 'PATCH', `/webhooks/${id}`, { body: asked })).status).toBe(200);
  await remove(world, REPOSITORY, 'v1');
  await restored(world, REPOSITORY, 'v1');
  expect(await told()).toEqual(['tag.restored restore']);
});

test('a webhook from the time before default types is told of restored tags only where they look like no push', async () => {
  await world.env.DB.prepare("UPDATE subscriptions SET filter = json_set(filter, '$.types', NULL)").run();
  await remove(world, REPOSITORY, 'v1');
  await restored(world, REPOSITORY, 'v1');
  while (!(await matchEvents(world.env, async () => new Map(), 4)));
  const { results } = await world.env.DB.prepare(
    "SELECT subscription FROM deliveries WHERE event_data ->> '$.event.type' = 'tag.restored'",
  ).all();
  expect(results).toEqual([{ subscription: ids[0] }]);
});
