/**
 * Lifecycle rules of large repositories. Page by page they have the same result as all at once, whatever changes in between.
 */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { runScheduled } from '../../../src/cron.ts';
import { REGISTRY } from '../../../src/events/event.ts';
import { parseDigest } from '../../../src/oci/digest.ts';
import type { RepositoryName } from '../../../src/oci/name.ts';
import { choose } from '../../../src/registry/lifecycle/chooser.ts';
import type { Inventory, StoredManifest, StoredTag } from '../../../src/registry/lifecycle/inventory.ts';
import type { LifecyclePolicy } from '../../../src/registry/lifecycle/policy.ts';
import { runDueLifecycles, runLifecycle } from '../../../src/registry/lifecycle/run.ts';
import { WHOLE_MAX } from '../../../src/vocabulary/lifecycle.ts';
import { counting } from '../../world/counting.ts';
import { faulty } from '../../world/faults.ts';
import { pushImage } from '../../world/images.ts';
import { api, refused } from '../../world/people.ts';
import { newWorld, type World, worldOf } from '../../world/world.ts';
import { KEEP, MUTABLE, moreThan, olderThan, policyOf, tagged, unpulledFor } from './stock.ts';

const APP = 'acme/api' as RepositoryName;
const PATH = `/repositories/${APP}/-/lifecycle`;
/** The number of manifests and of tags, which is more than one page. */
const LARGE = WHOLE_MAX + 400;

let world: World;

beforeEach(async () => {
  for (const level of ['error', 'warn'] as const) vi.spyOn(console, level).mockImplementation(() => undefined);
  world = await newWorld();
});

/** A digest for a number. As with real digests, their order does not depend on the age. They are the same in each run. */
const digestOf = (n: number) =>
  parseDigest(
    `sha256:${((Math.imul(n + 1, 2654435761) >>> 0).toString(16).padStart(8, '0') + n.toString(16).padStart(8, '0')).padEnd(64, 'a')}`,
  );

interface Written {
  n: number;
  tags?: string[];
  /** The number of days since the image was pushed. */
  age: number;
  children?: number[];
  subject?: number;
}

/** Inserts the rows that pushes of these images would create. */
async function write(images: Written[], repository: string = APP): Promise<void> {
  await api(world, 'PUT', `/repositories/${repository}`, { body: {} });
  const here = `(SELECT id FROM repositories WHERE name = '${repository}')`;
  const { DB } = world.env;
  for (let from = 0; from < images.length; from += 500) {
    const list = JSON.stringify(
      images.slice(from, from + 500).map(({ n, tags = [], age, children = [], subject }) => ({
        digest: digestOf(n),
        tags,
        age,
        children: children.map(digestOf),
        subject: subject === undefined ? null : digestOf(subject),
        content: JSON.stringify({ manifests: children.map((child) => ({ digest: digestOf(child) })) }),
      })),
    );
    // Half a day more, so that no age is close to a rule's limit while the test runs.
    const at = `unixepoch() - (i.value ->> 'age') * 86400 - 43200`;
    await DB.batch(
      [
        `INSERT INTO manifests (repository_id, digest, media_type, artifact_type, subject, size, pushed_at, content)
         SELECT ${here}, i.value ->> 'digest', 'application/vnd.oci.image.index.v1+json', '', i.value ->> 'subject', 10, ${at},
           i.value ->> 'content' FROM json_each(?1) i`,
        `INSERT INTO tags (repository_id, name, digest, updated_at)
         SELECT ${here}, t.value, i.value ->> 'digest', ${at} FROM json_each(?1) i, json_each(i.value ->> 'tags') t`,
        `INSERT INTO manifest_references (repository_id, child, parent)
         SELECT ${here}, c.value, i.value ->> 'digest' FROM json_each(?1) i, json_each(i.value ->> 'children') c`,
      ].map((sql) => DB.prepare(sql).bind(list)),
    );
  }
}

/** Images of all kinds: indexes with shared children, referrers, images with several tags, and images without tags. */
function mixed(count: number): Written[] {
  const images: Written[] = [];
  for (let n = 0; images.length < count; n++) {
    const at = images.length;
    const age = (n * 7919) % 400;
    if (n % 5 === 0) {
      images.push({ n: at, age }, { n: at + 1, age, tags: n % 15 === 0 ? [`child-${at}`] : [] });
      images.push({
        n: at + 2,
        age,
        tags: [`multi-${at}`],
        children: [at, at + 1, ...(n % 10 === 0 && at > 30 ? [at - 30] : [])],
      });
    } else if (n % 5 === 1) images.push({ n: at, age, tags: [`v${n}.0.0`, ...(n % 3 === 0 ? [`also-${n}`] : [])] });
    else if (n % 5 === 2) images.push({ n: at, age });
    else if (n % 5 === 3) images.push({ n: at, age, tags: [`pr-${n}`] });
    else images.push({ n: at, age, ...(at > 3 ? { subject: at - 2 } : {}) });
  }
  return images;
}

/** Everything in the repository, as input for the chooser. */
async function inventory(): Promise<Inventory> {
  const all = async <T>(sql: string) => (await world.env.DB.prepare(sql).all<T>()).results;
  return {
    tags: await all<StoredTag>('SELECT name AS tag, digest, updated_at AS updatedAt FROM tags'),
    manifests: await all<StoredManifest>(
      `SELECT digest, subject, size, pushed_at AS pushedAt, leased_until AS leasedUntil, NULL AS pulledOn FROM manifests`,
    ),
    references: await all('SELECT parent, child FROM manifest_references'),
    left: [],
  };
}

const linesOf = ({ tags, manifests }: Pick<Inventory, 'tags' | 'manifests'>) =>
  [...tags.map(({ tag }) => tag), ...manifests.map(({ digest }) => digest)].sort();

/** The state that is expected after the policy was carried out. */
async function expected(policy: LifecyclePolicy): Promise<string[]> {
  const before = await inventory();
  const now = (await world.env.DB.prepare('SELECT unixepoch() AS now').first<number>('now')) ?? 0;
  const plan = choose(policy, { inventory: before, mutability: MUTABLE, now });
  const gone = new Set<string>([...plan.tags.map(({ tag }) => tag), ...plan.manifests.map(({ digest }) => digest)]);
  return linesOf(before).filter((line) => !gone.has(line));
}

const save = async (policy: LifecyclePolicy, path = PATH) =>
  expect((await api(world, 'PUT', path, { body: policy })).status).toBe(200);

/** Runs the policy page by page to the end. @returns the number of pages */
async function runAll(between: (page: number) => Promise<unknown> = async () => undefined): Promise<number> {
  for (let page = 1; page < 200; page++) {
    const { unfinished } = await runLifecycle(world.env, APP, { by: REGISTRY, ifPlan: null });
    if (!unfinished) return page;
    await between(page);
  }
  throw new Error('it does not end');
}

const POLICIES: Record<string, LifecyclePolicy> = {
  'a count of all': policyOf({ selection: { tagStatus: 'any', ...moreThan(300) } }),
  'a count of a pattern, and of the untagged': policyOf(
    { selection: { ...tagged('pr-*'), ...moreThan(20) } },
    { selection: { tagStatus: 'untagged', ...moreThan(50) } },
  ),
  'ages and counts, with rules that keep': policyOf(
    { selection: { ...tagged('*-*'), ...olderThan(100) } },
    { selection: { tagStatus: 'tagged', tagPrefixList: ['v'], ...moreThan(40) } },
    { selection: { tagStatus: 'any', ...unpulledFor(200) } },
    { selection: { ...tagged('multi-*5*'), ...moreThan(10) }, action: KEEP },
    { selection: tagged('v1*.0.*'), action: KEEP },
  ),
  'versions that a rule keeps': policyOf(
    { selection: { tagStatus: 'any', ...olderThan(10) } },
    { selection: { ...tagged('v*'), tagSemverRange: '>=3 <400', countNumber: 20 }, action: KEEP },
    { selection: { tagStatus: 'tagged', tagSemverRange: '>=600 <700', countNumber: 5000 }, action: KEEP },
  ),
};

describe('a large repository', () => {
  test.each(Object.entries(POLICIES))(
    'page by page has the same result as all at once: %s',
    { tags: 'slow', timeout: 300_000 },
    async (_, policy) => {
      await write(mixed(LARGE));
      await save(policy);
      const should = await expected(policy);
      expect(should.length).toBeLessThan(linesOf(await inventory()).length);
      expect(await runAll()).toBeGreaterThanOrEqual(3);
      expect(linesOf(await inventory())).toEqual(should);
    },
  );

  test('is previewed page by page, and the pages together are the plan', { tags: 'slow', timeout: 120_000 }, async () => {
    await write(mixed(LARGE));
    const policy = POLICIES['ages and counts, with rules that keep'] as LifecyclePolicy;
    const before = linesOf(await inventory());
    const should = await expected(policy);
    const listed: string[] = [];
    let after: string | undefined;
    for (let page = 0; page < 20; page++) {
      const answer = await api<{ items: { tag: string | null; digest: string }[]; next?: string; bytes?: number }>(
        world,
        'POST',
        `${PATH}/preview`,
        { body: { policy, ...(after === undefined ? {} : { after }) } },
      );
      expect(answer.status, JSON.stringify(answer.body)).toBe(200);
      expect(answer.headers.get('etag')).toBeNull();
      listed.push(...answer.body.items.map(({ tag, digest }) => tag ?? digest));
      after = answer.body.next;
      if (after === undefined) break;
    }
    expect(listed.sort()).toEqual(before.filter((line) => !should.includes(line)));
    expect(linesOf(await inventory())).toEqual(before);
    expect(refused(await api(world, 'POST', `${PATH}/preview`, { body: { policy, after: 'x' } }))).toBe('400 INVALID');
  });

  test('cannot be carried out on condition of a preview, which never covers all of it', async () => {
    await write(mixed(LARGE));
    await save(POLICIES['a count of all'] as LifecyclePolicy);
    const before = linesOf(await inventory());
    const answer = await api(world, 'POST', `${PATH}/run`, { headers: { 'if-match': '"x"' } });
    expect(refused(answer)).toBe('409 CONFLICT');
    expect(linesOf(await inventory())).toEqual(before);
  });

  test('keeps the number of images that a rule names, whatever is pushed between two pages', {
    tags: 'slow',
    timeout: 120_000,
  }, async () => {
    await write(mixed(LARGE));
    const policy = policyOf({ selection: { ...tagged('pr-*'), ...moreThan(30) } });
    await save(policy);
    const should = await expected(policy);
    let next = 100_000;
    const pages = await runAll(async () => {
      await write(Array.from({ length: 150 }, () => ({ n: next, age: 0, tags: [`pr-new-${next++}`] })));
    });
    // After each page, pushes add three quarters of a page, before or after the current position.
    expect(pages).toBeLessThan(40);
    expect(linesOf(await inventory()).filter((line) => !line.includes('new') && line.startsWith('pr-'))).toEqual(
      should.filter((line) => line.startsWith('pr-')),
    );
  });

  test('keeps as many as a count says if some of those are deleted between two pages', {
    tags: 'slow',
    timeout: 120_000,
  }, async () => {
    await write(mixed(LARGE));
    await save(policyOf({ selection: { ...tagged('pr-*'), ...moreThan(30) } }));
    const deleted: string[] = [];
    await runAll(async (page) => {
      if (page !== 1) return;
      const { results } = await world.env.DB.prepare(
        "SELECT name FROM tags WHERE name LIKE 'pr-%' ORDER BY updated_at DESC LIMIT 10",
      ).all<{ name: string }>();
      for (const { name } of results) {
        deleted.push(name);
        expect((await world.fetch('DELETE', `/v2/${APP}/manifests/${name}`)).status).toBe(202);
      }
    });
    expect(deleted).toHaveLength(10);
    const left = linesOf(await inventory()).filter((line) => line.startsWith('pr-'));
    // The first page may have deleted some of the newest thirty images. No later page deletes one of them.
    expect(left.length).toBeGreaterThan(20);
  });

  test('starts again if the policy changes between two pages, and expires nothing by the old one', {
    tags: 'slow',
    timeout: 120_000,
  }, async () => {
    await write(mixed(LARGE));
    await save(policyOf({ selection: { ...tagged('multi-*'), ...olderThan(1000) } }));
    const { unfinished } = await runLifecycle(world.env, APP, { by: REGISTRY, ifPlan: null });
    expect(unfinished).toBe(true);
    const policy = policyOf({ selection: { ...tagged('pr-*'), ...moreThan(5) } });
    await save(policy);
    const should = await expected(policy);
    await runAll();
    expect(linesOf(await inventory())).toEqual(should);
  });
});

describe('the scheduled runs', () => {
  const HOUR = Math.ceil(Date.now() / 3_600_000) * 3_600_000;
  const OLD = policyOf({ selection: { tagStatus: 'any', ...olderThan(14) } });
  const later = () => world.env.DB.prepare('UPDATE lifecycle_policies SET tried_at = tried_at - 86400 * 2').run();
  const due = async (name: string) =>
    (await world.env.DB.prepare(
      `SELECT ran_at <= unixepoch() - 86400 AS due FROM lifecycle_policies
       WHERE repository_id = (SELECT id FROM repositories WHERE name = ?1)`,
    )
      .bind(name)
      .first<number>('due')) === 1;

  test('take a page each, save the position, and mark the policy as carried out only at the end', {
    tags: 'slow',
    timeout: 120_000,
  }, async () => {
    await write(mixed(LARGE));
    await save(OLD);
    const { env, counts } = counting(world.env);
    await runDueLifecycles(env, { limit: 2 });
    expect(counts.d1).toBeLessThan(40);
    expect(await due(APP)).toBe(true);
    const pass = JSON.parse((await world.env.DB.prepare('SELECT pass FROM lifecycle_policies').first<string>('pass')) ?? '{}');
    expect(pass).toMatchObject({ after: expect.stringMatching(/^sha256:/) });
    for (let n = 0; n < 20; n++) {
      await later();
      await runDueLifecycles(world.env, { limit: 2 });
    }
    expect(await due(APP)).toBe(false);
    expect(await world.env.DB.prepare('SELECT pass FROM lifecycle_policies').first('pass')).toBeNull();
    const { lastReport } = (await api<{ lastReport: { tags: number } }>(world, 'GET', PATH)).body;
    expect(lastReport.tags).toBeGreaterThan(100);
  });

  test('do not mark as carried out what was cut off, and one that is always cut off does not block others', async () => {
    for (const [n, name] of ['acme/poison', 'acme/a', 'acme/b'].entries()) {
      await pushImage(world, name, 'v1', n + 1);
      await save(OLD, `/repositories/${name}/-/lifecycle`);
    }
    await world.env.DB.prepare('UPDATE tags SET updated_at = 1').run();
    await world.env.DB.prepare('UPDATE manifests SET pushed_at = 1, leased_until = 0').run();
    // Ends the run in the middle without an error, as the CPU limit does.
    const cutOff = async () => {
      const { env, stopped } = faulty(world.env, 'stop-after', 2);
      await Promise.race([runDueLifecycles(env, { limit: 1 }).catch(() => undefined), stopped]);
    };
    await cutOff();
    expect(await due('acme/poison')).toBe(true);
    await runDueLifecycles(world.env, { limit: 2 });
    const left = async () =>
      (
        await world.env.DB.prepare('SELECT r.name FROM tags t JOIN repositories r ON r.id = t.repository_id').all<{
          name: string;
        }>()
      ).results.map(({ name }) => name);
    expect(await left()).toEqual(['acme/poison']);
    const attempts = async () =>
      world.env.DB.prepare(
        'SELECT attempts, tried_at > unixepoch() - 60 AS lately FROM lifecycle_policies ORDER BY attempts DESC LIMIT 1',
      ).first<{
        attempts: number;
        lately: number;
      }>();
    // The schedule waits longer before each attempt: five minutes, then twenty, then forty-five.
    for (const [seconds, begun] of [
      [290, 1],
      [20, 2],
      [310, 2],
      [900, 3],
    ] as const) {
      await world.env.DB.prepare('UPDATE lifecycle_policies SET tried_at = tried_at - ?1 WHERE attempts > 0')
        .bind(seconds)
        .run();
      await cutOff();
      expect((await attempts())?.attempts, `after ${seconds} seconds`).toBe(begun);
    }
    await later();
    await runDueLifecycles(world.env, { limit: 1 });
    expect(await left()).toEqual([]);
    expect(await due('acme/poison')).toBe(false);
  });

  test('get through a large repository in a day, beside all other jobs', { tags: 'slow', timeout: 300_000 }, async () => {
    // The deletions here exceed the free plan's daily budget.
    world = await newWorld({ BACKGROUND_ROWS_WRITTEN: '0', BACKGROUND_ROWS_READ: '0' });
    await write(mixed(LARGE));
    await save(OLD);
    const should = await expected(OLD);
    for (let run = 0; run < 12; run++) {
      await later();
      await runScheduled(worldOf(world.env).env, HOUR + run * 600_000);
    }
    await world.env.DB.prepare('UPDATE lifecycle_policies SET ran_at = 0').run();
    for (let run = 0; run < 12; run++) {
      await later();
      await runScheduled(worldOf(world.env).env, HOUR + run * 600_000);
    }
    expect(linesOf(await inventory())).toEqual(should);
  });
});
