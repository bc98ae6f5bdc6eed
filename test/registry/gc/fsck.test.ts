/** The consistency check: each kind of damage is caused on purpose and is reported with its place and its remedy. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { fsck } from '../../../src/registry/gc/fsck.ts';
import type { Finding } from '../../../src/registry/gc/fsck-checks.ts';
import type { Cursor } from '../../../src/registry/gc/passes.ts';
import { counting } from '../../world/counting.ts';
import {
  type Content,
  contentOf,
  INDEX_TYPE,
  indexOf,
  LAYER_TYPE,
  noise,
  pushImage,
  putManifest,
  textOf,
} from '../../world/images.ts';
import { newWorld, type World } from '../../world/world.ts';
import { scrub } from './garbage.ts';

let world: World;
beforeEach(async () => {
  world = await newWorld();
  vi.spyOn(console, 'error').mockImplementation(() => {});
});

async function found(): Promise<Finding[]> {
  const all: Finding[] = [];
  let next: Cursor | null = null;
  do {
    const page = await fsck(world.env, next);
    all.push(...page.items);
    next = page.next;
  } while (next);
  return all;
}

const run = (sql: string, ...bound: unknown[]) =>
  world.env.DB.prepare(sql)
    .bind(...bound)
    .run();

async function layerOf(seed: number): Promise<Content> {
  return contentOf(noise(100, seed));
}

test('an intact registry has no findings, even with absent foreign layers', async () => {
  const first = await pushImage(world, 'acme/api', 'v1', 1);
  await pushImage(world, 'acme/api', 'large', 2, { annotations: { text: 'x'.repeat(200_000) } });
  const foreign = {
    mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    digest: (await layerOf(99)).digest,
    size: 100,
  };
  const { layers, ...rest } = JSON.parse(textOf(first)) as { layers: object[] };
  expect((await putManifest(world, 'acme/api', 'v2', { ...rest, layers: [...layers, foreign] })).status).toBe(201);
  await world.fetch('DELETE', '/v2/acme/api/manifests/large');
  await world.fetch('DELETE', `/v2/acme/api/manifests/${first.digest}`);
  await pushImage(world, 'acme/old', 'v1', 3);
  await world.fetch('DELETE', '/api/v1/repositories/acme/old?force=true');
  await scrub(world);
  expect(await found()).toEqual([]);
});

describe('it reports', () => {
  test('a blob whose bytes are missing, with the repositories and images that need it, up to the tag of an index', async () => {
    const child = await pushImage(world, 'acme/api', null, 1);
    const index = await indexOf([child]);
    await putManifest(world, 'acme/api', 'all', textOf(index), INDEX_TYPE);
    await pushImage(world, 'acme/base', null, 1);
    const { digest } = await layerOf(1);
    const key = await world.env.DB.prepare('SELECT object_key FROM blobs WHERE digest = ?1')
      .bind(digest)
      .first<string>('object_key');
    await world.env.BLOBS.delete(key as string);
    await scrub(world);
    const [scrubbed, ...findings] = await found();
    expect(scrubbed?.problem).toBe(`the scrub found: blob ${digest}: the object ${key} is missing`);
    const remedy = expect.stringMatching('Push one of these images again');
    expect(findings).toEqual([
      {
        digest,
        repository: 'acme/api',
        tag: 'all',
        problem: `the bytes of blob ${digest} in acme/api are gone or damaged; 2 manifests need it: acme/api:all`,
        remedy,
      },
      {
        digest,
        repository: 'acme/base',
        problem: `the bytes of blob ${digest} in acme/base are gone or damaged; 1 manifest needs it, none of them tagged`,
        remedy,
      },
    ]);
  });

  test('a missing blob that nothing needs', async () => {
    await run("INSERT INTO blobs VALUES ('sha256:x', 1, 'blobs/sha256/x/y', 0, 1)");
    expect(await found()).toEqual([
      { digest: 'sha256:x', problem: expect.stringMatching('no repository has it'), remedy: expect.stringMatching('Nothing') },
    ]);
  });

  test('a manifest whose document is missing or different, or whose repository is unknown', async () => {
    const gone = await pushImage(world, 'acme/api', 'v1', 1, { annotations: { text: 'x'.repeat(200_000) } });
    const other = await pushImage(world, 'acme/api', 'v2', 2);
    await run("UPDATE manifests SET object_key = '' WHERE digest = ?1", gone.digest);
    await run(
      "UPDATE manifests SET content = replace(content, 'schemaVersion', 'schemaVersiom') WHERE digest = ?1",
      other.digest,
    );
    const lost = await pushImage(world, 'acme/lost', 'v1', 3);
    await run("DELETE FROM repositories WHERE name = 'acme/lost'");
    const problems = (await found()).map(({ problem, digest }) => [digest, problem]);
    expect(problems).toContainEqual([gone.digest, `the document of manifest ${gone.digest} in acme/api is gone`]);
    expect(problems).toContainEqual([
      other.digest,
      `the document of manifest ${other.digest} in acme/api does not match its digest`,
    ]);
    expect(problems).toContainEqual([lost.digest, expect.stringMatching('neither there nor in the trash')]);
    expect(problems).toHaveLength(3);
  });

  test('dangling references in both directions', async () => {
    const image = await pushImage(world, 'acme/api', 'v1');
    const { digest } = await layerOf(1);
    await run('DELETE FROM repository_blobs WHERE digest = ?1', digest);
    await run("INSERT INTO manifest_references SELECT id, ?1, 'sha256:nobody' FROM repositories", digest);
    const findings = await found();
    expect(findings.map(({ problem }) => problem).sort()).toEqual([
      `acme/api has a reference from manifest sha256:nobody to ${digest}, but that manifest is gone`,
      `manifest ${image.digest} of acme/api needs ${digest}, which is gone`,
    ]);
    expect(findings[0]).toMatchObject({ repository: 'acme/api', digest });
  });

  test('a tag that names nothing', async () => {
    await pushImage(world, 'acme/api', 'v1');
    await run("UPDATE tags SET digest = 'sha256:nothing'");
    expect(await found()).toEqual([
      {
        repository: 'acme/api',
        tag: 'v1',
        digest: 'sha256:nothing',
        problem: 'tag v1 of acme/api names sha256:nothing, which is gone',
        remedy: expect.any(String),
      },
    ]);
  });

  test('trash entries that cannot be restored', async () => {
    const [one, two] = [await pushImage(world, 'acme/api', 'v1', 1), await pushImage(world, 'acme/api', 'v2', 2)];
    await world.fetch('DELETE', '/v2/acme/api/manifests/v2');
    for (const { digest } of [one, two]) await world.fetch('DELETE', `/v2/acme/api/manifests/${digest}`);
    expect(await found()).toEqual([]);
    await run('DELETE FROM trashed_manifests WHERE digest = ?1', two.digest);
    expect((await found()).map(({ problem }) => problem)).toEqual([
      `manifest ${two.digest} of acme/api is in the trash, but what it needs to be restored is gone`,
      'tag v2 of acme/api is in the trash, but what it needs to be restored is gone',
    ]);
  });
});

test('a page costs at most 40 statements and 20,000 rows read and writes nothing, and the pages report everything once', {
  tags: 'slow',
}, async () => {
  await pushImage(world, 'acme/api', 'v1', 1, { artifactType: LAYER_TYPE });
  const rows = (sql: string, n: number) =>
    run(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) ${sql}`, n);
  await rows("INSERT INTO blobs SELECT 'sha256:' || i, 1, 'blobs/sha256/x/' || i, 0, iif(i % 40, NULL, 1) FROM n", 4000);
  await rows("INSERT INTO tags SELECT 1 + (SELECT max(id) FROM repositories), 't' || i, 'sha256:' || i, 0 FROM n", 1000);
  await rows("INSERT INTO manifest_references SELECT (SELECT max(id) FROM repositories), i, 'p' || (i % 9) FROM n", 1000);
  const all: Finding[] = [];
  let next: Cursor | null = null;
  let pages = 0;
  do {
    const { env, counts } = counting(world.env);
    const page = await fsck(env, next);
    all.push(...page.items);
    next = page.next;
    pages++;
    expect(counts.d1).toBeLessThanOrEqual(40);
    expect(counts.rowsRead).toBeLessThanOrEqual(20_000);
    expect(counts.rowsWritten).toBe(0);
    expect(page.items.length).toBeLessThanOrEqual(120);
  } while (next);
  expect(pages).toBeGreaterThan(5);
  expect(new Set(all.map(({ problem }) => problem)).size).toBe(all.length);
  expect(all).toHaveLength(100 + 1000 + 1000);
});
