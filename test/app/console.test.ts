/** Operations that only the console calls check rights by themselves. */
import { beforeEach, expect, test } from 'vitest';
import { getAttention } from '../../src/app/home.ts';
import { getPayload, samplePayload } from '../../src/app/payloads.ts';
import { createWebhook } from '../../src/app/subscriptions.ts';
import { getDeletedRepository } from '../../src/app/trash.ts';
import { listLargest } from '../../src/app/usage.ts';
import { callAs, reasonOf } from '../world/call.ts';
import { pushImage } from '../world/images.ts';
import { makeOrganization } from '../world/organizations.ts';
import { api, inviteUser, type Person } from '../world/people.ts';
import { builtOnce, type World } from '../world/world.ts';

let world: World;
let owner: Person;
let stranger: Person;

const build = builtOnce(async (made) => {
  owner = await inviteUser(made, 'owning');
  stranger = await inviteUser(made, 'someone');
  await makeOrganization(made, 'acme', { owners: [owner] });
  await pushImage(made, 'acme/api', 'v1');
});

beforeEach(async () => {
  world = await build();
});

test('the largest repositories of an organization are for its owners, and those of the registry for administrators', async () => {
  expect(await listLargest(await callAs(world, owner), 'acme', 10)).toMatchObject([{ name: 'acme/api', tags: 1 }]);
  const other = await callAs(world, stranger);
  expect(await reasonOf(world, () => listLargest(other, 'acme', 10))).toBe('not-found');
  expect(await reasonOf(world, async () => listLargest(await callAs(world, owner), null, 10))).toBe('forbidden');
});

test('a deleted repository is named only to those who may restore it', async () => {
  const { body } = await api<{ entry: string }>(world, 'DELETE', '/repositories/acme/api?force=true');
  expect(await getDeletedRepository(await callAs(world, owner), body.entry)).toEqual({ name: 'acme/api' });
  for (const entry of [body.entry, '999', 'x']) {
    expect(await reasonOf(world, async () => getDeletedRepository(await callAs(world, stranger), entry))).toBe('not-found');
  }
});

test('what needs attention is about webhooks of the caller only', async () => {
  const call = await callAs(world, owner);
  const wanted = { url: 'https://hooks.example.com/x', format: 'native' as const };
  const { webhook } = await createWebhook(call, 'organization:acme', wanted, { requestOrigin: call.origin, idempotency: null });
  await world.env.DB.prepare('UPDATE subscriptions SET open_until = unixepoch() + 600').run();
  expect((await getAttention(call)).webhooks).toMatchObject([{ id: webhook.id, disabled: null }]);
  expect((await getAttention(await callAs(world, stranger))).webhooks).toEqual([]);
  expect(await reasonOf(world, async () => getPayload(await callAs(world, stranger), webhook, `${webhook.id}_1`))).toBe(
    'not-found',
  );
  expect(JSON.parse(samplePayload(call, 'slack', 'acme/api').body)).toHaveProperty('text');
});
