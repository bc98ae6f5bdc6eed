/** The page at `/`, for people who are signed in and for others. */
import { beforeEach, describe, expect, test } from 'vitest';
import { Browser, browserOf } from '../../world/browser.ts';
import { pushImage } from '../../world/images.ts';
import { api, inviteUser, type Person } from '../../world/people.ts';
import { builtOnce, type World } from '../../world/world.ts';

let alice: Person;
let bob: Person;
const fresh = builtOnce(async (built) => {
  alice = await inviteUser(built, 'alice');
  bob = await inviteUser(built, 'bob');
  await api(built, 'PUT', '/repositories/alice/open', {
    as: alice.basic,
    body: { visibility: 'public', description: '<b>x</b>' },
  });
  await pushImage(built, 'alice/api', 'v1');
});

let world: World;
beforeEach(async () => {
  world = await fresh();
});

test('a stranger sees public repositories and no others', async () => {
  const page = await new Browser(world).page('/');
  expect(page).toContain('/repositories/alice/open');
  expect(page).toContain('&lt;b&gt;x&lt;/b&gt;');
  expect(page).not.toContain('alice/api');
});

describe('a signed-in person', () => {
  test('sees their repositories, what they did, and commands with their name', async () => {
    const page = await (await browserOf(world, 'alice', alice.secret)).page('/');
    expect(page).toContain('docker login registry.test -u alice');
    expect(page).toContain('docker push registry.test/alice/IMAGE:latest');
    expect(page).toContain(
      '<b>alice</b> created the repository <a class="mono" href="/repositories/alice/open">alice/open</a>',
    );
    expect(page).toContain('/repositories/alice/api');
    expect(page).not.toContain('Needs attention');
    expect(page).not.toContain('Usage today');
  });

  test('does not see what others have', async () => {
    const page = await (await browserOf(world, 'bob', bob.secret)).page('/');
    expect(page).not.toContain('alice/api');
    expect(page).toContain('alice/open');
  });

  test('is told of a disabled webhook and a key that ends, if they are theirs', async () => {
    const { body: made } = await api<{ webhook: { id: string } }>(world, 'POST', '/repositories/alice/api/-/webhooks', {
      as: alice.basic,
      body: { url: 'https://hooks.example.com/x', description: 'Deploys <1>' },
    });
    await api(world, 'PATCH', `/webhooks/${made.webhook.id}`, { as: alice.basic, body: { enabled: false } });
    await api(world, 'POST', '/keys', { as: alice.basic, body: { name: 'short', days: 3 } });
    const page = await (await browserOf(world, 'alice', alice.secret)).page('/');
    expect(page).toContain(`href="/webhooks/${made.webhook.id}"><bdi>Deploys &lt;1&gt;</bdi>`);
    expect(page).toContain('<bdi>short</bdi>');
    expect(await (await browserOf(world, 'bob', bob.secret)).page('/')).not.toContain('Needs attention');
    expect(await (await browserOf(world)).page('/')).toContain(`/webhooks/${made.webhook.id}`);
  });
});

test('an administrator sees the usage of today', async () => {
  const page = await (await browserOf(world)).page('/');
  expect(page).toContain('Usage today');
  expect(page).toContain('<a class="mono" href="/repositories/alice/api/-/tags/v1">alice/api:v1</a>');
  expect(page).toMatch(/Storage<\/span><span class="figures">[^<]+ of 10 GB/);
});
