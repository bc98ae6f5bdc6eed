/** The webhooks of a deleted repository are kept in the trash and restored disabled. They get no events from the meantime. */
import { beforeEach, describe, expect, test } from 'vitest';
import { matchEvents } from '../../../src/webhooks/delivery/matching.ts';
import { removeRepository, restoreRepository, trashRepository } from '../../registry/trash/trash.ts';
import { api, refused } from '../../world/people.ts';
import { newWorld, type World } from '../../world/world.ts';

const REPOSITORY = 'acme/api';
const HOOKS = `/repositories/${REPOSITORY}/-/webhooks`;

interface Webhook {
  id: string;
  enabled: boolean;
  disabled: string | null;
  [field: string]: unknown;
}

let world: World;

beforeEach(async () => {
  world = await newWorld();
  await create();
});

const create = async () => expect((await api(world, 'PUT', `/repositories/${REPOSITORY}`)).status).toBe(201);
const list = async () => (await api<{ items: Webhook[] }>(world, 'GET', HOOKS)).body.items;
const match = async () => {
  while (!(await matchEvents(world.env, async () => new Map(), 4)));
};

async function makeWebhook(): Promise<{ webhook: Webhook; secret: string }> {
  const body = { url: 'https://hooks.example.com/', headers: { authorization: 'Bearer x' }, types: ['*'], description: 'CI' };
  const made = await api<{ webhook: Webhook; secret: string }>(world, 'POST', HOOKS, { body });
  expect(made.status).toBe(201);
  return made.body;
}

/** The types of the events that are sent to a webhook. */
async function toldTo(id: string): Promise<string[]> {
  await match();
  const { results } = await world.env.DB.prepare(
    "SELECT event_data ->> '$.event.type' AS type FROM deliveries WHERE subscription = ? ORDER BY event",
  )
    .bind(id)
    .all<{ type: string }>();
  return results.map(({ type }) => type);
}

describe('a restored webhook', () => {
  test('is as it was, but disabled, and the answer says so', async () => {
    const { webhook } = await makeWebhook();
    const entry = await trashRepository(world, REPOSITORY);
    await match();
    const answer = await restoreRepository(world, entry);
    expect(answer.body).toMatchObject({ webhooks: { restored: [webhook.id], notRestored: 0 } });
    expect(await list()).toEqual([{ ...webhook, enabled: false, disabled: 'restored' }]);
    const log = await api<{ items: object[] }>(world, 'GET', `/events?repository=${REPOSITORY}&type=webhook.disabled`);
    expect(log.body.items).toMatchObject([
      { target: { id: webhook.id, reason: 'restored' }, actor: { subject: 'user:admin' } },
    ]);
  });

  test('hears neither of the time in the trash nor of its restoration, even if it is enabled at once', async () => {
    const { webhook } = await makeWebhook();
    const entry = await trashRepository(world, REPOSITORY);
    expect(await toldTo(webhook.id)).toEqual(['repository.deleted']);
    await create();
    await removeRepository(world, REPOSITORY);
    await restoreRepository(world, entry);
    expect((await api(world, 'PATCH', `/webhooks/${webhook.id}`, { body: { enabled: true } })).status).toBe(200);
    expect(await toldTo(webhook.id)).toEqual(['repository.deleted', 'webhook.changed']);
  });

  test('is one, if two restore the repository at once', async () => {
    const { webhook } = await makeWebhook();
    const entry = await trashRepository(world, REPOSITORY);
    const answers = await Promise.all([restoreRepository(world, entry), restoreRepository(world, entry)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 404]);
    expect((await list()).map(({ id }) => id)).toEqual([webhook.id]);
  });

  test('keeps the reason for which it was disabled', async () => {
    const { webhook } = await makeWebhook();
    await api(world, 'PATCH', `/webhooks/${webhook.id}`, { body: { enabled: false } });
    await restoreRepository(world, await trashRepository(world, REPOSITORY));
    expect((await list()).map(({ disabled }) => disabled)).toEqual(['by user:admin']);
  });
});

test('webhooks of a repository in the trash are not found, changed or sent anything', async () => {
  const { webhook } = await makeWebhook();
  await trashRepository(world, REPOSITORY);
  await create();
  expect(await list()).toEqual([]);
  for (const method of ['GET', 'PATCH', 'DELETE']) {
    const answer = await api(world, method, `/webhooks/${webhook.id}`, method === 'PATCH' ? { body: { enabled: true } } : {});
    expect(refused(answer)).toBe('404 NOT_FOUND');
  }
  expect(await toldTo(webhook.id)).toEqual(['repository.deleted']);
});

test('a restore keeps within the limit on the webhooks of an owner, and says how many are lost', async () => {
  const { webhook } = await makeWebhook();
  const { webhook: second } = await makeWebhook();
  const entry = await trashRepository(world, REPOSITORY);
  // Inserts 199 webhooks of other repositories.
  await world.env.DB.prepare(
    `INSERT INTO subscriptions (id, scope, description, endpoint, filter, format, origin, first_event, created_at, created_by)
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 199)
     SELECT 'wh_' || i, 'repository:acme/r' || i, '', endpoint, filter, format, origin, 0, 0, created_by
       FROM n, (SELECT * FROM subscriptions LIMIT 1)`,
  ).run();
  const [first = ''] = [webhook.id, second.id].sort();
  const { body } = await restoreRepository(world, entry);
  expect(body).toMatchObject({ webhooks: { restored: [first], notRestored: 1 } });
  expect((await list()).map(({ id }) => id)).toEqual([first]);
  const left = await world.env.DB.prepare('SELECT count(*) AS count FROM trashed_subscriptions').first('count');
  expect(left).toBe(0);
});
