/** Compare-and-swap of tags: a put with the condition that its tags name a digest, or do not exist (RFC 9110, 13.1). */
import { beforeEach, describe, expect, test } from 'vitest';
import { violations } from '../../world/checker.ts';
import { type Fault, faulty } from '../../world/faults.ts';
import { type Content, IMAGE_TYPE, imageIn, pushBlob, pushImage, refusal, textOf } from '../../world/images.ts';
import { everyOrder } from '../../world/interleaving.ts';
import { eventsDuring, makeOrganization, makeTeam, tally } from '../../world/organizations.ts';
import { inviteUser } from '../../world/people.ts';
import { digestAt, tagsOf } from '../../world/reading.ts';
import { builtOnce, type Send, type World, worldOf } from '../../world/world.ts';

const REPOSITORY = 'acme/api';
const WRITERS = 16;
const LARGE = { annotations: { text: 'x'.repeat(200_000) } };

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

interface Conditions {
  match?: string;
  noneMatch?: string;
  as?: string | null;
}

/** Puts a manifest with a condition. @param reference the reference, with the query if there is one */
function put(at: World, reference: string, image: Content, { match, noneMatch, as }: Conditions = {}): Promise<Response> {
  const send: Send = {
    headers: {
      'content-type': IMAGE_TYPE,
      ...(match === undefined ? {} : { 'if-match': match }),
      ...(noneMatch === undefined ? {} : { 'if-none-match': noneMatch }),
    },
    body: textOf(image),
    ...(as === undefined ? {} : { authorization: as }),
  };
  return at.fetch('PUT', `/v2/${REPOSITORY}/manifests/${reference}`, send);
}

async function must(response: Promise<Response>, status = 201): Promise<void> {
  expect((await response).status).toBe(status);
}

const quoted = (...contents: Content[]) => contents.map(({ digest }) => `"${digest}"`).join(', ');
const PRECONDITION = '412 DENIED';

/** All rows that a refusal must not change. */
async function contents(): Promise<unknown> {
  const tables =
    'repositories blobs repository_blobs manifests manifest_references tags tag_history trash tombstones events'.split(' ');
  const results = await world.env.DB.batch(tables.map((table) => world.env.DB.prepare(`SELECT * FROM ${table}`)));
  return [results.map((result) => result.results), (await world.env.BLOBS.list()).objects.map(({ key }) => key)];
}

async function refusedUntouched(request: () => Promise<Response>): Promise<string> {
  const before = await contents();
  const code = await refusal(await request());
  expect(await contents()).toEqual(before);
  return code;
}

async function messageOf(response: Response): Promise<{ message: string; detail: unknown }> {
  return ((await response.json()) as { errors: { message: string; detail: unknown }[] }).errors[0] as never;
}

describe('a put with If-None-Match: *', () => {
  test('creates a new tag, and is refused for an existing one, even with the same image', async () => {
    await must(put(world, 'v1', one, { noneMatch: '*' }));
    for (const image of [one, two]) {
      expect(await refusedUntouched(() => put(world, 'v1', image, { noneMatch: '*' }))).toBe(PRECONDITION);
    }
    const refused = await put(world, 'v1', two, { noneMatch: '*' });
    expect(await messageOf(refused)).toEqual({
      code: 'DENIED',
      message: `the condition of this request does not hold: the tag v1 names ${one.digest}. Nothing was changed`,
      detail: { tag: 'v1', digest: one.digest },
    });
  });

  test('creates the repository as well, unless it is refused', async () => {
    const before = await contents();
    const elsewhere = (conditions: Record<string, string>) =>
      world.fetch('PUT', '/v2/acme/empty/manifests/v1', {
        headers: { 'content-type': 'application/vnd.oci.image.index.v1+json', ...conditions },
        body: JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [] }),
      });
    for (const header of ['*', `"${one.digest}"`])
      expect(await refusal(await elsewhere({ 'if-match': header }))).toBe(PRECONDITION);
    expect(await contents()).toEqual(before);
    await must(elsewhere({ 'if-none-match': '*' }));
    expect(await tagsOf(world, 'acme/empty')).toEqual(['v1']);
  });

  test('restores a deleted tag', async () => {
    await must(put(world, 'v1', one));
    await must(world.fetch('DELETE', `/v2/${REPOSITORY}/manifests/v1`), 202);
    await must(put(world, 'v1', two, { noneMatch: '*' }));
    expect(await digestAt(world, REPOSITORY, 'v1')).toBe(two.digest);
  });

  test('by digest without tags applies to the manifest', async () => {
    await must(put(world, one.digest, one, { noneMatch: '*' }));
    const refused = await put(world, one.digest, one, { noneMatch: '*' });
    expect(await messageOf(refused.clone())).toMatchObject({
      message: 'the condition of this request does not hold: this manifest exists. Nothing was changed',
    });
    expect(await refusal(refused)).toBe(PRECONDITION);
    await must(world.fetch('DELETE', `/v2/${REPOSITORY}/manifests/${one.digest}`), 202);
    await must(put(world, one.digest, one, { noneMatch: '*' }));
  });

  test('by digest pushes a manifest whose object is missing, because that counts as absent', async () => {
    const large = await imageIn(world, REPOSITORY, 3, LARGE);
    await must(put(world, large.digest, large));
    for (const { key } of (await world.env.BLOBS.list({ prefix: 'manifests/' })).objects) await world.env.BLOBS.delete(key);
    expect((await world.fetch('GET', `/v2/${REPOSITORY}/manifests/${large.digest}`)).status).toBe(404);
    expect(await refusedUntouched(() => put(world, large.digest, large, { match: '*' }))).toBe(PRECONDITION);
    await must(put(world, large.digest, large, { noneMatch: '*' }));
    expect((await world.fetch('GET', `/v2/${REPOSITORY}/manifests/${large.digest}`)).status).toBe(200);
  });
});

describe('a put with If-Match', () => {
  test('moves the tag if it names that digest, with the ETag of HEAD and GET', async () => {
    await must(put(world, 'v1', one));
    for (const [method, next, stale] of [
      ['HEAD', two, one],
      ['GET', one, two],
    ] as const) {
      const etag = (await world.fetch(method, `/v2/${REPOSITORY}/manifests/v1`)).headers.get('etag') ?? '';
      await must(put(world, 'v1', next, { match: etag }));
      expect(await digestAt(world, REPOSITORY, 'v1')).toBe(next.digest);
      expect(await refusedUntouched(() => put(world, 'v1', stale, { match: etag }))).toBe(PRECONDITION);
    }
  });

  test('is refused if the tag or the repository does not exist', async () => {
    expect(await refusedUntouched(() => put(world, 'v1', two, { match: quoted(one) }))).toBe(PRECONDITION);
    expect(await refusedUntouched(() => put(world, 'v1', two, { match: '*' }))).toBe(PRECONDITION);
    await must(put(world, 'v1', one));
    await must(world.fetch('DELETE', `/v2/${REPOSITORY}/manifests/v1`), 202);
    const refused = await put(world, 'v1', two, { match: quoted(one) });
    expect(await messageOf(refused.clone())).toMatchObject({
      message: 'the condition of this request does not hold: the tag v1 does not exist. Nothing was changed',
      detail: { tag: 'v1', digest: null },
    });
    expect(await refusal(refused)).toBe(PRECONDITION);
  });

  test('with a list accepts any of it, and `*` accepts anything that exists', async () => {
    await must(put(world, 'v1', one));
    const third = await imageIn(world, REPOSITORY, 3);
    await must(put(world, 'v1', two, { match: quoted(third, one) }));
    await must(put(world, 'v1', third, { match: '*' }));
    expect(await refusedUntouched(() => put(world, 'v1', one, { match: quoted(one, two) }))).toBe(PRECONDITION);
  });

  test('with the digest of the pushed image, if the tag names it already, succeeds and moves nothing', async () => {
    await must(put(world, 'v1', one));
    const events = await eventsDuring(world, () => must(put(world, 'v1', one, { match: quoted(one) })));
    expect(events.map(({ type }) => type)).toEqual(['tag.pushed']);
    expect(await refusedUntouched(() => put(world, 'v1', one, { match: quoted(two) }))).toBe(PRECONDITION);
  });

  test('never matches a weak tag, and If-None-Match does', async () => {
    await must(put(world, 'v1', one));
    expect(await refusedUntouched(() => put(world, 'v1', two, { match: `W/${quoted(one)}` }))).toBe(PRECONDITION);
    expect(await refusedUntouched(() => put(world, 'v1', two, { noneMatch: `W/${quoted(one)}` }))).toBe(PRECONDITION);
    await must(put(world, 'v1', two, { noneMatch: `W/${quoted(two)}` }));
  });

  test('by digest without tags applies to the manifest', async () => {
    expect(await refusedUntouched(() => put(world, one.digest, one, { match: '*' }))).toBe(PRECONDITION);
    expect(await refusedUntouched(() => put(world, one.digest, one, { match: quoted(one) }))).toBe(PRECONDITION);
    await must(put(world, one.digest, one));
    await must(put(world, one.digest, one, { match: quoted(one) }));
    expect(await refusedUntouched(() => put(world, one.digest, one, { match: quoted(two) }))).toBe(PRECONDITION);
  });
});

test('if both headers are sent, both must hold', async () => {
  await must(put(world, 'v1', one));
  for (const [match, noneMatch, status] of [
    [quoted(one), quoted(two), 201],
    ['*', quoted(one), 412],
    [quoted(two), quoted(two), 412],
    [quoted(one), '*', 412],
    [quoted(one), quoted(one), 412],
  ] as const) {
    await must(put(world, 'v1', one), 201);
    expect((await put(world, 'v1', two, { match, noneMatch })).status, `${match} / ${noneMatch}`).toBe(status);
  }
});

test('an invalid header is a 400 before the manifest is read', async () => {
  for (const header of [one.digest, `'${one.digest}'`, '"', '*, "a"', '**']) {
    for (const conditions of [{ match: header }, { noneMatch: header }]) {
      expect(await refusedUntouched(() => put(world, 'v1', one, conditions)), header).toBe('400 UNSUPPORTED');
    }
  }
});

describe('with several tags', () => {
  test('the condition must hold for each of them, or nothing happens; the answer says for which it does not', async () => {
    await must(put(world, `${one.digest}?tag=a&tag=b`, one));
    expect(await refusedUntouched(() => put(world, `${two.digest}?tag=c&tag=b`, two, { noneMatch: '*' }))).toBe(PRECONDITION);
    expect(await refusedUntouched(() => put(world, `${two.digest}?tag=a&tag=c`, two, { match: quoted(one) }))).toBe(
      PRECONDITION,
    );
    expect(await refusedUntouched(() => put(world, 'a?tag=b&tag=c', two, { match: quoted(one) }))).toBe(PRECONDITION);
    const { detail } = await messageOf(await put(world, `${two.digest}?tag=c&tag=b`, two, { noneMatch: '*' }));
    expect(detail).toEqual({ tag: 'b', digest: one.digest });
    await must(put(world, `${two.digest}?tag=a&tag=b`, two, { match: quoted(one) }));
    await must(put(world, `${one.digest}?tag=c&tag=d`, one, { noneMatch: '*' }));
    expect(await tagsOf(world, REPOSITORY)).toEqual(['a', 'b', 'c', 'd']);
  });

  test('it is one condition for each of 100 tags', async () => {
    const query = Array.from({ length: 100 }, (_, n) => `tag=t${n}`).join('&');
    await must(put(world, `${one.digest}?${query}`, one, { noneMatch: '*' }));
    await must(put(world, `${two.digest}?${query}`, two, { match: quoted(one) }));
    await must(put(world, 't99', one));
    expect(await refusedUntouched(() => put(world, `${one.digest}?${query}`, one, { match: quoted(two) }))).toBe(PRECONDITION);
  });
});

test('a refusal leaves no object of a large manifest', async () => {
  const large = await imageIn(world, REPOSITORY, 3, LARGE);
  await must(put(world, 'v1', one));
  expect(await refusedUntouched(() => put(world, 'v1', large, { noneMatch: '*' }))).toBe(PRECONDITION);
  expect(await refusedUntouched(() => put(world, large.digest, large, { match: '*' }))).toBe(PRECONDITION);
});

test('missing content is reported before a failed condition', async () => {
  await must(put(world, 'v1', one));
  await pushBlob(world, 'acme/other', 'other');
  const absent = { ...one, bytes: new TextEncoder().encode(textOf(one).replace(/"size":100/, '"size":101')) };
  expect(await refusal(await put(world, 'v1', absent as Content, { noneMatch: '*' }))).toBe('400 MANIFEST_INVALID');
});

describe('of 16 concurrent puts', () => {
  async function sixteen(conditions: Conditions, more: Record<string, unknown> = {}): Promise<Content[]> {
    const images: Content[] = [];
    for (let n = 0; n < WRITERS; n++) images.push(await imageIn(world, REPOSITORY, 10 + n, more));
    const answers = await Promise.all(images.map((image) => put(world, 'v1', image, conditions)));
    expect(tally(answers.map(({ status }) => status))).toEqual({ 201: 1, 412: WRITERS - 1 });
    const winner = images[answers.findIndex(({ status }) => status === 201)];
    expect(await digestAt(world, REPOSITORY, 'v1')).toBe(winner?.digest);
    expect(await violations(world.env)).toEqual([]);
    return images;
  }

  test('that create one tag, one succeeds', async () => {
    const events = await eventsDuring(world, () => sixteen({ noneMatch: '*' }));
    expect(events.map(({ type }) => type)).toEqual(['tag.created']);
    const row = await world.env.DB.prepare('SELECT count(*) AS n FROM manifests').first('n');
    expect(row).toBe(1);
  });

  test('that move it from the same digest, one succeeds, with large manifests as with small ones', {
    tags: 'slow',
  }, async () => {
    await must(put(world, 'v1', one));
    await sixteen({ match: quoted(one) }, LARGE);
    expect((await world.env.BLOBS.list({ prefix: 'manifests/' })).objects).toHaveLength(1);
  });

  test('that count up, each retried until it succeeds, none is lost', { tags: 'slow' }, async () => {
    await must(put(world, 'v1', one));
    const writers = Array.from({ length: 6 }, async (_, n) => {
      const image = await imageIn(world, REPOSITORY, 40 + n);
      for (let tries = 0; ; tries++) {
        expect(tries).toBeLessThan(20);
        const etag = (await world.fetch('HEAD', `/v2/${REPOSITORY}/manifests/v1`)).headers.get('etag') ?? '';
        const { status } = await put(world, 'v1', image, { match: etag });
        if (status === 201) return image.digest;
        expect(status).toBe(412);
      }
    });
    const digests = await Promise.all(writers);
    const { results } = await world.env.DB.prepare('SELECT digest, previous FROM tag_history ORDER BY point').all();
    expect(results).toHaveLength(7);
    expect(
      results
        .map(({ digest }) => digest)
        .slice(1)
        .sort(),
    ).toEqual(digests.sort());
    expect(await violations(world.env)).toEqual([]);
  });
});

describe('a batch whose answer is lost', () => {
  /** A world in which the next put is committed and the answer of the database is lost. */
  async function losing(fault: Fault = 'fail-after'): Promise<World> {
    const counted = faulty(world.env);
    await must(put(worldOf(counted.env), 'counted', one));
    const at = counted.calls.indexOf('DB.batch');
    expect(at).toBeGreaterThanOrEqual(0);
    return worldOf(faulty(world.env, fault, at).env);
  }

  test('is committed again without failing its condition: 201, written and recorded once', { tags: 'slow' }, async () => {
    for (const conditions of [{ match: quoted(one) }, { match: quoted(one), noneMatch: quoted(two) }, {}]) {
      await must(put(world, 'v1', one));
      const lost = await losing();
      const events = await eventsDuring(world, () => must(put(lost, 'v1', two, conditions)));
      expect(events.map(({ type }) => type)).toEqual(['tag.moved']);
    }
    expect(await violations(world.env)).toEqual([]);
  });

  test('works with If-None-Match: * as well, by tag, with several tags and by digest', async () => {
    const three = await imageIn(world, REPOSITORY, 3);
    for (const [reference, image, types] of [
      ['new', two, ['tag.created']],
      [`${two.digest}?tag=x&tag=y`, two, ['tag.created', 'tag.created']],
      [three.digest, three, ['manifest.pushed']],
    ] as const) {
      const lost = await losing();
      const events = await eventsDuring(world, () => must(put(lost, reference, image, { noneMatch: '*' })));
      expect(events.map(({ type }) => type)).toEqual(types);
    }
    expect(await violations(world.env)).toEqual([]);
  });

  test('that was refused is refused the second time too', async () => {
    await must(put(world, 'v1', one));
    const third = await imageIn(world, REPOSITORY, 3);
    for (const fault of ['fail-before', 'fail-after'] as const) {
      const lost = await losing(fault);
      expect(await refusedUntouched(() => put(lost, 'v1', two, { match: quoted(third) }))).toBe(PRECONDITION);
    }
  });
});

test('with another put at every point of one with a condition, one of the two orders explains the answers', async () => {
  await everyOrder(world, async (run) => {
    const [tag, third] = [`t${run}`, await imageIn(world, REPOSITORY, 100 + run)];
    await must(put(world, tag, one));
    return {
      outer: (at) => put(at, tag, two, { match: quoted(one) }),
      inner: (at) => put(at, tag, third),
      check: async (outer, inner) => {
        expect(inner.status).toBe(201);
        expect([201, 412]).toContain(outer.status);
        const { results } = await world.env.DB.prepare('SELECT digest FROM tag_history WHERE tag = ? ORDER BY point')
          .bind(tag)
          .all<{ digest: string }>();
        const names = [one, ...(outer.status === 201 ? [two] : []), third].map(({ digest }) => digest);
        expect(results.map(({ digest }) => digest)).toEqual(names);
      },
    };
  });
  expect(await violations(world.env)).toEqual([]);
});

describe('rights', () => {
  const statement = (actions: string[], tags?: string[]) => ({ actions, repositories: ['acme/*'], ...(tags ? { tags } : {}) });

  test('to move and to create a tag are required whatever the condition says', async () => {
    const people = [await inviteUser(world, 'maker'), await inviteUser(world, 'mover')] as const;
    const [maker, mover] = people;
    await makeOrganization(world, 'acme', { members: [...people] });
    await makeTeam(world, 'acme', 'makers', [maker], [statement(['pull', 'push'])]);
    await makeTeam(world, 'acme', 'movers', [mover], [statement(['pull', 'retag']), statement(['push'], ['only-this'])]);
    await must(put(world, 'v1', one));
    for (const conditions of [{}, { match: quoted(one) }, { match: '*' }]) {
      expect(await refusedUntouched(() => put(world, 'v1', two, { ...conditions, as: maker.basic }))).toBe('403 DENIED');
    }
    for (const conditions of [{}, { noneMatch: '*' }]) {
      expect(await refusedUntouched(() => put(world, 'v2', two, { ...conditions, as: mover.basic }))).toBe('403 DENIED');
    }
    await must(put(world, 'v1', two, { match: quoted(one), as: mover.basic }));
    await must(put(world, 'v2', two, { noneMatch: '*', as: maker.basic }));
  });

  test('that are missing get the same refusal whatever the condition says, and whether the tag or the repository exists', async () => {
    const [reader, stranger] = [await inviteUser(world, 'reader'), await inviteUser(world, 'stranger')];
    await makeOrganization(world, 'acme', { members: [reader] });
    await makeTeam(world, 'acme', 'readers', [reader], [statement(['pull'])]);
    await must(put(world, 'v1', one));
    for (const person of [reader, stranger]) {
      const answers = new Set<string>();
      for (const conditions of [
        {},
        { match: '*' },
        { match: quoted(one) },
        { match: quoted(two) },
        { noneMatch: '*' },
        { match: '"' },
      ]) {
        for (const tag of ['v1', 'absent']) {
          answers.add(await (await put(world, tag, two, { ...conditions, as: person.basic })).text());
        }
        const elsewhere = await world.fetch('PUT', '/v2/acme/absent/manifests/v1', {
          headers: { 'content-type': IMAGE_TYPE, 'if-match': '*' },
          body: textOf(two),
          authorization: person.basic,
        });
        answers.add((await elsewhere.text()).replaceAll('acme/absent', REPOSITORY));
      }
      expect([...answers], person.name).toHaveLength(1);
    }
    expect((await put(world, 'v1', two, { match: quoted(one), as: null })).status).toBe(401);
  });
});

test('a condition that holds and a put refused for its content leave everything as it was', async () => {
  await pushImage(world, 'acme/other', 'v1', 77);
  const foreign = await imageIn(world, 'acme/other', 77);
  await must(put(world, 'v1', one));
  expect(await refusedUntouched(() => put(world, 'v1', foreign, { match: quoted(one) }))).toBe('400 MANIFEST_BLOB_UNKNOWN');
});

describe('a conditional deletion', () => {
  const remove = (reference: string, headers: Record<string, string> = {}, at = world) =>
    at.fetch('DELETE', `/v2/${REPOSITORY}/manifests/${reference}`, { headers });

  test('deletes a tag only while it names that digest', async () => {
    await must(put(world, 'v1', two));
    for (const headers of [
      { 'if-match': quoted(one) },
      { 'if-none-match': quoted(two) },
      { 'if-none-match': '*' },
      { 'if-match': `W/${quoted(two)}` },
    ]) {
      expect(await refusedUntouched(() => remove('v1', headers)), JSON.stringify(headers)).toBe(PRECONDITION);
    }
    expect(await refusedUntouched(() => remove('v1', { 'if-match': two.digest }))).toBe('400 UNSUPPORTED');
    await must(remove('v1', { 'if-match': quoted(one, two) }), 202);
  });

  test('deletes a manifest by digest with its tags if the condition holds', async () => {
    await must(put(world, 'v1', two));
    for (const headers of [{ 'if-match': quoted(one) }, { 'if-none-match': '*' }]) {
      expect(await refusedUntouched(() => remove(two.digest, headers)), JSON.stringify(headers)).toBe(PRECONDITION);
    }
    await must(remove(two.digest, { 'if-match': quoted(two) }), 202);
    expect(await tagsOf(world, REPOSITORY)).toEqual([]);
  });

  test('of something that does not exist is a 404, whatever the condition', async () => {
    for (const reference of ['v1', two.digest]) {
      for (const header of ['if-match', 'if-none-match']) {
        expect(await refusedUntouched(() => remove(reference, { [header]: '*' }))).toBe('404 MANIFEST_UNKNOWN');
      }
    }
  });

  test('never deletes a manifest that is pushed at any point of the deletion', async () => {
    await everyOrder(world, async (run) => {
      const tag = `t${run}`;
      await must(put(world, tag, one));
      return {
        outer: (at) => remove(tag, { 'if-match': quoted(one) }, at),
        inner: (at) => put(at, tag, two),
        check: async (outer, inner) => {
          expect(inner.status).toBe(201);
          expect([202, 412]).toContain(outer.status);
          expect(await digestAt(world, REPOSITORY, tag)).toBe(two.digest);
        },
      };
    });
    expect(await violations(world.env)).toEqual([]);
  });
});
