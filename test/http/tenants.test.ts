/** Content and people of different tenants. Blobs are stored once for all tenants, and this must not reveal them to others. */
import { beforeEach, describe, expect, test } from 'vitest';
import { consume } from '../../src/queue.ts';
import { type Content, contentOf, noise, pushBlob, pushImage, refusal } from '../world/images.ts';
import { makeOrganization, makeTeam } from '../world/organizations.ts';
import { api, inviteUser, type Person } from '../world/people.ts';
import { deliverBatch, type TestQueue } from '../world/queues.ts';
import { builtOnce, type World } from '../world/world.ts';

let world: World;
let alice: Person;
let secret: Content;

/** Creates alpha, in which alice has all rights, and beta with a secret blob, in which she has none. */
const build = builtOnce(async (made) => {
  world = made;
  alice = await inviteUser(world, 'alice');
  await makeOrganization(world, 'alpha', { owners: [alice] });
  await makeOrganization(world, 'beta');
  secret = await pushBlob(world, 'beta/private', noise(1000, 7));
});

beforeEach(async () => {
  world = await build();
});

const as = (person: Person) => ({ authorization: person.basic });

async function bearer(person: Person, ...scopes: string[]): Promise<{ authorization: string }> {
  const query = scopes.map((scope) => `scope=${scope}`).join('&');
  const { token } = (await (await world.fetch('GET', `/token?${query}`, as(person))).json()) as { token: string };
  return { authorization: `Bearer ${token}` };
}

async function holds(repository: string, digest: string): Promise<boolean> {
  return (await world.fetch('HEAD', `/v2/${repository}/blobs/${digest}`)).status === 200;
}

describe('a blob of a repository that the caller may not pull', () => {
  test.each(['?mount={digest}&from=beta/private', '?mount={digest}', '?mount={digest}&from=beta/absent'])(
    'is not mounted with %s: the answer is the same as for an unknown blob',
    async (query) => {
      for (const way of [as(alice), await bearer(alice, 'repository:alpha/app:pull,push', 'repository:beta/private:pull')]) {
        const ask = async (digest: string) => {
          const path = `/v2/alpha/app/blobs/uploads/${query.replace('{digest}', digest)}`;
          const response = await world.fetch('POST', path, way);
          const names = [...response.headers.keys()].sort();
          return { status: response.status, names, body: await response.text() };
        };
        const answer = await ask(secret.digest);
        expect(answer.status).toBe(202);
        expect(answer).toEqual(await ask(`sha256:${'0'.repeat(64)}`));
      }
      expect(await holds('alpha/app', secret.digest)).toBe(false);
    },
  );

  test('cannot be obtained by claiming its digest without its bytes', async () => {
    for (const body of ['', 'short']) {
      const path = `/v2/alpha/app/blobs/uploads/?digest=${secret.digest}`;
      expect(await refusal(await world.fetch('POST', path, { ...as(alice), body }))).toBe('400 DIGEST_INVALID');
    }
    expect(await holds('alpha/app', secret.digest)).toBe(false);
  });

  test("is unknown in the caller's own repositories until the caller pushes all its bytes", async () => {
    await pushImage(world, 'alpha/app', 'v1');
    for (const method of ['GET', 'HEAD', 'DELETE']) {
      const response = await world.fetch(method, `/v2/alpha/app/blobs/${secret.digest}`, as(alice));
      expect(`${method} ${response.status}`).toBe(`${method} 404`);
    }
    const path = `/v2/alpha/app/blobs/uploads/?digest=${secret.digest}`;
    expect((await world.fetch('POST', path, { ...as(alice), body: secret.bytes })).status).toBe(201);
    expect((await world.fetch('GET', `/v2/alpha/app/blobs/${secret.digest}`, as(alice))).status).toBe(200);
    expect((await world.fetch('DELETE', `/v2/alpha/app/blobs/${secret.digest}`, as(alice))).status).toBe(202);
    expect((await world.fetch('GET', `/v2/alpha/app/blobs/${secret.digest}`, as(alice))).status).toBe(404);
    expect(await holds('beta/private', secret.digest)).toBe(true);
  });
});

test('a blob of a public repository can be mounted by anybody who may push, with or without naming the source', async () => {
  await api(world, 'PATCH', '/repositories/beta/private', { body: { visibility: 'public' } });
  for (const [repository, from] of [
    ['alpha/named', '&from=beta/private'],
    ['alpha/found', ''],
  ]) {
    const path = `/v2/${repository}/blobs/uploads/?mount=${secret.digest}${from}`;
    expect((await world.fetch('POST', path, as(alice))).status).toBe(201);
    expect(await holds(repository as string, secret.digest)).toBe(true);
  }
});

test('an upload can only be continued by the caller who started it, even if others may push there too', async () => {
  const bob = await inviteUser(world, 'bob');
  await api(world, 'PUT', '/organizations/alpha/members/bob', { body: { role: 'owner' } });
  const begun = await world.fetch('POST', '/v2/alpha/app/blobs/uploads/', as(alice));
  const location = begun.headers.get('location') as string;
  const content = await contentOf('bytes');
  for (const [method, path] of [
    ['GET', location],
    ['PATCH', location],
    ['PUT', `${location}?digest=${content.digest}`],
    ['DELETE', location],
  ] as const) {
    const body = method === 'PATCH' || method === 'PUT' ? content.bytes : null;
    expect(await refusal(await world.fetch(method, path, { ...as(bob), body }))).toBe('404 BLOB_UPLOAD_UNKNOWN');
  }
  const finished = await world.fetch('PUT', `${location}?digest=${content.digest}`, { ...as(alice), body: content.bytes });
  expect(finished.status).toBe(201);
});

describe('events of one tenant', () => {
  const hook = { url: 'https://hooks.example.com/in', types: ['*'] };

  /** The content of all deliveries of a webhook, read from their rows. Nothing is sent. */
  async function heard(webhook: string): Promise<string[]> {
    const queue = world.env.EVENTS as unknown as TestQueue;
    while (queue.held.length > 0) await deliverBatch(queue, consume, world.env);
    const { body } = await api<{ items: { event: { repository: string | null; organization: string | null } }[] }>(
      world,
      'GET',
      `/webhooks/${webhook}/deliveries`,
    );
    return [...new Set(body.items.map(({ event }) => event.repository ?? event.organization ?? ''))].sort();
  }

  test('reach no webhook or event list of another, however similar the names', async () => {
    const made = async (place: string) => {
      const { body } = await api<{ webhook: { id: string } }>(world, 'POST', `${place}/webhooks`, {
        as: alice.basic,
        body: hook,
      });
      return body.webhook.id;
    };
    await pushImage(world, 'alpha/app', 'v0');
    const [organization, repository] = [await made('/organizations/alpha'), await made('/repositories/alpha/app/-')];
    const others = ['beta/app', 'alpha2/app', 'alpha-2/app', 'alpha.io/app', 'al/app', 'alpha'];
    await makeOrganization(world, 'alpha-2');
    await makeTeam(world, 'alpha', 'dev');
    for (const name of [...others, 'alpha/app', 'alpha/app2', 'alpha/app/deep']) await pushImage(world, name, 'v1');
    expect(await heard(organization)).toEqual(['alpha', 'alpha/app', 'alpha/app/deep', 'alpha/app2']);
    expect(await heard(repository)).toEqual(['alpha/app']);
    const { body } = await api<{ items: { repository: string | null; organization: string | null }[] }>(
      world,
      'GET',
      '/events?organization=alpha&n=1000',
      { as: alice.basic },
    );
    const found = new Set(body.items.map((event) => event.repository ?? event.organization));
    expect([...found].sort()).toEqual(['alpha', 'alpha/app', 'alpha/app/deep', 'alpha/app2']);
  });

  test("cannot be requested with a pattern of another tenant's names", async () => {
    const request = { as: alice.basic, body: { ...hook, repositories: ['*', 'beta/*'] } };
    const { body } = await api<{ webhook: { id: string } }>(world, 'POST', '/organizations/alpha/webhooks', request);
    await pushImage(world, 'beta/private', 'v1');
    await pushImage(world, 'alpha/app', 'v1');
    await api(world, 'POST', `/webhooks/${body.webhook.id}/replay`, { body: { since: '2020-01-01T00:00:00Z' } });
    expect(await heard(body.webhook.id)).toEqual(['alpha/app']);
  });
});

describe('a right to acme/web and to acme/web-*', () => {
  test('reaches no sibling, by token or by password', { tags: 'slow' }, async () => {
    const carol = await inviteUser(world, 'carol');
    await makeOrganization(world, 'acme', { members: [carol] });
    await makeTeam(world, 'acme', 'web', [carol], [{ actions: 'push and pull', repositories: ['acme/web', 'acme/web-*'] }]);
    const mine = ['acme/web', 'acme/web-1', 'acme/web-1/deep'];
    const others = ['acme/web2', 'acme/webx', 'acme/web/deep', 'acme/we', 'acme2/web', 'acme'];
    for (const repository of [...mine, ...others]) await pushImage(world, repository, 'v1');
    for (const repository of [...mine, ...others]) {
      const token = await bearer(carol, `repository:${repository}:pull,push`);
      const seen = await Promise.all(
        [as(carol), token].map(async (way) => (await world.fetch('GET', `/v2/${repository}/manifests/v1`, way)).status),
      );
      expect(`${repository} ${seen}`).toBe(`${repository} ${mine.includes(repository) ? '200,200' : '403,401'}`);
    }
  });
});

describe('an ambiguous path', () => {
  test.each(['alpha%2Fapp', 'alpha/app%2F..%2F..%2Fbeta%2Fprivate', 'alpha%252Fapp'])(
    'is refused under /v2: %s',
    async (name) => {
      const token = await bearer(alice, 'repository:alpha/app:pull,push');
      for (const way of [as(alice), token]) {
        const { status } = await world.fetch('GET', `/v2/${name}/tags/list`, way);
        expect([400, 401, 403]).toContain(status);
      }
    },
  );

  test.each(['alpha%2Fapp%2F..%2F..%2Fbeta%2Fprivate', 'alpha%252Fapp', 'alpha//app', 'alpha/app/%2e%2e/%2e%2e/beta/private'])(
    'reveals nothing of another tenant under /api: %s',
    async (name) => {
      const { status } = await world.fetch('GET', `/api/v1/repositories/${name}`, as(alice));
      expect([400, 404]).toContain(status);
    },
  );
});
