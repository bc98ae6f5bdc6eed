/** The pages of webhooks and their deliveries. */
import { beforeEach, describe, expect, test } from 'vitest';
import { consume } from '../../../src/queue.ts';
import { browserOf } from '../../world/browser.ts';
import { pushImage } from '../../world/images.ts';
import { makeOrganization } from '../../world/organizations.ts';
import { api, inviteUser, type Person } from '../../world/people.ts';
import { deliverBatch, type TestQueue } from '../../world/queues.ts';
import { builtOnce, type World } from '../../world/world.ts';

const URL_ = 'https://hooks.example.com/in?token=query-0b6a7';
const LIST = '/repositories/alice/api/-/webhooks';

let alice: Person;
let bob: Person;
let reader: Person;
const fresh = builtOnce(async (built) => {
  alice = await inviteUser(built, 'alice');
  bob = await inviteUser(built, 'bob');
  reader = await inviteUser(built, 'reader');
  await makeOrganization(built, 'acme', { owners: [alice] });
  await api(built, 'PUT', '/repositories/alice/api', { as: alice.basic, body: {} });
  const statements = [{ effect: 'allow', actions: ['pull'], principals: ['user:reader'] }];
  await api(built, 'PUT', '/repositories/alice/api/-/policy', { as: alice.basic, body: { statements } });
});

let world: World;
beforeEach(async () => {
  world = await fresh();
});

async function made(fields: Record<string, unknown> = {}): Promise<string> {
  const body = { url: URL_, description: 'Deploys <1>', ...fields };
  const { body: answer } = await api<{ webhook: { id: string } }>(world, 'POST', LIST, { as: alice.basic, body });
  return answer.webhook.id;
}

const stateOf = async (id: string) =>
  (await api<Record<string, unknown>>(world, 'GET', `/webhooks/${id}`, { as: alice.basic })).body;

describe('creating a webhook', () => {
  const form: [string, string][] = [
    ['url', URL_],
    ['description', 'My hook'],
    ['events', 'chosen'],
    ['types', 'tag.created'],
    ['types', 'tag.deleted'],
    ['tags', 'v* latest'],
    ['format', 'slack'],
    ['headers', 'Authorization: Bearer abc\r\nX-Team: blue'],
    ['once', 'a-key-of-this-form'],
  ];

  test('shows the secret once, also if the form is sent twice, and stores what the form says', async () => {
    const browser = await browserOf(world, 'alice', alice.secret);
    const page = await browser.page(`${LIST}/new`);
    expect(page).toContain('berth.image.tag.created');
    const response = await browser.post(`${LIST}/new`, form);
    const text = await response.text();
    const secret = /whsec_[\w+/=]+/.exec(text)?.[0] ?? 'none';
    expect([response.status, response.headers.get('cache-control')]).toEqual([200, 'no-store']);
    expect(await (await browser.post(`${LIST}/new`, form)).text()).toContain(secret);
    const { body } = await api<{ items: Record<string, unknown>[] }>(world, 'GET', LIST, { as: alice.basic });
    expect(body.items).toHaveLength(1);
    expect(body.items[0]).toMatchObject({
      types: ['tag.created', 'tag.deleted'],
      tags: ['v*', 'latest'],
      format: 'slack',
      headerNames: ['Authorization', 'X-Team'],
    });
    const list = await browser.page(LIST);
    expect(list).toContain('My hook');
    expect(list).not.toContain(secret);
    expect(list).not.toContain('query-0b6a7');
  });

  test('comes back filled in if the address is refused', async () => {
    const browser = await browserOf(world, 'alice', alice.secret);
    const response = await browser.post(`${LIST}/new`, {
      url: 'http://10.0.0.1/x',
      description: 'keep <me>',
      format: 'native',
    });
    const text = await response.text();
    expect(response.status).toBe(400);
    expect(text).toContain('value="keep &lt;me&gt;"');
    expect(text).toContain('id="url-error"');
  });

  test('works for an organization and the registry, for those who may', async () => {
    const owner = await browserOf(world, 'alice', alice.secret);
    expect((await owner.post('/organizations/acme/webhooks/new', { url: URL_, events: 'all', format: 'native' })).status).toBe(
      200,
    );
    expect(await owner.page('/organizations/acme/webhooks')).toContain('everything');
    expect((await owner.get('/webhooks')).status).toBe(403);
    const admin = await browserOf(world);
    expect((await admin.post('/webhooks/new', { url: URL_, format: 'native' })).status).toBe(200);
    expect(await admin.page('/webhooks')).toContain('hooks.example.com');
  });
});

describe('a webhook', () => {
  test('is changed, disabled, enabled and deleted, and needs its host typed for the last', async () => {
    const id = await made();
    const browser = await browserOf(world, 'alice', alice.secret);
    const page = await browser.page(`/webhooks/${id}`);
    expect(page).toContain('Deploys &lt;1&gt;');
    const fields = { version: '1', description: 'Other', events: 'all', format: 'native' };
    expect((await browser.post(`/webhooks/${id}`, fields)).status).toBe(303);
    expect(await stateOf(id)).toMatchObject({ description: 'Other', types: ['*'], enabled: true });
    const late = await browser.post(`/webhooks/${id}`, { ...fields, description: 'Late <b>', tags: 'v*' });
    const conflict = (await late.text()).replaceAll(/<[^>]+>/g, '|');
    expect([late.status, conflict]).toEqual([412, expect.stringMatching(/Stands now.*Description\|+Late &lt;b&gt;\|+Other\|/)]);
    expect(conflict).toMatch(/Only these tags\|+v\*\|+empty\|/);
    const off = await browser.post(`/webhooks/${id}/state`, { enabled: 'false', version: '2' });
    expect(off.headers.get('location')).toBe(`/webhooks/${id}?notice=disabled`);
    expect(await browser.page(`/webhooks/${id}`)).toContain('Disabled by alice.');
    expect((await browser.post(`/webhooks/${id}/state`, { enabled: 'true' })).status).toBe(303);
    expect((await browser.post(`/webhooks/${id}/delete`, { confirm: 'other' })).status).toBe(400);
    expect((await browser.post(`/webhooks/${id}/delete`, { confirm: 'hooks.example.com' })).headers.get('location')).toBe(
      `${LIST}?notice=deleted`,
    );
    expect((await browser.get(`/webhooks/${id}`)).status).toBe(404);
  });

  test('gets a new secret, which is shown once, and not again on a reload', async () => {
    const id = await made();
    const browser = await browserOf(world, 'alice', alice.secret);
    const response = await browser.post(`/webhooks/${id}/rotate`, { overlap: '3600', version: '1' });
    expect(await response.text()).toMatch(/data-secret.*whsec_/s);
    const again = await browser.post(`/webhooks/${id}/rotate`, { overlap: '3600', version: '1' });
    expect([again.status, (await again.text()).includes('whsec_')]).toEqual([412, false]);
  });

  test('shows its deliveries with what they send, and sends one again', async () => {
    const id = await made();
    await pushImage(world, 'alice/api', 'v1');
    const events = world.env.EVENTS as unknown as TestQueue;
    while (events.held.length > 0) await deliverBatch(events, consume, world.env);
    await world.env.DB.prepare("UPDATE deliveries SET state = 'failed'").run();
    const browser = await browserOf(world, 'alice', alice.secret);
    const delivery = /deliveries\/(wh_\w+)/.exec(await browser.page(`/webhooks/${id}?state=failed`))?.[1];
    const page = await browser.page(`/webhooks/${id}/deliveries/${delivery}`);
    expect(page).toContain('berth.image.tag.created');
    expect(page).toContain('No attempt yet');
    expect((await browser.post(`/webhooks/${id}/deliveries/${delivery}/replay`, {})).headers.get('location')).toBe(
      `/webhooks/${id}/deliveries/${delivery}?notice=replayed`,
    );
    expect((await browser.post(`/webhooks/${id}/replay`, {})).headers.get('location')).toContain('nothing-to-replay');
    expect((await browser.get(`/webhooks/${id}/deliveries/${id}_999`)).status).toBe(404);
  });

  test('is absent for others, and refused to those who may only pull', async () => {
    const id = await made();
    for (const person of [bob, reader]) {
      const browser = await browserOf(world, person.name, person.secret);
      expect((await browser.get(`/webhooks/${id}`)).status).toBe(404);
      expect((await browser.post(`/webhooks/${id}/delete`, { confirm: 'hooks.example.com' })).status).toBe(404);
      expect((await browser.get(LIST)).status).toBe(person === reader ? 403 : 404);
      expect((await browser.post(`${LIST}/new`, { url: URL_ })).status).toBe(person === reader ? 403 : 404);
    }
    const page = await (await browserOf(world, 'reader', reader.secret)).page('/repositories/alice/api');
    expect(page).not.toContain(LIST);
    expect(await stateOf(id)).toMatchObject({ enabled: true });
  });
});
