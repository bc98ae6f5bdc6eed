/** The trash through the management API: deleted repositories, and who may see, restore and purge an entry. */
import { beforeEach, describe, expect, test } from 'vitest';
import { sealCursor } from '../../../src/app/sealed-cursor.ts';
import {
  deletedRepositories,
  namesInTrash,
  purge,
  remove,
  removeRepository,
  restore,
  restored,
  restoreRepository,
  trashRepository,
} from '../../registry/trash/trash.ts';
import { violations } from '../../world/checker.ts';
import { counting } from '../../world/counting.ts';
import { pushImage, putManifest, textOf } from '../../world/images.ts';
import { eventsDuring, everyItem, makeOrganization, makeRobot, makeTeam } from '../../world/organizations.ts';
import { type ApiAnswer, api, inviteUser, type Person, refused } from '../../world/people.ts';
import { digestAt, tagsOf } from '../../world/reading.ts';
import { newWorld, type World, worldOf } from '../../world/world.ts';

const REPOSITORY = 'acme/api';

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

const path = (repository: string) => `/repositories/${repository}`;
const policyOf = (repository: string) => `${path(repository)}/-/policy`;
const make = (repository: string, body: object = {}) => api(world, 'PUT', path(repository), { body });
const etag = ({ headers }: ApiAnswer<unknown>) => headers.get('etag') ?? '';
const purgeRepository = (entry: string, as?: string | null) =>
  api(world, 'DELETE', `/trash/${entry}`, as === undefined ? {} : { as });
const setPolicy = async (repository: string, statements: object[]) =>
  expect((await api(world, 'PUT', policyOf(repository), { body: { statements } })).status).toBe(200);
const setRule = async (value: string, exclusions: string[] = []) => {
  await world.env.DB.prepare(
    'INSERT OR REPLACE INTO tag_mutability (repository_id, rule) SELECT id, ?2 FROM repositories WHERE name = ?1',
  )
    .bind(REPOSITORY, value === 'MUTABLE' ? '' : JSON.stringify({ value, exclusions }))
    .run();
};

/** All parts of an answer in which a caller could see a difference. */
function seen({ status, body, headers }: ApiAnswer<unknown>): unknown {
  return { status, body, headers: [...headers].sort() };
}

/** Saves a policy of a user, as an administrator. */
async function allow(person: Person, ...statements: object[]): Promise<void> {
  expect((await api(world, 'PUT', `/users/${person.name}/policy`, { body: { statements } })).status).toBe(200);
}

describe('a restored repository', () => {
  test('is as it was, with its images, tags, descriptions and ETag', async () => {
    await make(REPOSITORY, { description: 'The API', overview: '# API' });
    const image = await pushImage(world, REPOSITORY, 'v1');
    await remove(world, REPOSITORY, (await pushImage(world, REPOSITORY, 'v2', 2)).digest);
    await world.env.DB.prepare('UPDATE repositories SET created_at = 1000').run();
    const before = await api(world, 'GET', path(REPOSITORY));
    const inTrash = await namesInTrash(world, REPOSITORY);
    const events = await eventsDuring(world, async () => {
      const entry = await trashRepository(world, REPOSITORY);
      expect((await api(world, 'GET', path(REPOSITORY))).status).toBe(404);
      expect(await restoreRepository(world, entry)).toMatchObject({ status: 200, body: { name: REPOSITORY } });
    });
    expect(events).toEqual([
      { type: 'repository.deleted', target: { tags: ['v1'] }, actor: 'user:admin' },
      { type: 'repository.restored', target: {}, actor: 'user:admin' },
    ]);
    const after = await api(world, 'GET', path(REPOSITORY));
    expect(after).toMatchObject({ status: 200, body: before.body });
    expect(etag(after)).toBe(etag(before));
    expect(after.body.createdAt).toBe('1970-01-01T00:16:40.000Z');
    expect(await digestAt(world, REPOSITORY, 'v1')).toBe(image.digest);
    expect(await tagsOf(world, REPOSITORY)).toEqual(['v1']);
    expect(await namesInTrash(world, REPOSITORY)).toEqual(inTrash);
    expect(await deletedRepositories(world)).toEqual([]);
    expect(await violations(world.env)).toEqual([]);
  });

  test('has its policy again, which applies again', async () => {
    const bob = await inviteUser(world, 'bob');
    await make(REPOSITORY);
    const statements = [
      { effect: 'allow', actions: ['pull', 'push'], principals: [bob.subject, '*'] },
      { effect: 'deny', actions: ['delete'], principals: [bob.subject] },
    ];
    await setPolicy(REPOSITORY, statements);
    const before = await api(world, 'GET', policyOf(REPOSITORY));
    const listed = async (as: string | null) =>
      (await api<{ items: { name: string }[] }>(world, 'GET', '/repositories', { as })).body.items.map(({ name }) => name);
    const entry = await trashRepository(world, REPOSITORY);
    await make(REPOSITORY);
    expect((await api(world, 'GET', policyOf(REPOSITORY))).body).toEqual({ statements: [] });
    for (const as of [bob.basic, null]) expect(await listed(as)).toEqual([]);
    await setPolicy(REPOSITORY, [{ actions: ['push'], principals: ['user:admin'] }]);
    await trashRepository(world, REPOSITORY);
    expect((await restoreRepository(world, entry)).status).toBe(200);
    const after = await api(world, 'GET', policyOf(REPOSITORY));
    expect(after.body).toEqual({ statements });
    expect(etag(after)).toBe(etag(before));
    for (const as of [bob.basic, null]) expect(await listed(as)).toEqual([REPOSITORY]);
    const { results } = await world.env.DB.prepare(
      'SELECT principal, repository FROM policy_principals ORDER BY principal',
    ).all();
    expect(results).toEqual([
      { principal: '*', repository: REPOSITORY },
      { principal: bob.subject, repository: REPOSITORY },
    ]);
  });

  test('needs its name: of several with the same name, each can be restored when the name is free', async () => {
    const entries: string[] = [];
    for (const seed of [1, 2, 3]) {
      await pushImage(world, REPOSITORY, `v${seed}`, seed);
      entries.push(await trashRepository(world, REPOSITORY));
    }
    expect((await deletedRepositories(world)).map(({ entry }) => entry)).toEqual(entries);
    await make(REPOSITORY);
    const [first = '', second = ''] = entries;
    expect(refused(await restoreRepository(world, second))).toBe('409 CONFLICT');
    const last = await trashRepository(world, REPOSITORY);
    expect((await restoreRepository(world, second)).status).toBe(200);
    expect(await tagsOf(world, REPOSITORY)).toEqual(['v2']);
    expect(refused(await restoreRepository(world, first))).toBe('409 CONFLICT');
    expect(refused(await restoreRepository(world, second))).toBe('404 NOT_FOUND');
    expect(await trashRepository(world, REPOSITORY), 'the same entry').toBe(second);
    expect((await restoreRepository(world, last)).status).toBe(200);
    expect(await tagsOf(world, REPOSITORY)).toEqual([]);
  });

  test('and a recreated one have different ids', async () => {
    await make('acme/one');
    const entry = await trashRepository(world, 'acme/one');
    await make('acme/two');
    await restoreRepository(world, entry);
    await make('acme/three');
    const { results } = await world.env.DB.prepare('SELECT DISTINCT id FROM repositories').all();
    expect(results).toHaveLength(3);
  });

  test('is not restored once purging has begun, and its policy is deleted', async () => {
    await make(REPOSITORY);
    await pushImage(world, REPOSITORY, 'v1');
    const entry = await trashRepository(world, REPOSITORY);
    const events = await eventsDuring(world, async () => {
      expect(await purgeRepository(entry)).toMatchObject({ status: 202, body: { purged: REPOSITORY } });
    });
    expect(events.map(({ type }) => type)).toEqual(['trash.purged']);
    expect(await deletedRepositories(world)).toEqual([]);
    expect(refused(await restoreRepository(world, entry))).toBe('409 CONFLICT');
    expect(await eventsDuring(world, async () => expect((await purgeRepository(entry)).status).toBe(202))).toEqual([]);
    expect(await violations(world.env)).toEqual([]);
  });
});

describe('a repository with immutable tags', () => {
  const CONFLICT = '409 CONFLICT';

  beforeEach(async () => {
    await pushImage(world, REPOSITORY, 'v1');
  });

  test('is not deleted, not even by force', async () => {
    await setRule('IMMUTABLE');
    for (const query of ['', '?force=true']) {
      const answer = await removeRepository(world, REPOSITORY, query);
      expect(refused(answer)).toBe(CONFLICT);
      expect(JSON.stringify(answer.body)).toContain('immutable');
    }
    expect(await tagsOf(world, REPOSITORY)).toEqual(['v1']);
    await setRule('MUTABLE');
    expect((await removeRepository(world, REPOSITORY)).status).toBe(200);
  });

  test('is deleted if its tags are all excluded', async () => {
    await setRule('IMMUTABLE_WITH_EXCLUSION', ['v*']);
    await pushImage(world, REPOSITORY, 'x', 2);
    expect(refused(await removeRepository(world, REPOSITORY))).toBe(CONFLICT);
    await setRule('MUTABLE_WITH_EXCLUSION', ['x*']);
    expect(refused(await removeRepository(world, REPOSITORY))).toBe(CONFLICT);
    await remove(world, REPOSITORY, 'v1');
    await setRule('IMMUTABLE_WITH_EXCLUSION', ['x', 'y']);
    expect((await removeRepository(world, REPOSITORY)).status).toBe(200);
  });

  test('is not deleted while a name is reserved for an image that an immutable tag named', async () => {
    await remove(world, REPOSITORY, 'v1');
    await world.env.DB.prepare('UPDATE tag_history SET reserved = 1 WHERE point = 2').run();
    await setRule('IMMUTABLE');
    expect(refused(await removeRepository(world, REPOSITORY))).toBe(CONFLICT);
    await setRule('MUTABLE_WITH_EXCLUSION', ['w*']);
    expect((await removeRepository(world, REPOSITORY)).status).toBe(200);
  });

  test('is restored with its rule', async () => {
    await setRule('IMMUTABLE_WITH_EXCLUSION', ['v*']);
    await restoreRepository(world, await trashRepository(world, REPOSITORY));
    await pushImage(world, REPOSITORY, 'x', 2);
    expect(refused(await removeRepository(world, REPOSITORY))).toBe(CONFLICT);
  });

  test('may have tens of thousands of other tags', async () => {
    const names = Array.from({ length: 25_000 }, (_, n) => `pr-${n}`);
    await world.env.DB.prepare(
      `INSERT INTO tags (repository_id, name, digest, updated_at)
       SELECT t.repository_id, value, t.digest, 1 FROM tags t, json_each(?1) WHERE t.name = 'v1'`,
    )
      .bind(JSON.stringify(names))
      .run();
    await setRule('MUTABLE_WITH_EXCLUSION', ['pr-19999', 'q*']);
    expect(refused(await removeRepository(world, REPOSITORY))).toBe(CONFLICT);
    await setRule('MUTABLE_WITH_EXCLUSION', ['q*']);
    expect((await removeRepository(world, REPOSITORY)).status).toBe(200);
  });
});

describe('if the registry deletes nothing', () => {
  test('no repository is deleted and nothing is purged, and what is in the trash can be restored', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1');
    await make('acme/old');
    const entry = await trashRepository(world, 'acme/old');
    await remove(world, REPOSITORY, image.digest);
    world = worldOf({ ...world.env, DELETION: 'off' });
    const answers = [
      await removeRepository(world, REPOSITORY),
      await purge(world, REPOSITORY, image.digest),
      await purgeRepository(entry),
    ];
    expect(answers.map(refused)).toEqual(Array(3).fill('405 UNSUPPORTED'));
    await restored(world, REPOSITORY, image.digest);
    expect((await restoreRepository(world, entry)).status).toBe(200);
  });
});

describe('purged content', () => {
  test('cannot be restored, and the answer says when its bytes are deleted', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1');
    await putManifest(world, REPOSITORY, 'v2', textOf(image));
    await remove(world, REPOSITORY, 'v1', image.digest);
    const events = await eventsDuring(world, async () => {
      for (const name of ['v1', image.digest]) {
        const answer = await purge(world, REPOSITORY, name);
        expect(answer).toMatchObject({ status: 202, body: { purged: name } });
        expect(JSON.stringify(answer.body)).toContain('next pass');
        expect(refused(await purge(world, REPOSITORY, name))).toBe('404 MANIFEST_UNKNOWN');
        expect(refused(await restore(world, REPOSITORY, name))).toBe('404 MANIFEST_UNKNOWN');
      }
    });
    expect(events.map(({ type }) => type)).toEqual(['trash.purged', 'trash.purged']);
    expect(await namesInTrash(world, REPOSITORY)).toEqual([]);
  });
});

describe('who may do it', () => {
  let olga: Person;
  let owner: Person;

  beforeEach(async () => {
    [olga, owner] = [await inviteUser(world, 'olga'), await inviteUser(world, 'oskar')];
    await makeOrganization(world, 'acme', { owners: [owner] });
  });

  /** The status of each of the four requests about a repository's trash. */
  async function within(as: string | null): Promise<string> {
    const image = await pushImage(world, REPOSITORY, 'v1');
    await remove(world, REPOSITORY, 'v1', image.digest);
    const ask = async (method: string, at: string) =>
      (await api(world, method, `${path(REPOSITORY)}/-/trash${at}`, { as })).status;
    const answers = [
      await ask('GET', ''),
      await ask('DELETE', '/tags/v1'),
      await ask('POST', '/tags/v1/restore'),
      await ask('POST', `/manifests/${image.digest}/restore`),
      await ask('DELETE', `/manifests/${image.digest}`),
    ];
    await api(world, 'DELETE', `${path(REPOSITORY)}?force=true`);
    return answers.join(' ');
  }

  test('for content of a repository: deleters restore, administrators purge', { tags: 'slow' }, async () => {
    expect(await within(null)).toBe('401 401 401 401 401');
    expect(await within(olga.basic)).toBe('404 404 404 404 404');
    await allow(olga, { actions: ['pull', 'push'], repositories: ['acme/*'] });
    expect(await within(olga.basic)).toBe('403 403 403 403 403');
    await allow(olga, { actions: ['pull', 'delete'], repositories: ['acme/*'] });
    expect(await within(olga.basic)).toBe('200 403 200 404 403');
    const pulling = { actions: ['pull'], repositories: ['acme/*'] };
    await allow(olga, pulling, { actions: ['delete'], repositories: ['acme/*'], tags: ['v*'] });
    expect(await within(olga.basic)).toBe('403 403 200 403 403');
    await allow(olga, pulling, { actions: ['delete'], repositories: ['acme/*'], tags: ['w*'] });
    expect(await within(olga.basic)).toBe('403 403 403 403 403');
    expect(await within(owner.basic)).toBe('200 202 404 200 404');
  });

  test('for a deleted repository: those who may administer its name without its own policy', { tags: 'slow' }, async () => {
    await make(REPOSITORY);
    await setPolicy(REPOSITORY, [{ actions: 'all actions', principals: [olga.subject] }]);
    const entry = await trashRepository(world, REPOSITORY);
    await make(REPOSITORY);
    await setPolicy(REPOSITORY, [{ actions: 'all actions', principals: [olga.subject] }]);
    const robot = await makeRobot(world, 'acme', 'ci', [{ actions: 'push and pull', repositories: ['acme/*'] }]);
    const narrowed = await api<{ secret: string }>(world, 'POST', '/keys', {
      as: owner.basic,
      body: { name: 'narrow', statements: [{ actions: 'all actions', repositories: ['acme/web'] }] },
    });
    for (const as of [olga.basic, robot.basic, `Bearer ${narrowed.body.secret}`]) {
      for (const [method, end] of [
        ['POST', '/restore'],
        ['DELETE', ''],
      ] as const) {
        const ask = (id: string) => api(world, method, `/trash/${id}${end}`, { as });
        expect(refused(await ask(entry))).toBe('404 NOT_FOUND');
        for (const absent of ['999999', '0', '-1', '1.5', '0x1', 'acme', '9'.repeat(40)]) {
          expect(seen(await ask(absent)), absent).toEqual(seen(await ask(entry)));
        }
      }
      expect(await deletedRepositories(world, { as })).toEqual([]);
    }
    expect(refused(await restoreRepository(world, entry, { as: null }))).toBe('401 UNAUTHORIZED');
    expect(seen(await restoreRepository(world, entry, { as: null }))).toEqual(
      seen(await restoreRepository(world, '999999', { as: null })),
    );
    expect(refused(await api(world, 'GET', '/trash', { as: null }))).toBe('401 UNAUTHORIZED');
    await api(world, 'DELETE', path(REPOSITORY));
    await allow(olga, { actions: ['admin'], repositories: ['acme/a*'] });
    expect((await restoreRepository(world, entry, { as: olga.basic })).status).toBe(200);
    await trashRepository(world, REPOSITORY);
    expect((await restoreRepository(world, entry, { as: owner.basic })).status).toBe(200);
  });

  test('an existing repository is no entry of the trash', async () => {
    await make(REPOSITORY);
    const id = await world.env.DB.prepare('SELECT id FROM repositories').first<number>('id');
    expect(refused(await restoreRepository(world, String(id)))).toBe('404 NOT_FOUND');
    expect(refused(await purgeRepository(String(id)))).toBe('404 NOT_FOUND');
    expect((await api(world, 'GET', path(REPOSITORY))).status).toBe(200);
  });
});

describe('the list of deleted repositories', () => {
  const NAMES = ['acme/a-test', 'acme/b', 'acme/b', 'acme/c-test', 'bravo/a', 'bravo/b-test', 'plain'];
  let olga: Person;

  beforeEach(async () => {
    olga = await inviteUser(world, 'olga');
    await makeOrganization(world, 'acme', { owners: [olga] });
    await makeOrganization(world, 'bravo', { members: [olga] });
    for (const name of NAMES) {
      await make(name);
      await api(world, 'DELETE', path(name));
    }
    await make('acme/here');
    await make('olga/own');
    await api(world, 'DELETE', path('olga/own'));
  });

  const listed = async (as?: string) =>
    (await deletedRepositories(world, as === undefined ? {} : { as })).map(({ name }) => name);

  test('has all for an administrator, and for others those that they may administer', async () => {
    expect(await listed()).toEqual([
      'acme/a-test',
      'acme/b',
      'acme/b',
      'acme/c-test',
      'bravo/a',
      'bravo/b-test',
      'olga/own',
      'plain',
    ]);
    expect(await listed(olga.basic)).toEqual(['acme/a-test', 'acme/b', 'acme/b', 'acme/c-test', 'olga/own']);
    await makeTeam(
      world,
      'bravo',
      'testers',
      [olga],
      [
        { actions: ['admin'], repositories: ['bravo/*-test'] },
        { actions: ['delete', 'pull'], repositories: ['bravo/*'] },
      ],
    );
    expect(await listed(olga.basic)).toEqual(['acme/a-test', 'acme/b', 'acme/b', 'acme/c-test', 'bravo/b-test', 'olga/own']);
    await allow(
      olga,
      { actions: ['admin'], repositories: ['plain', 'bravo/*'] },
      { effect: 'deny', actions: ['admin'], repositories: ['bravo/a'] },
    );
    expect(await listed(olga.basic)).toEqual([
      'acme/a-test',
      'acme/b',
      'acme/b',
      'acme/c-test',
      'bravo/b-test',
      'olga/own',
      'plain',
    ]);
  });

  test('is limited by the narrowing of a key', async () => {
    for (const [repositories, names] of [
      [
        ['acme/b', 'acme/here'],
        ['acme/b', 'acme/b'],
      ],
      [['*-test'], ['acme/a-test', 'acme/c-test']],
      [['bravo/*'], []],
    ]) {
      const body = { name: 'narrow', statements: [{ actions: 'all actions', repositories }] };
      const made = await api<{ secret: string }>(world, 'POST', '/keys', { as: olga.basic, body });
      expect(await listed(`Bearer ${made.body.secret}`)).toEqual(names);
    }
  });

  test('is paged, also through several of one name, whatever is added or removed', async () => {
    for (const n of [1, 2, 3]) {
      const items = await everyItem<{ name: string; entry: string }>(world, '/trash', { n, as: olga.basic });
      expect(items.map(({ name }) => name)).toEqual(['acme/a-test', 'acme/b', 'acme/b', 'acme/c-test', 'olga/own']);
      expect(new Set(items.map(({ entry }) => entry)).size).toBe(5);
    }
    const all = await deletedRepositories(world);
    const seenNow: string[] = [];
    const items = await everyItem<{ entry: string }>(world, '/trash', {
      n: 1,
      meanwhile: async (page) => {
        seenNow.push(all[page - 1]?.entry ?? '');
        await restoreRepository(world, all[page - 1]?.entry ?? '');
      },
    });
    expect(items.map(({ entry }) => entry)).toEqual(all.map(({ entry }) => entry));
  });

  describe('with thousands of entries hidden from the caller', () => {
    beforeEach(async () => {
      await allow(olga, { actions: ['admin'], repositories: ['*-mine'] });
      await world.env.DB.prepare(
        `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 16000)
         INSERT INTO trash (repository_id, kind, name, repository, actor, deleted_at)
         SELECT 1000000 + i, 'repository', '', 'hidden/r' || i, 'user:mallory', unixepoch() FROM n`,
      ).run();
      for (const name of ['first/is-mine', 'zoo/is-mine']) {
        await make(name);
        await api(world, 'DELETE', path(name));
      }
    });

    const page = (last: string, at = world) =>
      api<{ items: { name: string }[]; next: string | null }>(at, 'GET', `/trash?n=100&last=${encodeURIComponent(last)}`, {
        as: olga.basic,
      });
    /** The cursor of a page that was ended at a hidden entry, before the limit of the page. It must not reveal that entry. */
    async function brokenOff(): Promise<string> {
      const { body } = await page('');
      expect(body.items.map(({ name }) => name)).toContain('first/is-mine');
      return body.next ?? '';
    }

    test('paging reaches the end', async () => {
      const items = await everyItem<{ name: string }>(world, '/trash', { n: 100, as: olga.basic });
      expect(items.map(({ name }) => name).slice(-2)).toEqual(['olga/own', 'zoo/is-mine']);
      expect(items.filter(({ name }) => name.startsWith('hidden/'))).toEqual([]);
    });

    test('the cursor is encrypted, has a fixed length, and differs each time', { tags: 'slow' }, async () => {
      const [one, other] = [await brokenOff(), await brokenOff()];
      expect(one).toMatch(/^~[\w-]+=*$/);
      expect(one).not.toBe(other);
      for (const place of ['a 1', `${'a'.repeat(255)} ${10 ** 15 - 1}`]) {
        expect(await sealCursor(world.env, 'any list', place)).toHaveLength(one.length);
      }
      expect(one.length).toBeLessThanOrEqual(512);
      expect(atob(one.slice(1).replaceAll('-', '+').replaceAll('_', '/'))).not.toContain('hidden');
      expect((await page(one)).body.items.at(-1)?.name).toBe('zoo/is-mine');
    });

    test("paging survives a rotation of the registry's secret, and refuses a forged cursor", async () => {
      const place = await brokenOff();
      const { REGISTRY_SECRET: old = '' } = world.env;
      const replaced = worldOf({ ...world.env, REGISTRY_SECRET: 'x'.repeat(40), REGISTRY_SECRET_PREVIOUS: old });
      expect((await page(place, replaced)).body.items.at(-1)?.name).toBe('zoo/is-mine');
      for (const wrong of [
        '~',
        '~a',
        '~aaaa',
        `${place.slice(0, -8)}AAAA${place.slice(-4)}`,
        place.slice(0, -4),
        `${place}%`,
      ]) {
        expect(refused(await page(wrong)), wrong).toBe('400 INVALID');
      }
    });
  });

  test('entries tell when each was deleted, by whom and until when it is kept', async () => {
    const [first] = await deletedRepositories(world);
    expect(first).toMatchObject({ name: 'acme/a-test', deletedBy: 'user:admin' });
    const { deletedAt, restorableUntil } = first as unknown as { deletedAt: string; restorableUntil: string };
    expect(Date.parse(restorableUntil) - Date.parse(deletedAt)).toBe(7 * 86_400_000);
    expect(Math.abs(Date.parse(deletedAt) - Date.now())).toBeLessThan(60_000);
  });

  test('a page reads entries that the caller may see, and not all entries of the trash', { tags: 'slow' }, async () => {
    await world.env.DB.prepare(
      `INSERT INTO trash (repository_id, kind, name, repository, actor, deleted_at, created_at)
       SELECT 100000 + value, 'repository', '', 'mass/r' || value, 'user:admin', 1, 1 FROM json_each(?1)`,
    )
      .bind(JSON.stringify(Array.from({ length: 20_000 }, (_, n) => n)))
      .run();
    const { counting } = await import('../../world/counting.ts');
    const { env, counts } = counting(world.env);
    await deletedRepositories(worldOf(env), { as: olga.basic });
    expect(counts.rowsRead).toBeLessThan(200);
    counts.rowsRead = 0;
    await api(worldOf(env), 'GET', '/trash?n=10');
    expect(counts.rowsRead).toBeLessThan(200);
    await allow(olga, { actions: ['admin'], repositories: ['*-test'] });
    expect(await listed(olga.basic)).toContain('bravo/b-test');
  });
});

describe('the event of a deleted repository', () => {
  test('names at most a hundred of its tags, and says if there are more', async () => {
    await make(REPOSITORY);
    const { digest } = await pushImage(world, REPOSITORY, 'v1');
    await world.env.DB.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
       INSERT INTO tags (repository_id, name, digest, updated_at)
       SELECT (SELECT id FROM repositories), '${'x'.repeat(110)}' || i, ?1, 0 FROM n`,
    )
      .bind(digest)
      .run();
    const { env, counts } = counting(world.env);
    const events = await eventsDuring(world, () => trashRepository(worldOf(env), REPOSITORY));
    const { tags, hasMoreTags } = (events[0]?.target ?? {}) as { tags: string[]; hasMoreTags: boolean };
    expect([tags.length, tags[0], hasMoreTags]).toEqual([100, 'v1', true]);
    expect(JSON.stringify(events[0]?.target).length).toBeLessThan(16 * 1024);
    expect(counts.rowsRead).toBeLessThan(1000);
  });
});

describe('answers say what was done', () => {
  interface Done {
    entry: string;
    restorableUntil: string;
    bytes: number;
    [field: string]: unknown;
  }

  test('by the deletion and the restoration of a repository', async () => {
    const image = await pushImage(world, REPOSITORY, 'v1', 1);
    await pushImage(world, REPOSITORY, 'v2', 1);
    const body = { url: 'https://hooks.example.com/' };
    expect((await api(world, 'POST', `${path(REPOSITORY)}/-/webhooks`, { body })).status).toBe(201);
    const held = { tags: 2, manifests: 1, bytes: image.bytes.byteLength + '{"seed":1}'.length + 100 };
    const deleted = await api<Done>(world, 'DELETE', `${path(REPOSITORY)}?force=true`);
    const { entry, restorableUntil, ...said } = deleted.body;
    expect(said).toEqual({ name: REPOSITORY, ...held, webhooks: 1 });
    const days = (Date.parse(restorableUntil) - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(0);
    expect((await deletedRepositories(world)).map((one) => [one.entry, one.restorableUntil])).toEqual([
      [entry, restorableUntil],
    ]);
    expect((await restoreRepository(world, entry)).body).toMatchObject({ name: REPOSITORY, ...held });
  });

  test('by the restoration of an image and of a tag, also when there is no room for new content', async () => {
    await makeOrganization(world, 'acme');
    const image = await pushImage(world, REPOSITORY, 'v1', 1);
    await pushImage(world, REPOSITORY, 'v2', 2);
    const usage = (await api<{ bytes: number }>(world, 'GET', '/organizations/acme/usage')).body;
    const quota = { maxBytes: usage.bytes };
    expect((await api(world, 'PUT', '/organizations/acme/quota', { body: quota })).status).toBe(200);
    await remove(world, REPOSITORY, image.digest);
    const bytes = image.bytes.byteLength + '{"seed":1}'.length + 100;
    const answers = await Promise.all([restore(world, REPOSITORY, image.digest), restore(world, REPOSITORY, image.digest)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 404]);
    expect(answers.find(({ status }) => status === 200)?.body).toEqual({
      tags: ['v1'],
      notRestored: [],
      manifests: [image.digest],
      attachedTags: [],
      bytes,
      withoutReferrers: false,
    });
    await remove(world, REPOSITORY, 'v1');
    expect((await restore(world, REPOSITORY, 'v1')).body).toMatchObject({ tags: ['v1'], manifests: [], bytes: 0 });
    expect(await violations(world.env)).toEqual([]);
  });
});
