/**
 * Lifecycle policies by the API: saved, previewed and carried out, on the real stores.
 *
 * @module-tag walk
 */

import { beforeEach, describe, expect, test } from 'vitest';
import type { Actor } from '../../../src/events/event.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import type { RepositoryName } from '../../../src/oci/name.ts';
import { runDueLifecycles } from '../../../src/registry/lifecycle/run.ts';
import { bytesFreedBy, CANDIDATES_MAX, loadSnapshot } from '../../../src/registry/lifecycle/snapshot.ts';
import { violations } from '../../world/checker.ts';
import { counting } from '../../world/counting.ts';
import { faulty } from '../../world/faults.ts';
import { type Content, INDEX_TYPE, imageIn, indexOf, pushImage, putManifest, textOf } from '../../world/images.ts';
import { intercepted } from '../../world/intercept.ts';
import { everyOrder } from '../../world/interleaving.ts';
import { limited } from '../../world/limits.ts';
import { eventsDuring, makeOrganization, makeTeam } from '../../world/organizations.ts';
import { type ApiAnswer, type ApiRequest, api as anyApi, inviteUser, refused } from '../../world/people.ts';
import { inFull } from '../../world/sampling.ts';
import { builtOnce, type World, worldOf } from '../../world/world.ts';

interface Item {
  tag: string | null;
  digest: string;
  rule: { priority: number; description: string | null };
  reason: string;
}

interface Body {
  policy: { rules: unknown[] };
  lastRanAt: string | null;
  lastReport: { by: string | null; tags: number; manifests: number; remaining: number; failed: string | null } | null;
  tags: number;
  manifests: number;
  bytes: number;
  waiting: number;
  remaining: number;
  items: Item[];
  truncated: boolean;
  errors: [{ code: string; message: string }];
}

const APP = 'acme/api' as RepositoryName;
const PATH = `/repositories/${APP}/-/lifecycle`;
const DAY = 24 * 60 * 60;

let world: World;
const api = (method: string, path: string, request?: ApiRequest) => anyApi<Body>(world, method, path, request);

const rule = (selection: object, action: object = { type: 'expire' }) => ({ selection, action });
const policyOf = (...rules: { selection: object; action: object }[]) => ({
  rules: rules.map((one, n) => ({ rulePriority: n + 1, ...one })),
});
const tagged = (...tagPatternList: string[]) => ({ tagStatus: 'tagged', tagPatternList });
const olderThan = (countNumber: number) => ({ countType: 'sinceImagePushed', countUnit: 'days', countNumber });
const moreThan = (countNumber: number) => ({ countType: 'imageCountMoreThan', countNumber });
const OLD = policyOf(rule({ tagStatus: 'any', ...olderThan(14) }));

const build = builtOnce(async (made) => {
  world = made;
  await api('PUT', '/repositories/acme/api');
});

beforeEach(async () => {
  world = await build();
});

async function save(policy: object = OLD, path = PATH): Promise<ApiAnswer<Body>> {
  const answer = await api('PUT', path, { body: policy });
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return answer;
}

async function preview(policy?: object): Promise<ApiAnswer<Body>> {
  const answer = await api('POST', `${PATH}/preview`, policy ? { body: { policy } } : {});
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return answer;
}

const run = (ifMatch?: string | null) =>
  api('POST', `${PATH}/run`, ifMatch === undefined || ifMatch === null ? {} : { headers: { 'if-match': ifMatch } });

/** Makes tags and manifests older. The clock is that of the database, so the times in rows are changed. */
async function age(days: number, { tags = '*', manifest = '' }: { tags?: string; manifest?: string } = {}): Promise<void> {
  const { DB } = world.env;
  await DB.batch([
    DB.prepare('UPDATE tags SET updated_at = updated_at - ?1 WHERE name GLOB ?2').bind(days * DAY, tags),
    DB.prepare(
      "UPDATE manifests SET pushed_at = pushed_at - ?1, leased_until = leased_until - ?1 WHERE ?2 = '' OR digest = ?2",
    ).bind(days * DAY, manifest),
  ]);
}

/** Pushes an index whose children have no tags. */
async function pushIndex(tag: string | null, children: Content[], repository: string = APP): Promise<Content> {
  for (const child of children) expect((await putManifest(world, repository, child.digest, textOf(child))).status).toBe(201);
  const index = await indexOf(children, { annotations: { tag } });
  expect((await putManifest(world, repository, tag ?? index.digest, textOf(index), INDEX_TYPE)).status).toBe(201);
  return index;
}

async function pushReferrer(subject: Content, seed: number, repository: string = APP): Promise<Content> {
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  return pushImage(world, repository, null, seed, {
    subject: { mediaType, digest: subject.digest, size: subject.bytes.byteLength },
  });
}

/** Everything in the repositories: tags as `name digest`, manifests as their digests. */
async function present(): Promise<string[]> {
  const { results } = await world.env.DB.prepare(
    `SELECT r.name || ' ' || t.name || ' ' || t.digest AS line FROM tags t JOIN repositories r ON r.id = t.repository_id
     UNION ALL SELECT r.name || ' ' || m.digest FROM manifests m JOIN repositories r ON r.id = m.repository_id ORDER BY 1`,
  ).all<{ line: string }>();
  return results.map(({ line }) => line);
}

const linesOf = (items: Item[]) =>
  items.map(({ tag, digest }) => (tag === null ? `${APP} ${digest}` : `${APP} ${tag} ${digest}`)).sort();

async function tagNames(): Promise<string[]> {
  const { results } = await world.env.DB.prepare('SELECT name FROM tags ORDER BY name').all<{ name: string }>();
  return results.map(({ name }) => name);
}

/** The result of a request that must change nothing. */
async function unchanged(ask: () => Promise<ApiAnswer<Body>>): Promise<string> {
  const before = await present();
  let code = '';
  expect(await eventsDuring(world, async () => (code = refused(await ask())))).toEqual([]);
  expect(await present()).toEqual(before);
  return code;
}

describe('the policy of a repository', () => {
  test('is saved and shown as given, with its ETag and without a run', async () => {
    const policy = policyOf(
      rule({ ...tagged('v*'), ...moreThan(10) }),
      rule({ tagStatus: 'tagged', tagSemverRange: '>=1', countNumber: 3 }, { type: 'keep' }),
    );
    const events = await eventsDuring(world, async () => {
      const saved = await save(policy);
      expect(saved.headers.get('etag')).toBe('"1"');
      expect(saved.body).toEqual({ policy, lastRanAt: null, lastReport: null });
    });
    expect(events).toMatchObject([{ type: 'lifecycle.saved', target: { rules: 2 }, actor: 'user:admin' }]);
    const shown = await api('GET', PATH);
    expect([shown.body, shown.headers.get('etag')]).toEqual([{ policy, lastRanAt: null, lastReport: null }, '"1"']);
  });

  test('saved again unchanged stays the same', async () => {
    await save();
    const [ours] = OLD.rules;
    const turned = { rules: [Object.fromEntries(Object.entries(ours ?? {}).reverse())] };
    expect(await eventsDuring(world, () => save(turned))).toEqual([]);
    expect((await api('GET', PATH)).headers.get('etag')).toBe('"1"');
  });

  test('is changed and deleted only in the requested version', async () => {
    const put = (headers: Record<string, string>, n = 1) =>
      api('PUT', PATH, { headers, body: policyOf(rule({ tagStatus: 'any', ...moreThan(n) })) });
    expect(await unchanged(() => put({ 'if-match': '"1"' }))).toBe('412 PRECONDITION_FAILED');
    expect((await put({ 'if-none-match': '*' })).status).toBe(200);
    expect(await unchanged(() => put({ 'if-none-match': '*' }, 2))).toBe('412 PRECONDITION_FAILED');
    expect((await put({ 'if-match': '"1"' }, 2)).headers.get('etag')).toBe('"2"');
    expect(await unchanged(() => put({ 'if-match': '"1"' }, 3))).toBe('412 PRECONDITION_FAILED');
    const stale = { headers: { 'if-match': '"1"' } };
    expect(await unchanged(() => api('DELETE', PATH, stale))).toBe('412 PRECONDITION_FAILED');
    const events = await eventsDuring(world, async () => expect((await api('DELETE', PATH)).status).toBe(204));
    expect(events).toMatchObject([{ type: 'lifecycle.deleted', target: {} }]);
    expect(await unchanged(() => api('GET', PATH))).toBe('404 NOT_FOUND');
  });

  test('that does not exist is a 404, as is an unknown repository', async () => {
    expect(await unchanged(() => api('GET', PATH))).toBe('404 NOT_FOUND');
    expect(await unchanged(() => api('DELETE', PATH))).toBe('404 NOT_FOUND');
    expect(await unchanged(() => api('POST', `${PATH}/preview`))).toBe('404 NOT_FOUND');
    expect(await unchanged(() => run())).toBe('404 NOT_FOUND');
    const absent = '/repositories/acme/none/-/lifecycle';
    for (const [method, path, request] of [
      ['GET', absent, {}],
      ['PUT', absent, { body: OLD }],
      ['DELETE', absent, {}],
      ['POST', `${absent}/preview`, { body: { policy: OLD } }],
      ['POST', `${absent}/run`, {}],
    ] as const) {
      expect(await unchanged(() => api(method, path, request)), `${method} ${path}`).toBe('404 NAME_UNKNOWN');
    }
  });

  test('that could not be carried out is refused with a message that names the rule', async () => {
    const wrong = policyOf(rule({ tagStatus: 'any', ...moreThan(1) }), rule({ ...tagged('*a*b*c*d*'), ...olderThan(1) }));
    for (const answer of [
      await api('PUT', PATH, { body: wrong }),
      await api('POST', `${PATH}/preview`, { body: { policy: wrong } }),
    ]) {
      expect(refused(answer)).toBe('400 INVALID');
      const messages = (answer.body.errors[0] as unknown as { detail: { message: string }[] }).detail.map(
        ({ message }) => message,
      );
      expect(messages).toEqual([
        'rule 1: the rule about "any" must have the highest rulePriority of the rules that expire',
        'rule 2: "*a*b*c*d*" has more than 4 "*"',
      ]);
    }
    expect(refused(await api('GET', PATH))).toBe('404 NOT_FOUND');
  });
});

describe('who may', () => {
  test('may be seen by those who may pull, and saved, previewed and carried out by administrators of the repository. It is hidden from others', async () => {
    const [reader, stranger] = await Promise.all([inviteUser(world, 'rita'), inviteUser(world, 'sven')]);
    await makeOrganization(world, 'acme', { members: [reader] });
    await makeTeam(world, 'acme', 'readers', [reader], [{ actions: 'pull only', repositories: ['acme/*'] }]);
    await save();
    const asks: [string, string, ApiRequest][] = [
      ['GET', PATH, {}],
      ['PUT', PATH, { body: OLD }],
      ['DELETE', PATH, {}],
      ['POST', `${PATH}/preview`, {}],
      ['POST', `${PATH}/run`, {}],
    ];
    const verdicts = async (as: string | null, name = APP as string) => {
      const codes: string[] = [];
      for (const [method, path, request] of asks) {
        const answer = await api(method, path.replace(APP, name), { ...request, as });
        codes.push(answer.status < 300 ? 'let in' : refused(answer));
      }
      return codes;
    };
    expect(await verdicts(reader.basic)).toEqual(['let in', ...Array<string>(4).fill('403 DENIED')]);
    expect(await verdicts(stranger.basic)).toEqual(Array<string>(5).fill('404 NOT_FOUND'));
    expect(await verdicts(stranger.basic, 'acme/none')).toEqual(Array<string>(5).fill('404 NOT_FOUND'));
    expect(await verdicts(null)).toEqual(Array<string>(5).fill('401 UNAUTHORIZED'));
  });
});

describe('the author of the rules', () => {
  test('is shown to those who may push, and not to readers of a public repository', async () => {
    const [reader, writer] = [await inviteUser(world, 'rita'), await inviteUser(world, 'will')];
    await makeOrganization(world, 'acme', { members: [reader, writer] });
    await makeTeam(world, 'acme', 'writers', [writer], [{ actions: 'push and pull', repositories: ['acme/*'] }]);
    expect((await api('PATCH', `/repositories/${APP}`, { body: { visibility: 'public' } })).status).toBe(200);
    await save();
    await run();
    for (const as of [null, reader.basic]) {
      const { status, body } = await api('GET', PATH, { as });
      expect([status, body.lastReport?.by]).toEqual([200, null]);
      expect(JSON.stringify(body)).not.toContain('user:');
    }
    expect((await api('GET', PATH, { as: writer.basic })).body.lastReport?.by).toBe('user:admin');
  });
});

describe('a preview', () => {
  test('lists what would expire, by which rule and why, and changes nothing', async () => {
    const { digest } = await pushImage(world, APP, 'v1');
    await age(20);
    await pushImage(world, APP, 'v2', 2);
    const before = await present();
    const { body, headers } = await preview({ rules: [{ ...OLD.rules[0], description: 'two weeks' }] });
    const by = { priority: 1, description: 'two weeks' };
    expect(body).toMatchObject({ tags: 1, manifests: 1, truncated: false, waiting: 0 });
    expect(body.items).toEqual([
      { tag: 'v1', digest, rule: by, reason: expect.stringMatching(/^older than 14 days: pushed \d{4}-\d\d-\d\d$/) },
      { tag: null, digest, rule: by, reason: 'only held by the tag v1' },
    ]);
    expect(headers.get('etag')).toMatch(/^"sha256:[0-9a-f]{64}"$/);
    expect(await present()).toEqual(before);
    expect(refused(await api('GET', PATH)), 'it is tried, not saved').toBe('404 NOT_FOUND');
  });

  test('of the saved policy equals one of the same policy sent along', async () => {
    await pushImage(world, APP, 'v1');
    await age(20);
    await save();
    const [saved, tried] = [await preview(), await preview(OLD)];
    expect(saved.body).toEqual(tried.body);
    expect(saved.headers.get('etag')).toBe(tried.headers.get('etag'));
  });

  test('has exact counts even if its list is truncated', async () => {
    await pushImage(world, APP, 'v1');
    await world.env.DB.prepare(
      `INSERT INTO tags (repository_id, name, digest, updated_at)
       SELECT repository_id, 'n' || value, digest, updated_at FROM tags, json_each(?1)`,
    )
      .bind(JSON.stringify(Array.from({ length: 1200 }, (_, n) => n)))
      .run();
    await age(20);
    const { body } = await preview(OLD);
    expect([body.tags, body.manifests, body.items.length, body.truncated]).toEqual([1201, 1, 1000, true]);
  });

  test('of a repository too large to examine is refused', async () => {
    await pushImage(world, APP, 'v1');
    await world.env.DB.prepare(
      `INSERT INTO tags (repository_id, name, digest, updated_at)
       WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?1)
       SELECT repository_id, 'n' || value, digest, updated_at FROM tags, n`,
    )
      .bind(CANDIDATES_MAX)
      .run();
    expect(refused(await api('POST', `${PATH}/preview`, { body: { policy: OLD } }))).toBe('409 CONFLICT');
  });
});

describe('the bytes to be freed', () => {
  const sizes = async (digests: string[]) =>
    (await world.env.DB.prepare('SELECT sum(size) AS bytes FROM blobs WHERE digest IN (SELECT value FROM json_each(?1))')
      .bind(JSON.stringify(digests))
      .first<number>('bytes')) ?? 0;

  /** The blobs of an image and its manifest. */
  async function bytesOf(image: Content): Promise<number> {
    const { config, layers } = JSON.parse(textOf(image)) as { config: { digest: string }; layers: { digest: string }[] };
    return image.bytes.byteLength + (await sizes([config.digest, ...layers.map(({ digest }) => digest)]));
  }

  test('are those of the manifest and of its blobs', async () => {
    const image = await pushImage(world, APP, 'v1');
    await age(20);
    expect((await preview(OLD)).body.bytes).toBe(await bytesOf(image));
  });

  test('exclude what another manifest of the repository needs or another repository has', async () => {
    const [here, there] = [await pushImage(world, APP, 'v1', 1), await pushImage(world, APP, 'v2', 2)];
    await pushImage(world, 'acme/other', 'v2', 2);
    const again = await pushImage(world, APP, 'v3', 1, { annotations: { again: 'yes' } });
    await age(20, { tags: 'v[12]' });
    expect((await preview(OLD)).body.bytes).toBe(here.bytes.byteLength + there.bytes.byteLength);
    await age(20, { tags: 'v3' });
    const { bytes } = (await preview(OLD)).body;
    expect(bytes).toBe((await bytesOf(here)) + there.bytes.byteLength + again.bytes.byteLength);
  });

  test('do not shrink because of what is already in the trash', async () => {
    const image = await pushImage(world, APP, 'v1', 1);
    const trashed = await pushImage(world, APP, 'v2', 1, { annotations: { again: 'yes' } });
    await pushImage(world, 'acme/gone', 'v1', 1);
    expect((await world.fetch('DELETE', `/v2/${APP}/manifests/${trashed.digest}`)).status).toBe(202);
    expect((await api('DELETE', '/repositories/acme/gone?force=true')).status).toBe(200);
    await age(20);
    expect((await preview(OLD)).body.bytes).toBe(await bytesOf(image));
  });

  test('are counted once, using indexes only', async () => {
    await pushIndex('v1', [await imageIn(world, APP, 1), await imageIn(world, APP, 2)]);
    const digests = (await world.env.DB.prepare('SELECT digest FROM manifests').all<{ digest: Digest }>()).results;
    const plans: string[] = [];
    const DB = intercepted(world.env.DB, async (_, effect) => effect());
    const explaining = new Proxy(DB, {
      get(target, name) {
        if (name !== 'prepare') return Reflect.get(target, name) as unknown;
        return (sql: string) => {
          plans.push(sql);
          return target.prepare(sql);
        };
      },
    });
    const env = { ...world.env, DB: explaining };
    await loadSnapshot(env, APP);
    await bytesFreedBy(
      env,
      APP,
      digests.map(({ digest }) => digest),
    );
    expect(plans.length).toBeGreaterThan(3);
    for (const sql of plans) {
      const parameters = Array.from({ length: Number(/\?5/.test(sql)) * 4 }, () => '[]');
      const { results } = await world.env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`)
        .bind(APP, ...parameters)
        .all<{ detail: string }>();
      const scans = results.map(({ detail }) => detail).filter((detail) => /^SCAN (?!json_each|x$|CONSTANT)/.test(detail));
      expect(scans, sql).toEqual([]);
    }
  });
});

/** Creates images of all kinds, most of them old. The tests of the chooser define which of them expire. */
async function mixed(): Promise<void> {
  const shared = await imageIn(world, APP, 1);
  const index = await pushIndex('v1', [shared, await imageIn(world, APP, 2)]);
  await pushReferrer(index, 3);
  await pushImage(world, APP, 'v2', 4);
  await putManifest(world, APP, 'old', textOf(await pushImage(world, APP, 'both', 5)));
  await pushImage(world, APP, null, 6);
  await pushImage(world, APP, 'release-1', 7);
  await age(20);
  await pushIndex('young', [shared]);
  await pushImage(world, APP, 'both', 5);
  await world.env.DB.prepare("UPDATE tags SET updated_at = unixepoch() WHERE name = 'both'").run();
  await pushImage(world, 'acme/other', 'v2', 4);
  const mutability = { imageTagMutability: 'MUTABLE_WITH_EXCLUSION', exclusions: ['release-*'] };
  await world.env.DB.prepare('INSERT INTO tag_mutability (repository_id, rule) SELECT id, ?2 FROM repositories WHERE name = ?1')
    .bind(APP, JSON.stringify({ value: mutability.imageTagMutability, exclusions: mutability.exclusions }))
    .run();
}

/** Runs the policy on the condition of a preview, and moves a tag just before the `nth` batch that deletes. */
async function movedBefore(nth: number, tag: string, etag: string | null): Promise<ApiAnswer<Body>> {
  const image = await imageIn(world, APP, 90);
  const orderly = world;
  let deletions = 0;
  const DB = new Proxy(orderly.env.DB, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown;
      if (name !== 'batch') return typeof value === 'function' ? value.bind(target) : value;
      return async (statements: D1PreparedStatement[]) => {
        // A batch that deletes has six or more statements. The others have up to four.
        if (statements.length > 5 && deletions++ === nth) await putManifest(orderly, APP, tag, textOf(image));
        return target.batch(statements);
      };
    },
  });
  const headers = { 'if-match': etag ?? '' };
  return anyApi<Body>(worldOf({ ...orderly.env, DB }), 'POST', `${PATH}/run`, { headers });
}

describe('a run', () => {
  test('deletes exactly what the preview lists, and records why', async () => {
    await mixed();
    await save();
    const before = await present();
    const planned = await preview();
    expect([planned.body.tags, planned.body.manifests]).toEqual([3, 5]);
    const events = await eventsDuring(world, async () => {
      const { status, body } = await run(planned.headers.get('etag'));
      expect(status, JSON.stringify(body)).toBe(200);
      expect(body).toEqual({ ...body, items: planned.body.items, tags: 3, manifests: 5, remaining: 0, truncated: false });
    });
    const after = await present();
    expect(before.filter((line) => !after.includes(line))).toEqual(linesOf(planned.body.items));
    expect(after.filter((line) => !before.includes(line))).toEqual([]);
    expect(await tagNames()).toEqual(['both', 'release-1', 'v2', 'young']);
    expect(events.at(-1)).toMatchObject({ type: 'lifecycle.ran', target: { tags: 3, manifests: 5 }, actor: 'user:admin' });
    expect(events).toHaveLength(9);
    for (const { target } of events.slice(0, -1)) expect(target.reason).toBe('lifecycle rule 1');
    expect(await violations(world.env)).toEqual([]);
  });

  test('is reported, and a second one finds and records nothing', async () => {
    await mixed();
    await save();
    await run();
    const { lastRanAt, lastReport } = (await api('GET', PATH)).body;
    expect(lastReport).toMatchObject({ by: 'user:admin', tags: 3, manifests: 5, remaining: 0, failed: null });
    expect(Math.abs(Date.parse(lastRanAt ?? '') - Date.now())).toBeLessThan(60_000);
    expect(await eventsDuring(world, () => run())).toEqual([]);
    expect((await api('GET', PATH)).body.lastReport).toMatchObject({ tags: 0, manifests: 0 });
  });

  test('keeps a protected tag with its image, and deletes another tag of the same image', async () => {
    const { digest } = await pushImage(world, APP, 'pr-1');
    await pushImage(world, APP, 'v1');
    await age(20);
    await save(policyOf(rule({ ...tagged('pr-*'), ...olderThan(14) })));
    expect((await run()).body).toMatchObject({ tags: 1, manifests: 0 });
    expect(await tagNames()).toEqual(['v1']);
    expect((await world.fetch('GET', `/v2/${APP}/manifests/v1`)).headers.get('docker-content-digest')).toBe(digest);
  });

  test('deletes an immutable tag if the rule says so, and reserves its name for that image', async () => {
    await mixed();
    await save(policyOf(rule({ tagStatus: 'any', ...olderThan(14) }, { type: 'expire', includeImmutable: true })));
    await run();
    expect(await tagNames()).toEqual(['both', 'v2', 'young']);
    const points = "SELECT reserved FROM tag_history WHERE tag = 'release-1' AND digest IS NULL";
    expect(await world.env.DB.prepare(points).first('reserved')).toBe(1);
  });

  test('on condition of a preview is refused if the plan has changed, and deletes nothing', async () => {
    await pushImage(world, APP, 'v1');
    await pushImage(world, APP, 'v2', 2);
    await age(20, { tags: 'v1' });
    await save();
    const etag = (await preview()).headers.get('etag') as string;
    await age(20, { tags: 'v2' });
    for (const condition of [etag, '"999999"', `W/${(await preview()).headers.get('etag')}`, '']) {
      expect(await unchanged(() => run(condition)), condition).toBe('412 PRECONDITION_FAILED');
    }
    const now = (await preview()).headers.get('etag') as string;
    expect((await run(`${etag}, ${now}`)).body.tags).toBe(2);
  });

  test('on condition of a preview deletes all that was listed, or nothing, wherever a push comes between two steps of it', {
    tags: 'slow',
  }, async () => {
    const pushes: ((other: World, images: Content[]) => Promise<Response>)[] = [
      async (other) => putManifest(other, APP, 'b', textOf(await imageIn(other, APP, 3))),
      (other, [, image]) => putManifest(other, APP, 'c', textOf(image as Content)),
      (other, [image]) => other.fetch('DELETE', `/v2/${APP}/manifests/${image?.digest}`),
      (other, [, , loose]) => putManifest(other, APP, (loose as Content).digest, textOf(loose as Content)),
      (other, [, , loose]) => other.fetch('DELETE', `/v2/${APP}/manifests/${loose?.digest}`),
    ];
    let images: Content[] = [];
    let etag = '';
    const start = builtOnce(async (made) => {
      world = made;
      images = [await pushImage(world, APP, 'a', 1), await pushImage(world, APP, 'b', 2), await pushImage(world, APP, null, 4)];
      await age(20);
      await save();
      etag = (await preview()).headers.get('etag') ?? '';
    });
    for (const push of inFull(pushes, pushes.slice(0, 1))) {
      const seen = new Set<string>();
      await everyOrder(world, async () => {
        world = await start();
        return {
          outer: (running) => running.fetch('POST', `/api/v1${PATH}/run`, { headers: { 'if-match': etag } }),
          inner: (other) => push(other, images),
          check: async (answer) => {
            const { tags = 0, manifests = 0, remaining = 0 } = (await answer.json()) as Partial<Body>;
            seen.add(`${answer.status}: ${tags} ${manifests} ${remaining}`);
            expect(await violations(world.env)).toEqual([]);
          },
        };
      });
      expect([...seen].sort()).toEqual(['200: 2 3 0', '412: 0 0 0']);
    }
  });

  test('on condition of a preview that is refused puts the next run of the schedule off by nothing', async () => {
    await pushImage(world, APP, 'v1');
    await pushImage(world, APP, 'v2', 2);
    await age(20);
    await save();
    const etag = (await preview()).headers.get('etag');
    const { body } = await movedBefore(0, 'v2', etag);
    expect(body.errors[0]).toMatchObject({
      code: 'PRECONDITION_FAILED',
      message: expect.stringContaining('nothing was deleted'),
    });
    expect(await tagNames()).toEqual(['v1', 'v2']);
    expect(await world.env.DB.prepare('SELECT ran_at FROM lifecycle_policies').first('ran_at')).toBe(0);
  });

  test('on condition of a preview, in several parts, stops at the part that has changed, and says what it did', async () => {
    await pushImage(world, APP, 'v1');
    await pushImage(world, APP, 'v2', 2);
    await pushImage(world, APP, 'v3', 3);
    await age(20);
    await save(policyOf(...['v1', 'v2', 'v3'].map((name) => rule({ ...tagged(name), ...olderThan(14) }))));
    const etag = (await preview()).headers.get('etag');
    const answer = await movedBefore(1, 'v2', etag);
    expect(refused(answer)).toBe('412 PRECONDITION_FAILED');
    const said = expect.stringContaining('1 of its tags and 1 of its manifests were deleted before');
    expect(answer.body.errors[0]).toMatchObject({ message: said });
    expect(await tagNames()).toEqual(['v2', 'v3']);
    expect((await api('GET', PATH)).body.lastReport).toMatchObject({ tags: 1, manifests: 1, remaining: 4, failed: said });
  });

  test('deletes one image with thousands of long tags in parts', { tags: 'slow', timeout: 60_000 }, async () => {
    const { digest } = await pushImage(world, APP, 'first', 1);
    await pushImage(world, APP, 'other', 2);
    await world.env.DB.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9500)
       INSERT INTO tags SELECT (SELECT id FROM repositories), printf('a%0127d', i), ?1, 0 FROM n`,
    )
      .bind(digest)
      .run();
    await world.env.DB.prepare(
      `INSERT INTO tag_history (repository_id, tag, point, at, digest, actor)
       SELECT repository_id, name, 1, 0, digest, 'user:admin' FROM tags WHERE name LIKE 'a0%'`,
    ).run();
    await age(20);
    await save(policyOf(rule({ ...tagged('*'), ...olderThan(14) })));
    const asInProduction = worldOf(limited(world.env));
    const first = await anyApi<Body>(asInProduction, 'POST', `${PATH}/run`);
    expect(first.status, JSON.stringify(first.body.errors)).toBe(200);
    expect(first.body).toMatchObject({ tags: 9501, manifests: 1, remaining: 2 });
    expect((await anyApi<Body>(asInProduction, 'POST', `${PATH}/run`)).body).toMatchObject({
      tags: 1,
      manifests: 1,
      remaining: 0,
    });
    expect(await present()).toEqual([]);
    expect(await violations(world.env)).toEqual([]);
  });

  test('deletes a manifest whose index expired during its lease, once the lease is over', async () => {
    const child = await imageIn(world, APP, 1);
    await pushIndex('v1', [child]);
    await world.env.DB.prepare('UPDATE tags SET updated_at = updated_at - 20 * 86400').run();
    await save(policyOf(rule({ ...tagged('*'), ...olderThan(14) })));
    expect((await preview()).body).toMatchObject({ tags: 1, manifests: 1, waiting: 1 });
    expect((await run()).body).toMatchObject({ tags: 1, manifests: 1, remaining: 0 });
    expect(await present()).toEqual([`${APP} ${child.digest}`]);
    expect((await run()).body).toMatchObject({ tags: 0, manifests: 0 });
    // Ends the lease. A lease is identified by its end, so the saved report of the lease is changed as well.
    await world.env.DB.prepare(
      "UPDATE lifecycle_policies SET report = json_set(report, '$.left[0].leasedUntil', (SELECT leased_until - 2 * 86400 FROM manifests))",
    ).run();
    await age(2);
    expect((await run()).body.items).toMatchObject([{ tag: null, digest: child.digest, rule: { priority: 1 } }]);
    expect(await present()).toEqual([]);
    expect(await violations(world.env)).toEqual([]);
  });

  test('does a limited amount of work, and the next run continues', async () => {
    const names = Array.from({ length: 12 }, (_, n) => `n${n + 10}`);
    const image = await pushImage(world, APP, 'young');
    for (const name of names) await putManifest(world, APP, name, textOf(image));
    await age(20, { tags: 'n*' });
    // Expiries of different rules are in different batches, because each is recorded with its reason.
    await save(policyOf(...names.map((name) => rule({ ...tagged(name), ...olderThan(14) }))));
    const due = 'SELECT ran_at <= unixepoch() - 86400 AS due FROM lifecycle_policies';
    expect((await run()).body).toMatchObject({ tags: 10, remaining: 2, truncated: false });
    expect((await api('GET', PATH)).body.lastReport).toMatchObject({ tags: 10, remaining: 2, failed: null });
    expect(await world.env.DB.prepare(due).first('due')).toBe(1);
    expect((await run()).body).toMatchObject({ tags: 2, remaining: 0 });
    expect(await world.env.DB.prepare(due).first('due')).toBe(0);
    expect(await tagNames()).toEqual(['young']);
  });

  test('makes few calls to the database and binds what it deletes', async () => {
    await mixed();
    await save();
    const { env, counts } = counting(limited(world.env));
    const answer = await anyApi<Body>(worldOf(env), 'POST', `${PATH}/run`);
    expect(answer.status).toBe(200);
    expect(counts.d1).toBeLessThanOrEqual(8);
  });

  test('is refused if the registry deletes nothing, and a preview is not', async () => {
    await mixed();
    await save();
    world = worldOf({ ...world.env, DELETION: 'off' });
    expect((await preview()).body.tags).toBe(3);
    expect(await unchanged(() => run())).toBe('405 UNSUPPORTED');
    expect(await eventsDuring(world, () => runDueLifecycles(world.env, { limit: 5 }))).toEqual([]);
    expect(await tagNames()).toHaveLength(7);
  });
});

describe('a change during a run is respected:', () => {
  /** Runs the policy with a request about an old image at every point of the run. */
  async function against(
    meanwhile: (image: Content, world: World) => Promise<Response>,
    check: (image: Content) => Promise<void>,
  ) {
    let image: Content;
    const start = builtOnce(async (made) => {
      world = made;
      image = await pushImage(world, APP, 'v1');
      await age(20);
      await save();
    });
    const runs = await everyOrder(world, async () => {
      world = await start();
      return {
        outer: (running) => running.fetch('POST', `/api/v1${PATH}/run`),
        inner: (other) => meanwhile(image, other),
        check: async (outer, inner) => {
          expect(outer.status).toBe(200);
          expect(await violations(world.env)).toEqual([]);
          // A request that came after the run may have been refused, because the image was deleted.
          if (inner.ok) await check(image);
        },
      };
    });
    // The run has five calls: the caller's rights, the inventory, its references, the deletion and the report.
    expect(runs).toBe(5);
  }

  test('a tag moved to another image', { tags: 'slow' }, async () => {
    await against(
      async (_, other) => {
        const image = await imageIn(other, APP, 2);
        return putManifest(other, APP, 'v1', textOf(image));
      },
      async () => expect(await tagNames()).toEqual(['v1']),
    );
  });

  test('an image that gets another tag, and one that is pushed again by its digest', { tags: 'slow' }, async () => {
    await against(
      (image, other) => putManifest(other, APP, 'new', textOf(image)),
      async ({ digest }) => expect(await present()).toContain(`${APP} new ${digest}`),
    );
    await against(
      (image, other) => putManifest(other, APP, image.digest, textOf(image)),
      async ({ digest }) => expect(await present()).toContain(`${APP} ${digest}`),
    );
  });

  test('a manifest that an index begins to list, or that gets a referrer', async () => {
    await against(
      async (image, other) => {
        const index = await indexOf([image]);
        return putManifest(other, APP, 'index', textOf(index), INDEX_TYPE);
      },
      async ({ digest }) => expect(await present()).toContain(`${APP} ${digest}`),
    );
  });

  test('two concurrent runs delete the same as one run, and record it once', async () => {
    const tells = async () => {
      const sql =
        "SELECT type, count(*) AS n FROM events WHERE type IN ('tag.deleted', 'manifest.deleted') GROUP BY type ORDER BY type";
      return (await world.env.DB.prepare(sql).all<{ type: string; n: number }>()).results.map(({ type, n }) => `${n} ${type}`);
    };
    await against(
      (_, other) => other.fetch('POST', `/api/v1${PATH}/run`),
      async () => {
        expect(await present()).toEqual([]);
        expect(await tells()).toEqual(['1 manifest.deleted', '1 tag.deleted']);
      },
    );
  });

  test('tags that become immutable meanwhile', async () => {
    await pushImage(world, APP, 'v1');
    await age(20);
    await save();
    let calls = 0;
    const DB = intercepted(world.env.DB, async (_, effect) => {
      const result = await effect();
      // The second batch has read the inventory. The first batch has read the caller's rights.
      if (calls++ === 1) {
        await world.env.DB.prepare(
          `INSERT INTO tag_mutability (repository_id, rule) SELECT id, '{"value":"IMMUTABLE","exclusions":[]}' FROM repositories`,
        ).run();
      }
      return result;
    });
    const answer = await anyApi<Body>(worldOf({ ...world.env, DB }), 'POST', `${PATH}/run`);
    expect(answer.body).toMatchObject({ tags: 0, manifests: 0, remaining: 2 });
    expect(await tagNames()).toEqual(['v1']);
  });
});

describe('a crash', () => {
  test('at any point leaves nothing half done, and the next run does the rest', { tags: 'slow' }, async () => {
    const start = builtOnce(async (made) => {
      world = made;
      await mixed();
      await save();
    });
    for (let at = 0; ; at++) {
      world = await start();
      const { env, calls } = faulty(world.env, 'fail-after', at);
      const { status } = await worldOf(env).fetch('POST', `/api/v1${PATH}/run`);
      expect(await violations(world.env)).toEqual([]);
      if (calls.length <= at) {
        expect([status, at > 3]).toEqual([200, true]);
        break;
      }
      expect([200, 503], `call ${at}`).toContain(status);
      expect((await run()).status).toBe(200);
      expect(await tagNames()).toEqual(['both', 'release-1', 'v2', 'young']);
      expect((await run()).body).toMatchObject({ tags: 0, manifests: 0, remaining: 0 });
    }
  });

  /** A world whose database fails at the `nth` batch that deletes. */
  function failingAt(nth: number): World {
    let deletions = 0;
    const orderly = world.env.DB;
    const DB = new Proxy(orderly, {
      get(target, name) {
        if (name === 'batch') {
          // A batch that deletes has six or more statements. The others have up to four.
          return (statements: D1PreparedStatement[]) =>
            statements.length > 5 && ++deletions === nth ? Promise.reject(new Error('injected')) : target.batch(statements);
        }
        const value = Reflect.get(target, name) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    return worldOf({ ...world.env, DB });
  }

  test('in the middle of a plan is reported, with the deletions before it', async () => {
    await pushImage(world, APP, 'v1');
    await pushImage(world, APP, 'v2', 2);
    await age(20);
    await save(policyOf(rule({ ...tagged('v1'), ...olderThan(14) }), rule({ ...tagged('v2'), ...olderThan(14) })));
    const events = await eventsDuring(world, async () => {
      expect((await failingAt(2).fetch('POST', `/api/v1${PATH}/run`)).status).toBe(503);
    });
    expect(events.at(-1)).toMatchObject({ type: 'lifecycle.ran', target: { tags: 1, manifests: 1 } });
    const { lastReport } = (await api('GET', PATH)).body;
    expect(lastReport).toMatchObject({
      tags: 1,
      manifests: 1,
      remaining: 2,
      failed: expect.stringContaining('was interrupted'),
    });
    expect((await run()).body).toMatchObject({ tags: 1, manifests: 1, remaining: 0 });
  });

  test('between the batches of a large plan leaves nothing behind for good', async () => {
    const { digest } = await pushImage(world, APP, 'v1');
    await world.env.DB.prepare(
      `INSERT INTO manifests SELECT repository_id, value, media_type, artifact_type, ?2, size, pushed_at, 0, NULL, object_key, content,
         content_size, platform FROM manifests, json_each(?1)`,
    )
      .bind(JSON.stringify(Array.from({ length: 250 }, (_, n) => `sha256:${String(n).padStart(64, '0')}`)), digest)
      .run();
    await age(20);
    await save(policyOf(rule({ ...tagged('*'), ...olderThan(14) })));
    expect((await preview()).body).toMatchObject({ tags: 1, manifests: 251 });
    expect((await failingAt(2).fetch('POST', `/api/v1${PATH}/run`)).status).toBe(503);
    expect(await present()).toHaveLength(51);
    expect((await run()).body).toMatchObject({ tags: 0, manifests: 51, remaining: 0 });
    expect(await present()).toEqual([]);
  });
});

describe('the scheduled runs', () => {
  const REGISTRY: Actor['subject'] = 'registry';

  /** Creates repositories with an old tag and a policy each. The policy of the first one has waited the longest. */
  async function due(...names: string[]): Promise<void> {
    for (const [n, name] of names.entries()) {
      await pushImage(world, name, 'v1', n + 1);
      await save(OLD, `/repositories/${name}/-/lifecycle`);
      await world.env.DB.prepare(
        'UPDATE lifecycle_policies SET ran_at = ?2 WHERE repository_id = (SELECT id FROM repositories WHERE name = ?1)',
      )
        .bind(name, n + 1)
        .run();
    }
    await age(20);
  }

  const withTags = async () => [...new Set((await present()).map((line) => line.split(' ')[0]))];
  const tick = (limit: number) => runDueLifecycles(world.env, { limit });

  test('carry out due policies, a few at a time, the longest waiting first, as the registry', async () => {
    await due('acme/a', 'acme/b', 'acme/c');
    const events = await eventsDuring(world, () => tick(2));
    expect(await withTags()).toEqual(['acme/c']);
    expect(new Set(events.map(({ actor }) => actor))).toEqual(new Set([REGISTRY]));
    await tick(2);
    expect(await withTags()).toEqual([]);
    expect((await api('GET', '/repositories/acme/c/-/lifecycle')).body.lastReport).toMatchObject({ by: REGISTRY, tags: 1 });
  });

  test('repeat after a day, and not before', async () => {
    await due('acme/a');
    await tick(5);
    await pushImage(world, 'acme/a', 'v2', 9);
    await age(20);
    await tick(5);
    expect(await withTags()).toEqual(['acme/a']);
    await world.env.DB.prepare('UPDATE lifecycle_policies SET ran_at = ran_at - 86400').run();
    await tick(5);
    expect(await withTags()).toEqual([]);
  });

  test('continue after one fails, retry it after the others, and record the reason', async () => {
    await due('acme/a', 'acme/b');
    await world.env.DB.prepare(
      `INSERT INTO tags (repository_id, name, digest, updated_at)
       WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?1)
       SELECT repository_id, 'n' || value, digest, updated_at FROM tags, n
       WHERE repository_id = (SELECT id FROM repositories WHERE name = 'acme/a')`,
    )
      .bind(CANDIDATES_MAX)
      .run();
    await expect(tick(1)).rejects.toThrow('1 lifecycle policies failed');
    await tick(1);
    expect((await world.fetch('GET', '/v2/acme/b/manifests/v1')).status).toBe(404);
    expect((await world.fetch('GET', '/v2/acme/a/manifests/v1')).status).toBe(200);
    await expect(tick(5)).resolves.toBeUndefined();
    const { lastReport } = (await api('GET', '/repositories/acme/a/-/lifecycle')).body;
    expect(lastReport).toMatchObject({ by: REGISTRY, tags: 0, failed: expect.stringContaining('50000') });
  });

  test('skip a deleted repository', async () => {
    await due('acme/a', 'acme/b');
    expect((await api('DELETE', '/repositories/acme/a?force=true')).status).toBe(200);
    await tick(1);
    expect(await withTags()).toEqual([]);
  });

  test('find due policies by the index', async () => {
    const sqls: string[] = [];
    const DB = new Proxy(world.env.DB, {
      get(target, name) {
        const value = Reflect.get(target, name) as unknown;
        if (name !== 'prepare') return typeof value === 'function' ? value.bind(target) : value;
        return (sql: string) => {
          sqls.push(sql);
          return target.prepare(sql);
        };
      },
    });
    await runDueLifecycles({ ...world.env, DB }, { limit: 1 });
    const { results } = await world.env.DB.prepare(`EXPLAIN QUERY PLAN ${sqls[0]}`).all<{ detail: string }>();
    const details = results.map(({ detail }) => detail);
    expect(details.filter((detail) => detail.includes('lifecycle_policies_due'))).toHaveLength(1);
    expect(details.filter((detail) => detail.startsWith('SCAN') && !detail.includes('CONSTANT'))).toEqual([]);
  });
});
