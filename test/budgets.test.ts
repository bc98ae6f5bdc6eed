/**
 * The cost of each request. Written rows are the scarcest resource of the free plan (100,000 a day), and writes to R2 are the
 * most expensive one. A commit that raises a number must say why.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { type Counts, counting } from './world/counting.ts';
import {
  CONFIG_TYPE,
  contentOf,
  descriptorOf,
  IMAGE_TYPE,
  imageIn,
  LAYER_TYPE,
  noise,
  pushBlob,
  pushImage,
  putManifest,
  textOf,
} from './world/images.ts';
import { makeOrganization } from './world/organizations.ts';
import { api, inviteUser } from './world/people.ts';
import { announcedTo } from './world/reading.ts';
import { recordAll } from './world/record.ts';
import { tokenFor } from './world/tokens.ts';
import { builtOnce, type Send, type World, worldOf } from './world/world.ts';

const MIB = 1024 * 1024;
const SCOPES = ['repository:acme/api:pull,push,delete', 'repository:acme/base:pull'];
let world: World;
let bearer: string;

const build = builtOnce(async (made) => {
  world = made;
  await pushImage(world, 'acme/api', 'v1');
  bearer = `Bearer ${await tokenFor(world, ...SCOPES)}`;
});

beforeEach(async () => {
  world = await build();
});

/**
 * Sends one request with a token, as docker does, and counts.
 * @param scopes the scopes of a token that the same isolate has given before. Without them, the isolate remembers no rights
 */
async function cost(method: string, path: string, status: number, init: Send = {}, scopes: string[] = []): Promise<Counts> {
  const { env, counts } = counting(world.env);
  if (scopes.length > 0) await tokenFor(worldOf(env), ...scopes);
  Object.assign(counts, { d1: 0, rowsRead: 0, rowsWritten: 0 });
  const response = await worldOf(env).fetch(method, path, { authorization: bearer, ...init });
  expect(response.status).toBe(status);
  await response.arrayBuffer();
  return counts;
}

async function location(): Promise<string> {
  const response = await world.fetch('POST', '/v2/acme/api/blobs/uploads/', { authorization: bearer });
  return response.headers.get('location') as string;
}

function sum(all: Counts[]): Counts {
  const add = (name: keyof Counts) => all.reduce((total, counts) => total + counts[name], 0);
  return {
    d1: add('d1'),
    rowsRead: add('rowsRead'),
    rowsWritten: add('rowsWritten'),
    r2Reads: add('r2Reads'),
    r2Writes: add('r2Writes'),
  };
}

describe('a pull', () => {
  const pullOnly = async () => `Bearer ${await tokenFor(world, 'repository:acme/api:pull')}`;

  test('of a manifest is one statement by tag or digest, one after the answer to count it, and no R2 operation; so is a HEAD', async () => {
    const authorization = await pullOnly();
    const digest = (await world.fetch('HEAD', '/v2/acme/api/manifests/v1')).headers.get('docker-content-digest');
    for (const reference of ['v1', digest]) {
      const counts = await cost('GET', `/v2/acme/api/manifests/${reference}`, 200, { authorization });
      expect(counts).toMatchObject({ d1: 2, rowsWritten: 1, r2Reads: 0, r2Writes: 0 });
      expect(counts.rowsRead).toBeLessThanOrEqual(8);
      const asked = await cost('HEAD', `/v2/acme/api/manifests/${reference}`, 200, { authorization });
      expect(asked).toMatchObject({ d1: 2, rowsWritten: 0, r2Reads: 0, r2Writes: 0 });
      expect(asked.rowsRead).toBeLessThanOrEqual(8);
    }
    // The row with the day of the last check is written again.
    await world.env.DB.prepare('UPDATE manifest_checks SET day = day - 1').run();
    expect(await cost('HEAD', '/v2/acme/api/manifests/v1', 200, { authorization })).toMatchObject({ d1: 2, rowsWritten: 1 });
  });

  test('of something that is pulled often usually writes nothing', async () => {
    await world.env.DB.prepare(
      `INSERT INTO pulls (repository_id, digest, day, count)
       SELECT repository_id, digest, unixepoch() / 86400, 100000 FROM tags WHERE name = 'v1'`,
    ).run();
    const authorization = await pullOnly();
    const all: Counts[] = [];
    for (let n = 0; n < 50; n++) all.push(await cost('GET', '/v2/acme/api/manifests/v1', 200, { authorization }));
    // Each pull writes with a probability of 1 in 6,250. Two of fifty write with a probability of 1 in thirty thousand.
    expect(sum(all).rowsWritten).toBeLessThanOrEqual(1);
  });

  test('by a caller who may push, by digest (HEAD), writes a lease of one row, and no more for hours', async () => {
    const { digest } = await imageIn(world, 'acme/api', 1);
    const path = `/v2/acme/api/manifests/${digest}`;
    await cost('HEAD', '/v2/acme/api/manifests/v1', 200);
    expect(await cost('HEAD', path, 200)).toMatchObject({ rowsWritten: 1, r2Reads: 0 });
    expect(await cost('HEAD', path, 200)).toMatchObject({ rowsWritten: 0, r2Reads: 0 });
    expect(await cost('HEAD', '/v2/acme/api/manifests/v1', 200)).toMatchObject({ d1: 2, rowsWritten: 0 });
  });

  test('of a large manifest is two statements and one read of R2', async () => {
    await pushImage(world, 'acme/api', 'large', 2, { annotations: { text: 'x'.repeat(200_000) } });
    expect(await cost('GET', '/v2/acme/api/manifests/large', 200)).toMatchObject({ d1: 2, rowsWritten: 1, r2Reads: 1 });
  });

  test('of a blob is one statement and one read of R2; a HEAD is one statement', async () => {
    const blob = await pushBlob(world, 'acme/api', noise(1000));
    expect(await cost('GET', `/v2/acme/api/blobs/${blob.digest}`, 200)).toMatchObject({
      d1: 1,
      rowsWritten: 0,
      r2Reads: 1,
      r2Writes: 0,
    });
    expect(await cost('HEAD', `/v2/acme/api/blobs/${blob.digest}`, 200)).toMatchObject({
      d1: 1,
      rowsWritten: 0,
      r2Reads: 0,
      r2Writes: 0,
    });
    const pullOnly = `Bearer ${await tokenFor(world, 'repository:acme/api:pull')}`;
    const counts = await cost('HEAD', `/v2/acme/api/blobs/${blob.digest}`, 200, { authorization: pullOnly });
    expect(counts).toMatchObject({ d1: 1, rowsWritten: 0, r2Reads: 0 });
    expect(counts.rowsRead).toBeLessThanOrEqual(4);
  });

  test('of an image as docker does it waits for two calls: the token, and the HEAD of the tag', async () => {
    const { env, counts } = counting({ ...world.env, BLOB_CACHE_SECONDS: '60' });
    const on = worldOf(env);
    const ask = async (method: string, path: string, authorization: string | null) => {
      const response = await on.fetch(method, path, { authorization });
      expect(response.status).toBe(200);
      return response;
    };
    await api(world, 'PATCH', '/repositories/acme/api', { body: { visibility: 'public' } });
    const token = await ask('GET', '/token?scope=repository:acme/api:pull', null);
    const authorization = `Bearer ${((await token.json()) as { token: string }).token}`;
    const head = await ask('HEAD', '/v2/acme/api/manifests/v1', authorization);
    const digest = head.headers.get('docker-content-digest');
    const manifest = await ask('GET', `/v2/acme/api/manifests/${digest}`, authorization);
    const { config, layers } = (await manifest.json()) as { config: { digest: string }; layers: { digest: string }[] };
    for (const blob of [config, ...layers]) await ask('GET', `/v2/acme/api/blobs/${blob.digest}`, authorization);
    // The HEAD and the pull are counted after their answers.
    expect(counts).toMatchObject({ d1: 2 + 2, r2Reads: 1 + layers.length });
  });

  test('needs a token, which takes at most one statement', async () => {
    const { env, counts } = counting(world.env);
    await worldOf(env).fetch('GET', '/token?scope=repository:acme/api:pull');
    expect(counts.d1).toBeLessThanOrEqual(1);
    expect(counts.rowsWritten).toBe(0);
  });
});

describe('a user in 20 teams with 200 statements', () => {
  let basic: string;

  beforeEach(async () => {
    const person = await inviteUser(world, 'tina');
    basic = person.basic;
    const put = async (path: string, body: object = {}) => {
      const { status } = await api(world, 'PUT', `/organizations/acme${path}`, { body });
      expect(status, path).toBeLessThan(300);
    };
    await put('');
    await put('/members/tina', { role: 'member' });
    for (let n = 0; n < 20; n++) {
      await put(`/teams/team${n}`);
      await put(`/teams/team${n}/members/tina`);
      const statements = Array.from({ length: 10 }, (_, m) => ({
        effect: m % 5 === 4 ? 'deny' : 'allow',
        actions: ['pull', 'push'],
        repositories: [`acme/${m % 5 === 4 ? 'x' : 'a'}${n}-${m}-*`, `acme/b${n}-${m}`],
      }));
      await put(`/teams/team${n}/policy`, { statements });
    }
  });

  test('gets a token with one statement, and rows in proportion to their teams', async () => {
    const ask = () => cost('GET', '/token?scope=repository:acme/api:pull,push', 200, { authorization: basic });
    // The first use of a key on a day is recorded after the answer.
    expect(await ask()).toMatchObject({ d1: 2, rowsWritten: 1 });
    const counts = await ask();
    expect(counts).toMatchObject({ d1: 1, rowsWritten: 0 });
    expect(counts.rowsRead).toBeLessThanOrEqual(120);
  });

  test('takes one statement to authorize a push, and none for a pull', async () => {
    const authorization = await tokenOf(basic, 'repository:acme/a0-0-x:pull,push');
    const push = await cost('POST', '/v2/acme/a0-0-x/blobs/uploads/', 404, { authorization });
    expect(push).toMatchObject({ d1: 1, rowsWritten: 0 });
    expect(push.rowsRead).toBeLessThanOrEqual(120);
    expect(await cost('GET', '/v2/acme/a0-0-x/tags/list', 404, { authorization })).toMatchObject({ d1: 1, rowsWritten: 0 });
  });

  async function tokenOf(authorization: string, scope: string): Promise<string> {
    const response = await world.fetch('GET', `/token?scope=${scope}`, { authorization });
    return `Bearer ${((await response.json()) as { token: string }).token}`;
  }
});

describe('pushing a blob', () => {
  test('starts with the one statement that checks whether its right still exists', async () => {
    const counts = await cost('POST', '/v2/acme/api/blobs/uploads/', 202);
    expect(counts).toMatchObject({ d1: 1, rowsWritten: 0, r2Writes: 0 });
    expect(counts.rowsRead).toBeLessThanOrEqual(6);
  });

  test.each([
    { size: 5000, calls: 1 },
    { size: 2 * MIB, calls: 2 },
  ])('of $size bytes in one request takes $calls calls, one write of R2 and two rows', async ({ size, calls }) => {
    const scopes = ['repository:acme/api:pull,push'];
    const blob = await contentOf(noise(size, 3));
    const counts = await cost('PUT', `${await location()}?digest=${blob.digest}`, 201, { body: blob.bytes }, scopes);
    expect(counts).toMatchObject({ d1: calls, rowsWritten: 2, r2Writes: 1, r2Reads: 0 });
    const other = await contentOf(noise(size, 4));
    const path = `/v2/acme/api/blobs/uploads/?digest=${other.digest}`;
    const single = await cost('POST', path, 201, { body: other.bytes }, scopes);
    expect(single).toMatchObject({ d1: calls, rowsWritten: 2, r2Writes: 1, r2Reads: 0 });
  });

  test('in an isolate that does not remember the rights of the caller takes two calls', async () => {
    const blob = await contentOf(noise(5000, 3));
    const counts = await cost('PUT', `${await location()}?digest=${blob.digest}`, 201, { body: blob.bytes });
    expect(counts).toMatchObject({ d1: 2, rowsWritten: 2, r2Writes: 1, r2Reads: 0 });
  });

  test('by a user who may not create repositories takes no more calls', async () => {
    const person = await inviteUser(world, 'tina');
    const statements = [{ actions: 'push and pull', repositories: ['acme/*'] }];
    const saved = await api(world, 'PUT', '/users/tina/policy', { body: { statements } });
    expect(saved.status, JSON.stringify(saved.body)).toBe(200);
    const { basic } = person;
    const scope = 'repository:acme/api:pull,push';
    const token = await world.fetch('GET', `/token?scope=${scope}`, { authorization: basic });
    const authorization = `Bearer ${((await token.json()) as { token: string }).token}`;
    const blob = await contentOf(noise(5000, 5));
    expect(await cost('POST', '/v2/acme/api/blobs/uploads/', 202, { authorization })).toMatchObject({ d1: 1, rowsWritten: 0 });
    const path = `/v2/acme/api/blobs/uploads/?digest=${blob.digest}`;
    expect(await cost('POST', path, 201, { authorization, body: blob.bytes })).toMatchObject({ d1: 2, rowsWritten: 2 });
  });

  test.each(['storage', 'stream'])(
    'as docker does (PATCH, PUT; VERIFY=%s) takes at most two calls each, and five rows in all',
    async (verify) => {
      world = worldOf({ ...world.env, VERIFY: verify });
      const blob = await contentOf(noise(5000, 5));
      const path = await location();
      const patch = await cost('PATCH', path, 202, { body: blob.bytes });
      expect(patch).toMatchObject({ r2Writes: 1 });
      expect(patch.d1).toBeLessThanOrEqual(2);
      const put = await cost('PUT', `${path}?digest=${blob.digest}`, 201);
      expect(put).toMatchObject({ r2Writes: 1, r2Reads: 1 });
      expect(put.d1).toBeLessThanOrEqual(2);
      expect(sum([patch, put]).rowsWritten).toBeLessThanOrEqual(5);
    },
  );

  test('that asks how far it has come takes one call each time, before its first bytes and after them', async () => {
    const path = await location();
    expect(await cost('GET', path, 204)).toMatchObject({ d1: 1, rowsWritten: 0, r2Reads: 0, r2Writes: 0 });
    await cost('PATCH', path, 202, { body: noise(5000, 5) });
    expect(await cost('GET', path, 204)).toMatchObject({ d1: 1, rowsWritten: 0, r2Reads: 0, r2Writes: 0 });
  });

  test('writes to R2 once for each 8 MiB of a chunk of unknown length', async () => {
    const path = await location();
    const bytes = noise(20 * MIB);
    const { readable, writable } = new IdentityTransformStream();
    const sent = writable.getWriter();
    void sent.write(bytes).then(() => sent.close());
    expect(await cost('PATCH', path, 202, { body: readable })).toMatchObject({ d1: 2, r2Writes: 3 });
  });

  test('by a mount takes one call, no R2 operation, and three rows; a call more if the rights are not remembered', async () => {
    const blob = await pushBlob(world, 'acme/base', noise(700, 6));
    const path = `/v2/acme/api/blobs/uploads/?mount=${blob.digest}&from=acme/base`;
    // The link, the event, and the index entry of the event.
    const counts = await cost('POST', path, 201, {}, ['repository:acme/api:pull,push', 'repository:acme/base:pull']);
    expect(counts).toMatchObject({ d1: 1, rowsWritten: 3, r2Reads: 0, r2Writes: 0 });
    expect(await cost('POST', path, 201)).toMatchObject({ d1: 2, rowsWritten: 0, r2Reads: 0, r2Writes: 0 });
  });
});

describe('pushing a manifest', () => {
  const put = async (tag: string, document: string, scopes = ['repository:acme/api:pull,push']) =>
    cost('PUT', `/v2/acme/api/manifests/${tag}`, 201, { headers: { 'content-type': IMAGE_TYPE }, body: document }, scopes);

  test('in an isolate that does not remember the rights of the caller takes a call more', async () => {
    const image = await imageIn(world, 'acme/api', 1);
    expect(await put('v2', textOf(image), [])).toMatchObject({ d1: 2 });
    expect(await put('v3', textOf(image))).toMatchObject({ d1: 1 });
  });

  test.each([1, 100])('with %i layers takes one call, no R2 operation, and ten rows plus one a reference', async (count) => {
    const config = await pushBlob(world, 'acme/api', '{}');
    const layers = await Promise.all(Array.from({ length: count }, (_, n) => pushBlob(world, 'acme/api', noise(50, 100 + n))));
    const document = JSON.stringify({
      schemaVersion: 2,
      mediaType: IMAGE_TYPE,
      config: descriptorOf(config, CONFIG_TYPE),
      layers: layers.map((layer) => descriptorOf(layer, LAYER_TYPE)),
      subject: descriptorOf(config, IMAGE_TYPE),
    });
    const counts = await put('many', document);
    expect(counts).toMatchObject({ d1: 1, r2Reads: 0, r2Writes: 0 });
    // Two of them are the sums of the repository and of its organization.
    expect(counts.rowsWritten).toBe(10 + count + 1);
  });

  test.each([1, 100])(
    'that sets %i more tags takes six rows for each (the tag in two indexes, its event in one, its history), and two for the time of the manifest and the number of tags',
    async (count) => {
      const image = await imageIn(world, 'acme/api', 1);
      const query = Array.from({ length: count }, (_, n) => `tag=t${n}`).join('&');
      const counts = await put(`${image.digest}?${query}`, textOf(image));
      expect(counts).toMatchObject({ d1: 1, rowsWritten: 6 * count + 2, r2Reads: 0, r2Writes: 0 });
    },
  );

  test('above 128 KiB takes one more write of R2', async () => {
    const image = await imageIn(world, 'acme/api', 7, { annotations: { text: 'x'.repeat(140_000) } });
    const counts = await put('large', new TextDecoder().decode(image.bytes));
    expect(counts).toMatchObject({ d1: 2, r2Writes: 1 });
  });

  test('that exists already takes six rows: the manifest, the tag and its time in an index twice, and the event with its index', async () => {
    const image = await imageIn(world, 'acme/api', 1);
    expect(await put('v1', new TextDecoder().decode(image.bytes))).toMatchObject({ d1: 1, rowsWritten: 6, r2Writes: 0 });
  });
});

describe('an event', () => {
  const tagged = { about: 'acme/api', by: { subject: 'user:admin' }, select: `SELECT 'tag.created' AS type, '{}' AS target` };

  test('is two rows, its own and one of an index, and reads no more if there are many events', async () => {
    const empty = (await recordAll(world.env, [tagged])).rows;
    const insert = `INSERT INTO events (at, type, about, sequence, target, actor)
      SELECT unixepoch(), 'tag.created', iif(value % 2, 'acme/api', 'acme/other'), 2 + (value + 1) / 2, '{}', 'user:admin'
      FROM json_each(?1)`;
    const numbers = JSON.stringify(Array.from({ length: 20_000 }, (_, n) => n + 1));
    await world.env.DB.prepare(insert).bind(numbers).run();
    const full = (await recordAll(world.env, [tagged])).rows;
    expect([empty.written, full.written]).toEqual([2, 2]);
    expect(full.read).toBeLessThanOrEqual(empty.read);
  });

  test('is two of the seven rows of a first push; a further blob is two rows without an event', async () => {
    const authorization = `Bearer ${await tokenFor(world, 'repository:acme/new:pull,push')}`;
    const push = async (seed: number) => {
      const { digest, bytes } = await contentOf(noise(100, seed));
      return cost('POST', `/v2/acme/new/blobs/uploads/?digest=${digest}`, 201, { authorization, body: bytes });
    };
    // The repository with its index entry and the counter of ids, the event with its index entry, the blob, and its link.
    expect(await push(90)).toMatchObject({ d1: 2, rowsWritten: 7 });
    expect(await push(91)).toMatchObject({ d1: 2, rowsWritten: 2 });
  });

  test('is part of one queue message for the whole push of an image', async () => {
    announcedTo(world);
    await pushImage(world, 'acme/api', 'v9', 9);
    expect(announcedTo(world)).toHaveLength(1);
  });
});

describe('a list reads in proportion to its page', () => {
  const DIGEST = `sha256:${'0'.repeat(64)}`;

  test('of tags with 100,000 in the repository', async () => {
    const insert = `INSERT INTO tags (repository_id, name, digest, updated_at)
      SELECT (SELECT id FROM repositories WHERE name = 'acme/api'), printf('t%06d', value), 'sha256:' || printf('%064d', value), 0
      FROM json_each((SELECT '[' || group_concat(n) || ']' FROM (WITH RECURSIVE c(n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM c WHERE n < ?1 + 9999) SELECT n FROM c)))`;
    for (let from = 0; from < 100_000; from += 10_000) await world.env.DB.prepare(insert).bind(from).run();
    const counts = await cost('GET', '/v2/acme/api/tags/list?n=50&last=t050000', 200);
    expect(counts.d1).toBe(1);
    expect(counts.rowsRead).toBeLessThanOrEqual(60);
    const image = await imageIn(world, 'acme/api', 8);
    const push = await putManifest(worldOf(world.env), 'acme/api', 'new', new TextDecoder().decode(image.bytes));
    expect(push.status).toBe(201);
    // Each statement of the batch looks up the repository again.
    expect((await cost('DELETE', `/v2/acme/api/manifests/${image.digest}`, 202)).rowsRead).toBeLessThanOrEqual(160);
  });

  test('of repositories', async () => {
    const { env } = world;
    await env.DB.batch(
      Array.from({ length: 500 }, (_, n) =>
        env.DB.prepare(`INSERT INTO repositories (name, created_at) VALUES ('r${1000 + n}', 0)`),
      ),
    );
    const catalog = `Bearer ${await tokenFor(world, 'registry:catalog:*')}`;
    const counts = await cost('GET', '/v2/_catalog?n=20&last=r1100', 200, { authorization: catalog });
    expect(counts.d1).toBe(3);
    expect(counts.rowsRead).toBeLessThanOrEqual(7 * 21);
  });

  test('of repositories with what they hold', async () => {
    const { env } = world;
    await env.DB.batch(
      Array.from({ length: 500 }, (_, n) =>
        env.DB.prepare(`INSERT INTO repositories (name, created_at) VALUES ('acme/r${1000 + n}', 0)`),
      ),
    );
    await env.DB.prepare('INSERT OR REPLACE INTO repository_usage SELECT id, 1000, 2, 3 FROM repositories').run();
    const counted = await asAdministrator('/api/v1/repositories?n=50&last=acme/r1100');
    expect(counted.rowsRead).toBeLessThanOrEqual(600);
  });

  test('of usage, in a registry of any size', async () => {
    const { env } = world;
    await makeOrganization(world, 'acme');
    await env.DB.prepare('UPDATE repository_usage SET tags = 100000').run();
    await env.DB.batch(
      Array.from({ length: 500 }, (_, n) => env.DB.prepare(`INSERT INTO usage (namespace, bytes) VALUES ('n${1000 + n}', 7)`)),
    );
    expect((await asAdministrator('/api/v1/organizations/acme/usage')).rowsRead).toBeLessThan(100);
    expect((await asAdministrator('/api/v1/usage?n=50')).rowsRead).toBeLessThan(700);
    expect((await asAdministrator('/api/v1/usage?n=50&last=n1100')).rowsRead).toBeLessThan(200);
  });

  async function asAdministrator(path: string): Promise<Counts> {
    const { env, counts } = counting(world.env);
    const response = await worldOf(env).fetch('GET', path);
    expect(response.status, await response.text()).toBe(200);
    return counts;
  }

  test('of referrers, filtered or not', async () => {
    const { env } = world;
    const insert = `INSERT INTO manifests (repository_id, digest, media_type, artifact_type, subject, size, pushed_at, content)
      SELECT (SELECT id FROM repositories WHERE name = 'acme/api'), 'sha256:' || printf('%064d', ?1), '${IMAGE_TYPE}', ?2, '${DIGEST}', 10, 0, '{}'`;
    await env.DB.batch(Array.from({ length: 1000 }, (_, n) => env.DB.prepare(insert).bind(n, n % 2 ? 'a/one' : 'a/two')));
    for (const query of ['n=20', 'n=20&artifactType=a/two']) {
      const counts = await cost('GET', `/v2/acme/api/referrers/${DIGEST}?${query}`, 200);
      expect(counts.d1).toBe(1);
      expect(counts.rowsRead, query).toBeLessThanOrEqual(8 * 21);
    }
  });
});
