/** Tags by the management API: their history, rollback, and the rule that makes them immutable. */
import { beforeEach, describe, expect, test } from 'vitest';
import { violations } from '../../world/checker.ts';
import { type Content, imageIn, putManifest, textOf } from '../../world/images.ts';
import { everyOrder } from '../../world/interleaving.ts';
import { eventsDuring, everyItem, makeOrganization, makeTeam, tally } from '../../world/organizations.ts';
import { type ApiRequest, api, inviteUser, type Person, refused } from '../../world/people.ts';
import { digestAt } from '../../world/reading.ts';
import { builtOnce, type World } from '../../world/world.ts';

const REPOSITORY = 'acme/api';
const LARGE = { annotations: { text: 'x'.repeat(200_000) } };

interface Point {
  point: number;
  at: string;
  digest: string | null;
  previous: string | null;
  present: boolean;
  actor: { subject: string; key: string | null } | null;
}

interface History {
  items: Point[];
  next: string | null;
}

let world: World;
let one: Content;
let two: Content;

const build = builtOnce(async (made) => {
  world = made;
  one = await imageIn(world, REPOSITORY, 1);
  two = await imageIn(world, REPOSITORY, 2);
});

beforeEach(async () => {
  world = await build();
});

const as = (person: Person | null): World =>
  person
    ? { ...world, fetch: (method, path, init = {}) => world.fetch(method, path, { authorization: person.basic, ...init }) }
    : world;
const put = (reference: string, image: Content, person: Person | null = null) =>
  putManifest(as(person), REPOSITORY, reference, textOf(image));
const remove = (reference: string) => world.fetch('DELETE', `/v2/${REPOSITORY}/manifests/${reference}`);
const historyOf = (tag: string, request: ApiRequest = {}, query = '') =>
  api<History>(world, 'GET', `/repositories/${REPOSITORY}/-/tags/${tag}/history${query}`, request);
const rollBack = (tag: string, body: unknown, request: ApiRequest = {}, at = world) =>
  api(at, 'POST', `/repositories/${REPOSITORY}/-/tags/${tag}/rollback`, { body, ...request });

async function must(response: Promise<Response>, status = 201): Promise<void> {
  expect((await response).status).toBe(status);
}

async function pointsOf(tag: string): Promise<Point[]> {
  const { status, body } = await historyOf(tag);
  expect(status).toBe(200);
  return body.items;
}

/** The digests before and after each change of a tag, the oldest change first. */
async function movesOf(tag: string): Promise<[string | null, string | null][]> {
  return (await pointsOf(tag)).map(({ previous, digest }): [string | null, string | null] => [previous, digest]).reverse();
}

async function contents(): Promise<unknown> {
  const tables = 'repositories manifests tags tag_history tag_mutability trash events'.split(' ');
  const results = await world.env.DB.batch(tables.map((table) => world.env.DB.prepare(`SELECT * FROM ${table}`)));
  return results.map((result) => result.results);
}

async function untouched(request: () => Promise<{ status: number; body: unknown }>): Promise<string> {
  const before = await contents();
  const answer = await request();
  expect(await contents()).toEqual(before);
  return refused(answer as never);
}

/** Creates a member of acme. With statements, the member is in a team whose policy has them. */
async function member(name: string, ...statements: object[]): Promise<Person> {
  const person = await inviteUser(world, name);
  await makeOrganization(world, 'acme', { members: [person] });
  if (statements.length > 0) await makeTeam(world, 'acme', `of-${name}`, [person], statements);
  return person;
}

const on = (actions: string[] | string, tags?: string[]) => ({ actions, repositories: ['acme/*'], ...(tags ? { tags } : {}) });

describe('the history of a tag', () => {
  test('has each change with the digests before and after, when, by whom and with which key', async () => {
    const dev = await member('dev', on('push and pull'));
    await must(put('v1', one));
    await must(put('v1', two, dev));
    await must(put('v1', two));
    await must(remove('v1'), 202);
    await must(put(`${one.digest}?tag=v1`, one, dev));
    expect((await rollBack('v1', { point: 2 })).status).toBe(200);
    await must(remove(two.digest), 202);

    const points = await pointsOf('v1');
    expect(points.map(({ point }) => point)).toEqual([6, 5, 4, 3, 2, 1]);
    expect(await movesOf('v1')).toEqual([
      [null, one.digest],
      [one.digest, two.digest],
      [two.digest, null],
      [null, one.digest],
      [one.digest, two.digest],
      [two.digest, null],
    ]);
    const admin = { subject: 'user:admin', key: null };
    const developer = { subject: dev.subject, key: dev.keyId };
    expect(points.map(({ actor }) => actor).reverse()).toEqual([admin, developer, admin, developer, admin, admin]);
    expect(points.map(({ present }) => present).reverse()).toEqual([true, false, false, true, false, false]);
    for (const { at } of points) expect(Math.abs(Date.parse(at) - Date.now())).toBeLessThan(60_000);
    expect(await violations(world.env)).toEqual([]);
  });

  test('is empty for a tag that never existed, and outlives a deleted one', async () => {
    expect(await historyOf('never')).toMatchObject({ status: 200, body: { items: [], next: null } });
    await must(put('v1', one));
    await must(remove('v1'), 202);
    expect(await pointsOf('v1')).toHaveLength(2);
    expect(await pointsOf('V1')).toEqual([]);
  });

  test('is a 404 for an invalid tag and for an unknown repository', async () => {
    for (const tag of ['.x', 'a:b', '~', `a${'b'.repeat(128)}`])
      expect(refused(await historyOf(tag)), tag).toBe('404 NOT_FOUND');
    const absent = await api(world, 'GET', '/repositories/acme/absent/-/tags/v1/history');
    expect(refused(absent)).toBe('404 NAME_UNKNOWN');
  });

  test('says that an image is not present if its document is lost, since it cannot be rolled back to', async () => {
    const large = await imageIn(world, REPOSITORY, 3, LARGE);
    for (const image of [large, one]) await must(put('v1', image));
    for (const { key } of (await world.env.BLOBS.list({ prefix: 'manifests/' })).objects) await world.env.BLOBS.delete(key);
    await must(world.fetch('GET', `/v2/${REPOSITORY}/manifests/${large.digest}`), 404);
    expect((await pointsOf('v1')).map(({ present }) => present)).toEqual([true, false]);
    expect(refused(await rollBack('v1', { point: 1 }))).toBe('409 CONFLICT');
  });

  test('is numbered without gaps for 16 concurrent writers, each with the digest before it', async () => {
    const images: Content[] = [];
    for (let n = 0; n < 16; n++) images.push(await imageIn(world, REPOSITORY, 10 + n));
    await Promise.all(images.map((image) => must(put('v1', image))));
    const points = (await pointsOf('v1')).reverse();
    expect(points.map(({ point }) => point)).toEqual(Array.from({ length: 16 }, (_, n) => n + 1));
    for (const [n, { previous }] of points.entries()) expect(previous).toBe(points[n - 1]?.digest ?? null);
    expect(new Set(points.map(({ digest }) => digest)).size).toBe(16);
  });

  test('is written for each tag of one put with 100 tags, and only for those that move', async () => {
    const query = Array.from({ length: 100 }, (_, n) => `tag=t${n}`).join('&');
    await must(put('t50', two));
    await must(put('t51', one));
    await must(put(`${one.digest}?${query}`, one));
    expect(await movesOf('t0')).toEqual([[null, one.digest]]);
    expect(await movesOf('t99')).toEqual([[null, one.digest]]);
    expect(await movesOf('t50')).toEqual([
      [null, two.digest],
      [two.digest, one.digest],
    ]);
    expect(await movesOf('t51')).toEqual([[null, one.digest]]);
    expect(await violations(world.env)).toEqual([]);
  });

  test('is paged newest first, whatever happens meanwhile', async () => {
    for (let n = 0; n < 7; n++) await must(put('v1', n % 2 ? two : one));
    const path = `/repositories/${REPOSITORY}/-/tags/v1/history`;
    for (const n of [1, 2, 3, 7, 8]) {
      const points = await everyItem<Point>(world, path, { n });
      expect(points.map(({ point }) => point)).toEqual([7, 6, 5, 4, 3, 2, 1]);
    }
    const meanwhile = async (page: number) => must(put('v1', page % 2 ? two : one));
    const points = await everyItem<Point>(world, path, { n: 2, meanwhile });
    expect(points.map(({ point }) => point)).toEqual([7, 6, 5, 4, 3, 2, 1]);
    expect((await historyOf('v1', {}, '?last=1')).body).toEqual({ items: [], next: null });
    for (const query of ['?n=0', '?n=1001', '?last=0', '?last=x', '?last=-1', '?last=1.5', '?last=1&last=2']) {
      expect(refused(await historyOf('v1', {}, query)), query).toBe('400 INVALID');
    }
  });

  test('of a recreated repository starts anew', async () => {
    for (const image of [one, two]) await must(put('v1', image));
    expect((await api(world, 'DELETE', `/repositories/${REPOSITORY}?force=true`)).status).toBe(200);
    expect(refused(await historyOf('v1'))).toBe('404 NAME_UNKNOWN');
    const anew = await imageIn(world, REPOSITORY, 1);
    expect(await pointsOf('v1')).toEqual([]);
    expect(refused(await rollBack('v1', { digest: two.digest }))).toBe('404 NOT_FOUND');
    await must(put('v1', anew));
    expect(await movesOf('v1')).toEqual([[null, one.digest]]);
  });

  test('is for those who may pull, and shows who did it to those who may push', async () => {
    const dev = await member('dev', on('push and pull'));
    const reader = await member('reader', on('pull only'));
    const stranger = await inviteUser(world, 'stranger');
    await must(put('v1', one, dev));
    expect((await historyOf('v1', { as: dev.bearer })).body.items[0]?.actor).toEqual({ subject: dev.subject, key: dev.keyId });
    expect((await historyOf('v1', { as: reader.bearer })).body.items).toMatchObject([{ digest: one.digest, actor: null }]);
    const absent = (request: ApiRequest) => api(world, 'GET', '/repositories/acme/absent/-/tags/v1/history', request);
    for (const request of [{ as: stranger.bearer }, { as: null }]) {
      const [here, nowhere] = [await historyOf('v1', request), await absent(request)];
      expect(here.status).toBe(request.as === null ? 401 : 404);
      expect(nowhere.body).toEqual(here.body);
    }
    await api(world, 'PATCH', `/repositories/${REPOSITORY}`, { body: { visibility: 'public' } });
    for (const request of [{ as: stranger.bearer }, { as: null }, { as: reader.bearer }]) {
      const { status, body } = await historyOf('v1', request);
      expect(status).toBe(200);
      expect(body.items).toMatchObject([{ digest: one.digest, actor: null }]);
    }
  });
});

describe('rolling back', () => {
  beforeEach(async () => {
    for (const image of [one, two]) await must(put('v1', image));
  });

  test('to a point or a digest moves the tag, and notifies webhooks like a push', async () => {
    const size = one.bytes.byteLength;
    const events = await eventsDuring(world, async () => {
      const answer = await rollBack('v1', { point: 1 });
      expect(answer).toMatchObject({ status: 200, body: { tag: 'v1', digest: one.digest } });
    });
    const named = { tag: 'v1', digest: one.digest, size, mediaType: expect.any(String), previous: two.digest };
    const target = { ...named, cause: 'rollback' };
    expect(events).toEqual([{ type: 'tag.moved', target, actor: 'user:admin' }]);
    expect(await digestAt(world, REPOSITORY, 'v1')).toBe(one.digest);
    expect((await rollBack('v1', { digest: two.digest })).status).toBe(200);
    expect(await digestAt(world, REPOSITORY, 'v1')).toBe(two.digest);
    expect(await violations(world.env)).toEqual([]);
  });

  test('to the current digest succeeds and writes nothing', async () => {
    const before = await contents();
    for (const body of [{ point: 2 }, { digest: two.digest }]) expect((await rollBack('v1', body)).status).toBe(200);
    expect(await contents()).toEqual(before);
  });

  test('restores a deleted tag, which is no new tag if it names the same', async () => {
    await must(remove('v1'), 202);
    const events = await eventsDuring(world, () => rollBack('v1', { point: 2 }));
    expect(events).toMatchObject([{ type: 'tag.restored', target: { tag: 'v1', digest: two.digest, cause: 'rollback' } }]);
    expect(events[0]?.target).not.toHaveProperty('previous');
    expect((await movesOf('v1')).at(-1)).toEqual([null, two.digest]);
  });

  test('takes either a point or a digest, of the right type', async () => {
    for (const body of [
      {},
      { point: 1, digest: one.digest },
      { point: 0 },
      { point: '1' },
      { point: 1.5 },
      { point: -1 },
      { digest: 'latest' },
      { digest: 'sha256:abc' },
      { digest: null },
      { point: 1, force: true },
      { point: 1e300 },
    ]) {
      expect(await untouched(() => rollBack('v1', body)), JSON.stringify(body)).toBe('400 INVALID');
    }
    expect(await untouched(() => rollBack('v1', '{"point":1,"__proto__":{"x":1}}'))).toBe('400 INVALID');
  });

  test('to a digest it never named is a 404, and to a deletion a conflict', async () => {
    const third = await imageIn(world, REPOSITORY, 3);
    await must(put('v2', third));
    for (const body of [
      { digest: third.digest },
      { digest: `sha256:${'0'.repeat(64)}` },
      { point: 3 },
      { point: Number.MAX_SAFE_INTEGER },
    ]) {
      expect(await untouched(() => rollBack('v1', body)), JSON.stringify(body)).toBe('404 NOT_FOUND');
    }
    expect(await untouched(() => rollBack('never', { point: 1 }))).toBe('404 NOT_FOUND');
    expect(await untouched(() => rollBack('.x', { point: 1 }))).toBe('404 NOT_FOUND');
    await must(remove('v1'), 202);
    expect(await untouched(() => rollBack('v1', { point: 3 }))).toBe('409 CONFLICT');
  });

  test('to a deleted image is a conflict that says whether it is in the trash', async () => {
    await must(remove(one.digest), 202);
    for (const body of [{ point: 1 }, { digest: one.digest }]) {
      expect(await untouched(() => rollBack('v1', body))).toBe('409 CONFLICT');
      const { body: answer } = await rollBack('v1', body);
      expect(answer).toMatchObject({ errors: [{ detail: { digest: one.digest, inTrash: true } }] });
    }
    expect((await api(world, 'DELETE', `/repositories/${REPOSITORY}/-/trash/manifests/${one.digest}`)).status).toBeLessThan(
      300,
    );
    const { status, body } = await rollBack('v1', { point: 1 });
    expect(status).toBe(409);
    expect(body).toMatchObject({ errors: [{ detail: { digest: one.digest, inTrash: false } }] });
  });

  test('on condition', async () => {
    const headers = (name: string, value: string) => ({ headers: { [name]: value } });
    expect(await untouched(() => rollBack('v1', { point: 1 }, headers('if-match', `"${one.digest}"`)))).toBe(
      '412 PRECONDITION_FAILED',
    );
    expect(await untouched(() => rollBack('v1', { point: 1 }, headers('if-none-match', '*')))).toBe('412 PRECONDITION_FAILED');
    expect(await untouched(() => rollBack('v1', { point: 1 }, headers('if-match', 'x')))).toMatch(/^400 /);
    expect((await rollBack('v1', { point: 1 }, headers('if-match', `"${two.digest}"`))).status).toBe(200);
    await must(remove('v1'), 202);
    expect(await untouched(() => rollBack('v1', { point: 1 }, headers('if-match', '*')))).toBe('412 PRECONDITION_FAILED');
    expect((await rollBack('v1', { point: 1 }, headers('if-none-match', '*'))).status).toBe(200);
  });

  test('needs the right to move a tag that exists, and to create one that does not', async () => {
    const maker = await member('maker', on(['pull', 'push']));
    const mover = await member('mover', on(['pull', 'retag']), on(['push'], ['other']));
    const elsewhere = await member('elsewhere', on(['pull', 'push']), on(['retag'], ['dev-*']));
    const reader = await member('reader', on('pull only'));
    const stranger = await inviteUser(world, 'stranger');
    for (const person of [maker, elsewhere, reader]) {
      expect(await untouched(() => rollBack('v1', { point: 1 }, { as: person.bearer })), person.name).toBe('403 DENIED');
    }
    expect(await untouched(() => rollBack('v1', { point: 1 }, { as: stranger.bearer }))).toBe('404 NOT_FOUND');
    expect(await untouched(() => rollBack('v1', { point: 1 }, { as: null }))).toBe('401 UNAUTHORIZED');
    expect((await rollBack('v1', { point: 1 }, { as: mover.bearer })).status).toBe(200);
    await must(remove('v1'), 202);
    expect(await untouched(() => rollBack('v1', { point: 1 }, { as: mover.bearer }))).toBe('403 DENIED');
    expect((await rollBack('v1', { point: 1 }, { as: maker.bearer })).status).toBe(200);
    const actors = (await pointsOf('v1')).map(({ actor }) => actor?.subject);
    expect(actors).toEqual([maker.subject, 'user:admin', mover.subject, 'user:admin', 'user:admin']);
  });

  test('16 times among pushes and deletions leaves one line of changes that ends with the current state', async () => {
    const third = await imageIn(world, REPOSITORY, 3);
    const answers = await Promise.all(
      Array.from({ length: 16 }, async (_, n) => {
        if (n % 4 === 3) return (await put('v1', n % 8 === 3 ? third : one)).status;
        if (n === 6) return (await remove('v1')).status;
        return (await rollBack('v1', { point: 1 + (n % 2) })).status;
      }),
    );
    expect(Object.keys(tally(answers)).every((status) => ['200', '201', '202'].includes(status))).toBe(true);
    const moves = await movesOf('v1');
    for (const [n, [previous]] of moves.entries()) expect(previous).toBe(moves[n - 1]?.[1] ?? null);
    expect(await digestAt(world, REPOSITORY, 'v1')).toBe(moves.at(-1)?.[1] ?? 404);
    expect(await violations(world.env)).toEqual([]);
  });

  test('never names a deleted image, whenever the image is deleted meanwhile', async () => {
    await everyOrder(world, async (run) => {
      const [was, now] = [await imageIn(world, REPOSITORY, 100 + run), await imageIn(world, REPOSITORY, 200 + run)];
      for (const image of [was, now]) await must(put(`t${run}`, image));
      return {
        outer: async (at) => new Response(null, { status: (await rollBack(`t${run}`, { point: 1 }, {}, at)).status }),
        inner: (at) => at.fetch('DELETE', `/v2/${REPOSITORY}/manifests/${was.digest}`),
        check: async (outer, inner) => {
          expect(inner.status).toBe(202);
          expect([200, 409, 503]).toContain(outer.status);
          expect(await digestAt(world, REPOSITORY, `t${run}`)).toBe(outer.status === 200 ? 404 : now.digest);
        },
      };
    });
    expect(await violations(world.env)).toEqual([]);
  });
});

describe('the mutability rule', () => {
  const PATH = `/repositories/${REPOSITORY}/-/tag-mutability`;
  const get = (request: ApiRequest = {}) => api(world, 'GET', PATH, request);
  const save = (body: unknown, request: ApiRequest = {}) => api(world, 'PUT', PATH, { body, ...request });
  const excluding = (imageTagMutability: string, ...filters: string[]) => ({
    imageTagMutability,
    imageTagMutabilityExclusionFilters: filters.map((filter) => ({ filterType: 'WILDCARD', filter })),
  });

  test('is MUTABLE by default, and is read as it was saved', async () => {
    expect((await get()).body).toEqual({ imageTagMutability: 'MUTABLE' });
    for (const body of [
      { imageTagMutability: 'IMMUTABLE' },
      excluding('IMMUTABLE_WITH_EXCLUSION', 'dev-*', 'latest'),
      excluding('MUTABLE_WITH_EXCLUSION', 'a', '*b', 'c*', '*d*', 'e*f.*_-G'),
      { imageTagMutability: 'MUTABLE' },
    ]) {
      const saved = await save(body);
      expect(saved).toMatchObject({ status: 200, body });
      const read = await get();
      expect(read.body).toEqual(body);
      expect(read.headers.get('etag')).toBe(saved.headers.get('etag'));
    }
  });

  test('is saved on condition of its ETag, from the first save on', async () => {
    const first = (await get()).headers.get('etag') ?? '';
    const saved = await save({ imageTagMutability: 'IMMUTABLE' }, { headers: { 'if-match': first } });
    expect(saved.status).toBe(200);
    for (const etag of [first, '"999"', 'x', '*']) {
      const again = () => save({ imageTagMutability: 'MUTABLE' }, { headers: { 'if-match': etag } });
      expect(await untouched(again), etag).toBe('412 PRECONDITION_FAILED');
    }
    const last = saved.headers.get('etag') ?? '';
    expect((await save({ imageTagMutability: 'MUTABLE' }, { headers: { 'if-match': last } })).status).toBe(200);
  });

  test('accepts one of 16 concurrent changes with the same condition', async () => {
    const etag = (await get()).headers.get('etag') ?? '';
    const answers = await Promise.all(
      Array.from({ length: 16 }, (_, n) =>
        save(excluding('IMMUTABLE_WITH_EXCLUSION', `x${n}`), { headers: { 'if-match': etag } }),
      ),
    );
    expect(tally(answers.map(({ status }) => status))).toEqual({ 200: 1, 412: 15 });
  });

  test('is recorded as saved, and not if it is the same already', async () => {
    const body = excluding('IMMUTABLE_WITH_EXCLUSION', 'dev-*', 'dev-*', 'latest');
    const events = await eventsDuring(world, () => save(body));
    const target = { imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION', exclusions: ['dev-*', 'latest'] };
    expect(events).toEqual([{ type: 'tag-mutability.saved', target, actor: 'user:admin' }]);
    const before = await contents();
    const etag = (await get()).headers.get('etag');
    const again = await save(body);
    expect(again.status).toBe(200);
    expect(again.headers.get('etag')).toBe(etag);
    expect(await contents()).toEqual(before);
    expect(await eventsDuring(world, () => save({ imageTagMutability: 'MUTABLE' }))).toHaveLength(1);
    expect(await eventsDuring(world, () => save({ imageTagMutability: 'MUTABLE' }))).toEqual([]);
  });

  test.each<[string, unknown]>([
    ['a value nobody knows', { imageTagMutability: 'FROZEN' }],
    ['a value in small letters', { imageTagMutability: 'immutable' }],
    ['nothing', {}],
    ['filters without an exclusion', excluding('IMMUTABLE', 'v*')],
    ['filters without an exclusion, mutable', excluding('MUTABLE', 'v*')],
    ['an exclusion without filters', { imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION' }],
    ['an exclusion with no filter', excluding('MUTABLE_WITH_EXCLUSION')],
    ['six filters', excluding('IMMUTABLE_WITH_EXCLUSION', 'a', 'b', 'c', 'd', 'e', 'f')],
    ['an empty filter', excluding('IMMUTABLE_WITH_EXCLUSION', '')],
    ['a filter of 129 characters', excluding('IMMUTABLE_WITH_EXCLUSION', 'x'.repeat(129))],
    ...['a b', 'a/b', 'a?', '[ab]', 'é', 'a\n', 'a:b', '%', '^a', '$', 'a\\*', '+'].map((filter): [string, unknown] => [
      `the filter ${JSON.stringify(filter)}`,
      excluding('IMMUTABLE_WITH_EXCLUSION', filter),
    ]),
    [
      'another type of filter',
      {
        imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION',
        imageTagMutabilityExclusionFilters: [{ filterType: 'REGEX', filter: 'a' }],
      },
    ],
    ['filters as text', { imageTagMutability: 'IMMUTABLE_WITH_EXCLUSION', imageTagMutabilityExclusionFilters: ['a'] }],
    ['a field nobody knows', { imageTagMutability: 'IMMUTABLE', version: 7 }],
    ['a prototype', '{"imageTagMutability":"IMMUTABLE","__proto__":{"a":1}}'],
    [
      'a prototype of a filter',
      '{"imageTagMutability":"IMMUTABLE_WITH_EXCLUSION","imageTagMutabilityExclusionFilters":[{"filter":"a","__proto__":{}}]}',
    ],
    ['a repeated key', '{"imageTagMutability":"IMMUTABLE","imageTagMutability":"MUTABLE"}'],
  ])('is refused with %s', async (_, body) => {
    expect(await untouched(() => save(body))).toBe('400 INVALID');
  });

  test('takes a filter of 128 characters, and one without its type', async () => {
    const long = 'x'.repeat(127);
    const filters = [{ filter: `${long}*` }];
    const body = { imageTagMutability: 'MUTABLE_WITH_EXCLUSION', imageTagMutabilityExclusionFilters: filters };
    expect(await save(body)).toMatchObject({ status: 200, body: excluding('MUTABLE_WITH_EXCLUSION', `${long}*`) });
    await must(put(`${long}y`, one));
    expect((await put(`${long}y`, two)).status).toBe(403);
  });

  test('is readable for those who may pull, and saved by administrators of the repository', async () => {
    const dev = await member('dev', on('push and pull'));
    const chief = await member('chief', on('all actions'));
    const stranger = await inviteUser(world, 'stranger');
    const body = { imageTagMutability: 'IMMUTABLE' };
    expect((await get({ as: dev.bearer })).status).toBe(200);
    expect(await untouched(() => save(body, { as: dev.bearer }))).toBe('403 DENIED');
    expect(await untouched(() => save(body, { as: stranger.bearer }))).toBe('404 NOT_FOUND');
    expect(await untouched(() => save(body, { as: null }))).toBe('401 UNAUTHORIZED');
    expect(refused(await get({ as: stranger.bearer }))).toBe('404 NOT_FOUND');
    expect(refused(await get({ as: null }))).toBe('401 UNAUTHORIZED');
    expect((await save(body, { as: chief.bearer })).status).toBe(200);
  });

  test('of an unknown repository is a 404, and does not create it', async () => {
    const path = '/repositories/acme/absent/-/tag-mutability';
    expect(refused(await api(world, 'GET', path))).toBe('404 NAME_UNKNOWN');
    expect(await untouched(() => api(world, 'PUT', path, { body: { imageTagMutability: 'IMMUTABLE' } }))).toBe(
      '404 NAME_UNKNOWN',
    );
  });

  test('is deleted with its repository: a recreated one has none', async () => {
    await save({ imageTagMutability: 'IMMUTABLE' });
    expect((await api(world, 'DELETE', `/repositories/${REPOSITORY}?force=true`)).status).toBe(200);
    expect((await api(world, 'PUT', `/repositories/${REPOSITORY}`)).status).toBe(201);
    expect((await get()).body).toEqual({ imageTagMutability: 'MUTABLE' });
  });
});
