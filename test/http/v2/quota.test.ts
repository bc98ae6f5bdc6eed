/**
 * Quotas of organizations during pushes: the batch that commits content also counts it, and a refused push leaves nothing.
 *
 * @module-tag walk
 */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Env } from '../../../src/env.ts';
import { expireUploads } from '../../../src/registry/uploads/sessions.ts';
import { recountUsage } from '../../../src/registry/usage/usage.ts';
import { violations } from '../../world/checker.ts';
import { counting } from '../../world/counting.ts';
import { FAULTS, faulty } from '../../world/faults.ts';
import { type Content, contentOf, imageIn, pushBlob, pushImage, putManifest, textOf } from '../../world/images.ts';
import { eventsDuring, makeOrganization, makeTeam, tally } from '../../world/organizations.ts';
import { api, inviteUser, type Person } from '../../world/people.ts';
import { inFull } from '../../world/sampling.ts';
import { begin, finish, keysOf, layer, locationOf, orphansOf, patch, postWhole, sized, unsized } from '../../world/uploads.ts';
import { newWorld, type World, worldOf } from '../../world/world.ts';

interface Refusal {
  errors: [{ code: string; message: string; detail: Record<string, unknown> }];
}

let world: World;

async function newLimitedWorld(vars: Partial<Env> = {}): Promise<void> {
  world = await newWorld(vars);
  await makeOrganization(world, 'acme');
}

beforeEach(() => newLimitedWorld());

async function limit(maxBytes: number | null, warnPercent?: number, organization = 'acme'): Promise<void> {
  const body = { maxBytes, ...(warnPercent === undefined ? {} : { warnPercent }) };
  expect((await api(world, 'PUT', `/organizations/${organization}/quota`, { body })).status).toBe(200);
}

/** The usage in the row of the namespace. */
function stored(namespace = 'acme'): Promise<{ bytes: number; blobs: number } | null> {
  return world.env.DB.prepare('SELECT bytes, blobs FROM usage WHERE namespace = ?1')
    .bind(namespace)
    .first<{ bytes: number; blobs: number }>();
}

/** The bytes of unfinished uploads in the row. */
async function stagedBytes(namespace = 'acme'): Promise<number | null> {
  return world.env.DB.prepare('SELECT staged FROM usage WHERE namespace = ?1').bind(namespace).first<number>('staged');
}

/** The row after everything is counted again. */
async function recounted(namespace = 'acme'): Promise<{ bytes: number; blobs: number } | null> {
  await recountUsage(world.env);
  return stored(namespace);
}

/** Status, code and message. */
async function refusal(response: Response): Promise<[string, Refusal['errors'][0]]> {
  const [error] = ((await response.json()) as Refusal).errors;
  return [`${response.status} ${error.code}`, error];
}

type Lane = (to: World, repository: string, content: Content) => Promise<Response>;

/** Sends requests until one is refused. @returns the last answer */
async function inTurn(...requests: (() => Promise<Response>)[]): Promise<Response> {
  let answer: Response | undefined;
  for (const request of requests) {
    answer = await request();
    if (answer.status >= 300) return answer;
  }
  return answer as Response;
}

async function chunked(to: World, repository: string, { bytes, digest }: Content, chunks: (typeof sized)[]): Promise<Response> {
  let location = await begin(to, repository);
  const size = Math.ceil(bytes.byteLength / chunks.length);
  const patches = chunks.map((send, n) => async () => {
    const response = await patch(to, location, send(bytes.slice(n * size, (n + 1) * size)));
    location = locationOf(response) || location;
    return response;
  });
  return inTurn(...patches, () => finish(to, location, digest));
}

const LANES: Record<string, Lane> = {
  'one POST': (to, repository, { bytes, digest }) => postWhole(to, repository, digest, sized(bytes)),
  'one POST of unknown length': (to, repository, { bytes, digest }) => postWhole(to, repository, digest, unsized(bytes)),
  'POST and PUT': async (to, repository, { bytes, digest }) => finish(to, await begin(to, repository), digest, sized(bytes)),
  'POST and PUT of unknown length': async (to, repository, { bytes, digest }) =>
    finish(to, await begin(to, repository), digest, unsized(bytes)),
  'PATCH and PUT': (to, repository, content) => chunked(to, repository, content, [sized]),
  'PATCH of unknown length and PUT': (to, repository, content) => chunked(to, repository, content, [unsized]),
  'several PATCHes and PUT': (to, repository, content) => chunked(to, repository, content, [sized, unsized, sized]),
  'a mount from elsewhere': async (to, repository, { bytes, digest }) => {
    expect((await postWhole(to, 'elsewhere/base', digest, sized(bytes))).status).toBe(201);
    return to.fetch('POST', `/v2/${repository}/blobs/uploads/?mount=${digest}&from=elsewhere/base`);
  },
};

/** The ways to upload. The digest of chunks is known only at the end, so until then they count as new content. */
const lanes = Object.entries(LANES);
const MODES: { verify: string; part: number }[] = [
  { verify: 'storage', part: 64 * 1024 },
  { verify: 'stream', part: 5 * 1024 * 1024 },
];

describe.each(MODES)('with VERIFY=$verify', ({ verify, part }) => {
  beforeEach(() => newLimitedWorld({ VERIFY: verify, PART_BYTES: String(part) }));

  test.each(lanes)('content that fits exactly is accepted and counted: by %s', async (_, push) => {
    await limit(200_000);
    const content = await contentOf(layer(200_000));
    expect((await push(world, 'acme/api', content)).status).toBe(201);
    expect(await stored()).toEqual({ bytes: 200_000, blobs: 1 });
    expect(await recounted()).toEqual({ bytes: 200_000, blobs: 1 });
  });

  test.each(lanes)('one byte more is refused and leaves nothing, and a smaller push then succeeds: by %s', async (_, push) => {
    await limit(250_000);
    await pushBlob(world, 'acme/base', layer(50_000, 2));
    const before = new Set(await keysOf(world));
    const large = await contentOf(layer(200_001));
    const [status, { message, detail }] = await refusal(await push(world, 'acme/api', large));
    expect(status).toBe('403 DENIED');
    expect(message).toMatch(/^acme may store 250 kB and stores 50 kB, .*: delete images or ask an administrator for more$/);
    expect(detail).toMatchObject({ organization: 'acme', bytes: 50_000, maxBytes: 250_000 });
    expect(await stored()).toEqual({ bytes: 50_000, blobs: 1 });
    expect(await orphansOf(world)).toEqual([]);
    const mounted = await world.env.DB.prepare('SELECT object_key AS key FROM blobs WHERE digest = ?1')
      .bind(large.digest)
      .first<string>('key');
    expect((await keysOf(world)).filter((key) => !before.has(key) && key !== mounted)).toEqual([]);
    expect((await push(world, 'acme/api', await contentOf(layer(200_000)))).status).toBe(201);
    expect(await stored()).toEqual({ bytes: 250_000, blobs: 2 });
    expect(await violations(world.env)).toEqual([]);
  });

  test.each(lanes)(
    'of 16 concurrent pushes into space for one, one succeeds, and the others leave nothing: by %s',
    { tags: 'slow' },
    async (_, push) => {
      await limit(100_000);
      const contents = await Promise.all(Array.from({ length: 16 }, (_, n) => contentOf(layer(60_000, n + 1))));
      const answers = await Promise.all(contents.map((content, n) => push(world, `acme/r${n % 3}`, content)));
      expect(tally(answers.map(({ status }) => status))).toEqual({ 201: 1, 403: 15 });
      expect(await stored()).toEqual({ bytes: 60_000, blobs: 1 });
      expect(await recounted()).toEqual({ bytes: 60_000, blobs: 1 });
      expect(await orphansOf(world)).toEqual([]);
      expect(await violations(world.env)).toEqual([]);
      const open = await world.env.DB.prepare("SELECT count(*) AS n FROM uploads WHERE state = 'open'").first('n');
      expect(open).toBe(0);
    },
  );

  test.each(lanes.filter(([name]) => !name.includes('PATCH')))(
    'content that the organization has already costs nothing, even above its limit: by %s',
    async (_, push) => {
      const content = await pushBlob(world, 'acme/base', layer(90_000));
      await limit(10);
      for (const repository of ['acme/base', 'acme/other']) {
        expect((await push(world, repository, content)).status).toBe(201);
      }
      expect(await stored()).toEqual({ bytes: 90_000, blobs: 1 });
      expect(await recounted()).toEqual({ bytes: 90_000, blobs: 1 });
    },
  );
});

describe('an upload that is refused', () => {
  test.each([
    ['announced', sized],
    ['unknown', unsized],
  ])('in the middle is over, by a chunk of %s length: its bytes are gone, and it takes no more', async (_, send) => {
    await limit(100_000);
    const begun = await patch(world, await begin(world), sized(layer(60_000)));
    expect(begun.status).toBe(202);
    const location = locationOf(begun);
    expect(await stored(), 'it is no blob yet').toEqual({ bytes: 0, blobs: 0 });
    expect(await stagedBytes()).toBe(60_000);
    const [status, { message }] = await refusal(await patch(world, location, send(layer(50_000, 2))));
    expect(status).toBe('403 DENIED');
    expect(message).toContain(send === sized ? 'this would add 110 kB' : 'there is room for 100 kB');
    expect((await world.fetch('GET', location)).status).toBe(404);
    expect((await patch(world, location, sized(layer(10)))).status).toBe(404);
    expect(await keysOf(world)).toEqual([]);
    expect(await stagedBytes()).toBe(0);
  });

  test('for its announced length has sent nothing to R2', async () => {
    await limit(1_500_000);
    const large = await contentOf(layer(1_600_000));
    const { env, counts } = counting(world.env);
    const to = worldOf(env);
    expect((await postWhole(to, 'acme/api', large.digest, sized(large.bytes))).status).toBe(403);
    expect((await finish(to, await begin(to), large.digest, sized(large.bytes))).status).toBe(403);
    expect((await patch(to, await begin(to), sized(large.bytes))).status).toBe(403);
    expect(counts.r2Writes).toBe(0);
  });

  test('for an unknown length is cut off at the limit', async () => {
    await newLimitedWorld({ PART_BYTES: String(64 * 1024) });
    await limit(100_000);
    const { env, counts } = counting(world.env);
    expect((await patch(worldOf(env), await begin(world), unsized(layer(1_000_000)))).status).toBe(403);
    expect(counts.r2Writes).toBe(1);
  });

  test('costs as many statements as an accepted one, and one more to report the trash', async () => {
    const statements = async (bytes: Uint8Array<ArrayBuffer>) => {
      const location = await begin(world);
      const { env, counts } = counting(world.env);
      await patch(worldOf(env), location, sized(bytes));
      return counts.d1;
    };
    const unlimited = await statements(layer(1000));
    await limit(5000);
    expect(await statements(layer(1000, 2))).toBe(unlimited);
    expect(await statements(layer(9000, 3))).toBe(unlimited + 1);
  });

  test('is told about its own organization only', async () => {
    const paul = await pusherOf('acme');
    await pushBlob(world, 'secret/base', layer(70_000));
    await limit(60_000);
    const content = await contentOf(layer(70_000));
    const response = await world.fetch('POST', `/v2/acme/api/blobs/uploads/?digest=${content.digest}`, {
      body: content.bytes,
      authorization: paul.basic,
    });
    const [status, error] = await refusal(response);
    expect(status).toBe('403 DENIED');
    expect(error.detail).toEqual({ organization: 'acme', bytes: 0, maxBytes: 60_000, adds: 70_000 });
    const mount = `/v2/acme/api/blobs/uploads/?mount=${content.digest}&from=secret/base`;
    expect((await world.fetch('POST', mount, { authorization: paul.basic })).status, 'as if it were not there').toBe(202);
    const absent = mount.replace(content.digest, `sha256:${'0'.repeat(64)}`);
    expect((await world.fetch('POST', absent, { authorization: paul.basic })).status).toBe(202);
  });
});

describe('unfinished uploads', () => {
  const room = 1_000_000;
  const part = 400_000;

  /** Sends a chunk and expects that it is accepted. @returns the new location of the upload */
  async function taken(location: string, bytes: Uint8Array<ArrayBuffer>): Promise<string> {
    const response = await patch(world, location, sized(bytes));
    expect(response.status).toBe(202);
    return locationOf(response);
  }

  test.each([
    ['announced', sized],
    ['unknown', unsized],
  ])('take room together: six of %s length stage no more than the limit', async (_, send) => {
    await limit(room);
    const statuses: number[] = [];
    for (let n = 0; n < 6; n++)
      statuses.push((await patch(world, await begin(world, `acme/r${n % 2}`), send(layer(part, n + 1)))).status);
    expect(tally(statuses)).toEqual({ 202: 2, 403: 4 });
    expect(await stagedBytes()).toBe(2 * part);
    expect((await keysOf(world)).length).toBe(2 * Math.ceil(part / (64 * 1024 * 1024)));
    expect((await api<{ staged: number; percent: number }>(world, 'GET', '/organizations/acme/usage')).body).toMatchObject({
      staged: 2 * part,
      percent: 80,
    });
  });

  test('reduce the space for other pushes, mounts and manifests, and the refusal says so', async () => {
    const image = await imageIn(world, 'acme/api', 1);
    const held = ((await recounted()) as { bytes: number }).bytes;
    const content = await contentOf(layer(part, 7));
    expect((await postWhole(world, 'elsewhere/base', content.digest, sized(content.bytes))).status).toBe(201);
    const first = await taken(await begin(world), layer(part));
    await limit(held + part + image.bytes.byteLength - 1);
    const refused = [
      await postWhole(world, 'acme/api', content.digest, sized(content.bytes)),
      await world.fetch('POST', `/v2/acme/api/blobs/uploads/?mount=${content.digest}&from=elsewhere/base`),
      await putManifest(world, 'acme/api', 'v1', textOf(image)),
    ];
    for (const response of refused) {
      const [status, { message, detail }] = await refusal(response);
      expect(status).toBe('403 DENIED');
      expect(message).toContain('and 400 kB in unfinished uploads');
      expect(message).toContain('finish or cancel uploads');
      expect(detail).toMatchObject({ staged: part });
    }
    expect((await world.fetch('DELETE', first)).status).toBe(204);
    expect(await stagedBytes()).toBe(0);
    expect((await putManifest(world, 'acme/api', 'v1', textOf(image))).status).toBe(201);
  });

  test('that are finished, cancelled, refused or expired release their space', async () => {
    await limit(room);
    const bytes = layer(100_000);
    const { digest } = await contentOf(bytes);
    const finished = await taken(await begin(world), bytes);
    expect((await finish(world, finished, digest)).status).toBe(201);
    expect([await stored(), await stagedBytes()]).toEqual([{ bytes: 100_000, blobs: 1 }, 0]);
    expect((await finish(world, finished, digest)).status, 'asked again').toBe(201);
    const cancelled = await taken(await begin(world), layer(100_000, 2));
    expect((await world.fetch('DELETE', cancelled)).status).toBe(204);
    expect(await stagedBytes()).toBe(0);
    const refused = await taken(await begin(world), layer(100_000, 3));
    expect((await finish(world, refused, digest)).status, 'not what it claims').toBe(400);
    expect(await stagedBytes()).toBe(0);
    await taken(await begin(world), layer(100_000, 4));
    await world.env.DB.prepare("UPDATE uploads SET expires_at = 0 WHERE state = 'open'").run();
    expect(await stagedBytes(), 'its bytes are there until they are removed').toBe(100_000);
    await expireUploads(world.env, '~', 50);
    expect(await stagedBytes()).toBe(0);
    expect((await recounted())?.bytes).toBe(100_000);
    expect(await stagedBytes()).toBe(0);
  });

  test('from before a limit was set count as well, and counting again changes nothing', async () => {
    expect((await patch(world, await begin(world), sized(layer(part)))).status).toBe(202);
    expect((await patch(world, await begin(world, 'acme-x/api'), sized(layer(part)))).status).toBe(202);
    await limit(room);
    expect(await stagedBytes()).toBe(part);
    await recountUsage(world.env);
    expect(await stagedBytes()).toBe(part);
  });

  test('do not block each other: the first one may use the remaining space', async () => {
    await limit(room);
    const bytes = layer(900_000);
    const first = await taken(await begin(world), bytes.slice(0, part));
    const second = await taken(await begin(world), layer(part, 2));
    expect((await patch(world, second, sized(layer(part, 3)))).status).toBe(403);
    const third = await taken(await begin(world), layer(part, 4));
    const whole = await taken(first, bytes.slice(part));
    expect(await stagedBytes(), 'never past twice the limit').toBe(1_300_000);
    expect((await finish(world, whole, (await contentOf(bytes)).digest)).status).toBe(201);
    expect([await stored(), await stagedBytes()]).toEqual([{ bytes: 900_000, blobs: 1 }, part]);
    expect((await patch(world, third, sized(layer(part, 5)))).status).toBe(403);
    expect(await stagedBytes()).toBe(0);
  });
});

describe('the space of deleted content', () => {
  test('is free at once: usage and limit are one number', async () => {
    await limit(100_000);
    const blob = await pushBlob(world, 'acme/api', layer(80_000));
    await world.fetch('POST', `/v2/acme/base/blobs/uploads/?mount=${blob.digest}&from=acme/api`);
    const usage = async () => (await api<{ bytes: number }>(world, 'GET', '/organizations/acme/usage')).body.bytes;
    const remove = async (repository: string) =>
      expect((await world.fetch('DELETE', `/v2/${repository}/blobs/${blob.digest}`)).status).toBe(202);
    await remove('acme/api');
    expect([await usage(), (await stored())?.bytes], 'the other repository holds it').toEqual([80_000, 80_000]);
    await remove('acme/base');
    expect([await usage(), (await stored())?.bytes]).toEqual([0, 0]);
    await pushBlob(world, 'acme/api', layer(100_000, 2));
  });

  test('is reported while it is in the trash: how much, and how to free it', async () => {
    const first = await pushImage(world, 'acme/api', 'v1', 1);
    const { bytes } = (await recounted()) as { bytes: number };
    await limit(bytes);
    expect((await world.fetch('DELETE', `/v2/acme/api/manifests/${first.digest}`)).status).toBe(202);
    expect((await stored())?.bytes).toBe(bytes);
    const other = await contentOf('x');
    const [status, { message, detail }] = await refusal(await postWhole(world, 'acme/api', other.digest, sized(other.bytes)));
    expect(status).toBe('403 DENIED');
    expect(message).toMatch(
      /^acme may store \d+ bytes and stores \d+ bytes \(\d+ bytes of it in the trash\), .*: purge the trash \(it is listed by GET \/api\/v1\/repositories\/acme\/api\/-\/trash and GET \/api\/v1\/trash\)/,
    );
    const { trash } = (await api<{ trash: { bytes: number } }>(world, 'GET', '/organizations/acme/usage')).body;
    expect(detail).toMatchObject({ bytes, trash: trash.bytes });
    expect(trash.bytes).toBe(bytes);
    expect((await api(world, 'DELETE', `/repositories/acme/api/-/trash/manifests/${first.digest}`)).status).toBe(202);
    expect((await stored())?.bytes).toBe(bytes - first.bytes.byteLength);
    expect((await recounted())?.bytes).toBe(bytes - first.bytes.byteLength);
    expect((await postWhole(world, 'acme/api', other.digest, sized(other.bytes))).status).toBe(201);
  });
});

describe('a quota of a user', () => {
  test('applies to repositories under their own name, and is reported like that of an organization', async () => {
    const paul = await inviteUser(world, 'paul');
    const answer = await api<{ maxBytes: number }>(world, 'PUT', '/users/paul/quota', { body: { maxBytes: 50_000 } });
    expect([answer.status, answer.body]).toEqual([200, { maxBytes: 50_000, warnPercent: 80 }]);
    const push = async (size: number, seed: number) => {
      const { digest, bytes } = await contentOf(layer(size, seed));
      const path = `/v2/paul/app/blobs/uploads/?digest=${digest}`;
      return world.fetch('POST', path, { body: bytes, authorization: paul.basic });
    };
    await api(world, 'PUT', '/repositories/paul/app', { as: paul.basic, body: {} });
    expect((await push(50_000, 1)).status).toBe(201);
    const [status, { message, detail }] = await refusal(await push(1, 2));
    expect(status).toBe('403 DENIED');
    expect(message).toMatch(/^paul may store 50 kB and stores 50 kB, /);
    expect(detail).toMatchObject({ user: 'paul', bytes: 50_000, maxBytes: 50_000 });
    const usage = await api<{ user: string; bytes: number }>(world, 'GET', '/users/paul/usage', { as: paul.basic });
    expect([usage.status, usage.body]).toMatchObject([200, { user: 'paul', bytes: 50_000, maxBytes: 50_000, percent: 100 }]);
    expect(usage.headers.get('etag')).toBe(answer.headers.get('etag'));
  });

  test('is set by administrators, and its usage is visible to the user and administrators', async () => {
    const [paul, sam] = [await inviteUser(world, 'paul'), await inviteUser(world, 'sam')];
    const body = { maxBytes: 5 };
    expect((await api(world, 'PUT', '/users/paul/quota', { as: paul.basic, body })).status).toBe(403);
    expect((await api(world, 'PUT', '/users/nobody/quota', { body })).status).toBe(404);
    expect((await api(world, 'PUT', '/users/acme/quota', { body })).status).toBe(404);
    expect((await api(world, 'GET', '/users/paul/usage', { as: sam.basic })).status).toBe(404);
    expect((await api(world, 'GET', '/users/nobody/usage', { as: sam.basic })).status).toBe(404);
    expect((await api(world, 'GET', '/users/paul/usage')).status).toBe(200);
    const events = await eventsDuring(world, () => api(world, 'PUT', '/users/paul/quota', { body }));
    expect(events).toMatchObject([{ type: 'quota.saved', target: { user: 'paul', maxBytes: 5 } }]);
    const stale = await api(world, 'PUT', '/users/paul/quota', { body, headers: { 'if-match': '"1"' } });
    expect(stale.status).toBe(412);
  });
});

/** Creates a user who may push to the organization. */
async function pusherOf(organization: string): Promise<Person> {
  const paul = await inviteUser(world, 'paul');
  const path = `/organizations/${organization}/members/paul`;
  expect((await api(world, 'PUT', path, { body: { role: 'member' } })).status).toBeLessThan(300);
  await makeTeam(world, organization, 'builders', [paul], [{ actions: 'push and pull', repositories: [`${organization}/*`] }]);
  await api(world, 'PUT', `/repositories/${organization}/api`, { body: {} });
  return paul;
}

describe('content counts as present', () => {
  test('in the trash as well: in a deleted repository, and in a deleted manifest', async () => {
    const [first, second] = [
      await pushBlob(world, 'acme/old', layer(5000)),
      await pushBlob(world, 'elsewhere/x', layer(6000, 2)),
    ];
    const { DB } = world.env;
    await api(world, 'PUT', '/repositories/acme/new', { body: {} });
    await DB.batch([
      DB.prepare(
        `INSERT OR REPLACE INTO trash (repository_id, kind, name, repository, actor, deleted_at)
         SELECT id, 'repository', '', name, 'user:admin', unixepoch() FROM repositories WHERE name = 'acme/old'`,
      ),
      DB.prepare("DELETE FROM repositories WHERE name = 'acme/old'"),
      DB.prepare(
        `INSERT INTO trashed_references (child, repository_id, parent)
         SELECT ?1, id, 'sha256:parent' FROM repositories WHERE name = 'acme/new'`,
      ).bind(second.digest),
    ]);
    await limit(11_000);
    expect(await stored()).toEqual({ bytes: 11_000, blobs: 2 });
    for (const { digest, bytes } of [first, second]) {
      expect((await postWhole(world, 'acme/new', digest, sized(bytes))).status).toBe(201);
    }
    expect(await stored()).toEqual({ bytes: 11_000, blobs: 2 });
    const more = await contentOf('x');
    expect((await postWhole(world, 'acme/new', more.digest, sized(more.bytes))).status).toBe(403);
  });

  test('in this organization only: similar names and names without a namespace are separate', async () => {
    const others = ['acme-x/api', 'acme.x/api', 'acme', 'acmee/api', 'x/acme/api'];
    const content = await contentOf(layer(3000));
    for (const other of others) expect((await postWhole(world, other, content.digest, sized(content.bytes))).status).toBe(201);
    await limit(2000);
    expect(await stored()).toEqual({ bytes: 0, blobs: 0 });
    expect((await postWhole(world, 'acme/api', content.digest, sized(content.bytes))).status).toBe(403);
    for (const other of others) {
      expect((await postWhole(world, other, (await contentOf(layer(4000, 2))).digest, sized(layer(4000, 2)))).status).toBe(201);
    }
  });
});

describe('the warning event', () => {
  const warned = (work: () => Promise<unknown>) =>
    eventsDuring(world, work).then((events) => events.filter(({ type }) => type === 'quota.warned'));

  test('is recorded once, by the push that reaches the threshold, with the caller as the actor', async () => {
    const paul = await pusherOf('acme');
    await limit(10_000, 50);
    const push = async (size: number, seed: number) => {
      const { digest, bytes } = await contentOf(layer(size, seed));
      const path = `/v2/acme/api/blobs/uploads/?digest=${digest}`;
      expect((await world.fetch('POST', path, { body: bytes, authorization: paul.basic })).status).toBe(201);
    };
    expect(await warned(() => push(4999, 1))).toEqual([]);
    expect(await warned(() => push(1, 2))).toEqual([
      { type: 'quota.warned', target: { bytes: 5000, maxBytes: 10_000 }, actor: 'user:paul' },
    ]);
    expect(await warned(() => push(1, 2))).toEqual([]);
    expect(await warned(() => push(100, 3))).toEqual([]);
    const about = await world.env.DB.prepare("SELECT about FROM events WHERE type = 'quota.warned'").first('about');
    expect(about).toBe('organization:acme');
  });

  test('is recorded again after usage fell below the threshold, or another limit was set', async () => {
    await limit(10_000, 50);
    const large = await pushBlob(world, 'acme/api', layer(6000));
    expect(await warned(() => pushBlob(world, 'acme/api', 'a'))).toEqual([]);
    expect((await world.fetch('DELETE', `/v2/acme/api/blobs/${large.digest}`)).status).toBe(202);
    expect(await recounted()).toEqual({ bytes: 1, blobs: 1 });
    expect(await warned(() => pushBlob(world, 'acme/api', layer(6000, 2)))).toHaveLength(1);
    await recountUsage(world.env);
    expect(await warned(() => pushBlob(world, 'acme/api', 'b'))).toEqual([]);
    await limit(11_000);
    expect(await warned(() => pushBlob(world, 'acme/api', 'c'))).toHaveLength(1);
  });

  test('is not recorded by a push that is refused', async () => {
    await limit(1000, 50);
    const { digest, bytes } = await contentOf(layer(1001));
    expect(await warned(() => postWhole(world, 'acme/api', digest, sized(bytes)))).toEqual([]);
  });
});

describe('without a limit', () => {
  test('nothing is written for any namespace', async () => {
    await limit(5, undefined);
    await limit(null);
    const before = await stored();
    for (const repository of ['acme/api', 'elsewhere/api', 'plain']) await pushBlob(world, repository, layer(700));
    expect(await stored()).toEqual(before);
    expect(await stored('elsewhere')).toBeNull();
    expect(await stored('')).toBeNull();
  });
});

describe('a manifest', () => {
  test('is counted and refused like a blob, and putting it again costs nothing', async () => {
    const [image, other] = [await imageIn(world, 'acme/api', 1), await imageIn(world, 'acme/api', 2)];
    const held = (await recounted()) as { bytes: number; blobs: number };
    const size = image.bytes.byteLength;
    await limit(held.bytes + size);
    expect((await putManifest(world, 'acme/api', 'v1', textOf(image))).status).toBe(201);
    expect(await stored()).toEqual({ bytes: held.bytes + size, blobs: held.blobs });
    expect((await putManifest(world, 'acme/api', 'v2', textOf(image))).status).toBe(201);
    const [status, { detail }] = await refusal(await putManifest(world, 'acme/api', 'v3', textOf(other)));
    expect(status).toBe('403 DENIED');
    expect(detail).toMatchObject({ organization: 'acme', adds: other.bytes.byteLength });
    expect(await recounted()).toEqual({ bytes: held.bytes + size, blobs: held.blobs });
  });

  test('stored as an object leaves none if it is refused', async () => {
    await limit(150_000);
    const image = await imageIn(world, 'acme/api', 1, { annotations: { text: 'x'.repeat(160_000) } });
    const before = await keysOf(world);
    expect((await putManifest(world, 'acme/api', 'v1', textOf(image))).status).toBe(403);
    expect(await keysOf(world)).toEqual(before);
  });
});

describe('with any failure on the way', () => {
  const cases = lanes.flatMap(([name, push]) => FAULTS.map((fault) => ({ name, push, fault })));

  test.each(
    inFull(
      cases,
      cases.filter((_, n) => n % 3 === 0),
    ),
  )('nothing missing is counted, and nothing twice: $name, $fault', async ({ push, fault }) => {
    const content = await contentOf(layer(30_000));
    for (let at = inFull(0, FAULTS.indexOf(fault)); at < 60; at += inFull(1, 4)) {
      await newLimitedWorld();
      await limit(60_000);
      const { env, calls, stopped } = faulty(world.env, fault, at);
      const attempt = push(worldOf(env), 'acme/api', content).catch(() => null);
      await Promise.race([attempt, stopped]);
      const after = await stored();
      expect(await recounted(), `after call ${at}`).toEqual(after);
      expect((await push(world, 'acme/api', content)).status).toBe(201);
      expect(await stored()).toEqual({ bytes: 30_000, blobs: 1 });
      expect(await recounted()).toEqual({ bytes: 30_000, blobs: 1 });
      if (calls.length <= at) return;
    }
    throw new Error('more calls than a push makes');
  });

  test('a whole image fits into a limit of its size', async () => {
    await pushImage(world, 'elsewhere/api', 'v1');
    const { bytes } = (await recounted('elsewhere')) as { bytes: number };
    await limit(bytes);
    await pushImage(world, 'acme/api', 'v1');
    expect((await recounted())?.bytes).toBe(bytes);
  });
});
