import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { type Authority, onRepository, rolesOf } from '../../src/auth/authority.ts';
import { repositoriesNaming } from '../../src/auth/naming.ts';
import { allows } from '../../src/auth/policy.ts';
import type { Sourced, Statement } from '../../src/auth/statement.ts';
import { pullPatterns, reachOf } from '../../src/auth/visibility.ts';
import { isRepositoryName } from '../../src/oci/name.ts';
import { listRepositories, type Reach } from '../../src/registry/repositories/repositories.ts';
import type { RepositoryAction } from '../../src/vocabulary/actions.ts';
import { counting } from '../world/counting.ts';
import { newWorld, type World } from '../world/world.ts';

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

async function hold(...names: string[]): Promise<void> {
  await world.env.DB.prepare('INSERT INTO repositories (name, created_at) SELECT value, 0 FROM json_each(?1)')
    .bind(JSON.stringify(names))
    .run();
}

async function drop(...names: string[]): Promise<void> {
  await world.env.DB.prepare('DELETE FROM repositories WHERE name IN (SELECT value FROM json_each(?1))')
    .bind(JSON.stringify(names))
    .run();
}

async function name(...pairs: [principal: string, repository: string][]): Promise<void> {
  await world.env.DB.prepare(
    "INSERT INTO policy_principals (principal, repository) SELECT value ->> '$[0]', value ->> '$[1]' FROM json_each(?1)",
  )
    .bind(JSON.stringify(pairs))
    .run();
}

function reach(prefixes: string[], names: string[] = []): Reach {
  return { prefixes, names };
}

async function list(within: Reach, after = '', limit = 100): Promise<string[]> {
  return (await listRepositories(world.env, { after, limit }, within)).items;
}

/** All pages, as a client follows them. */
async function pages(within: Reach, limit: number, between = async () => {}): Promise<string[][]> {
  const all: string[][] = [];
  for (let after = ''; ; await between()) {
    const { items, more } = await listRepositories(world.env, { after, limit }, within);
    all.push(items);
    if (!more) return all;
    expect(items).toHaveLength(limit);
    expect((items[0] as string) > after).toBe(true);
    after = items.at(-1) as string;
  }
}

function numbered(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, n) => `${prefix}${String(n).padStart(5, '0')}`);
}

/** Characters for all names of up to five characters. `-` and `.` sort before `/`, which makes the order of names unusual. */
const CHARS = ['a', 'b', '-', '.', '/'];
const NAMES = CHARS.reduce((texts) => ['', ...texts.flatMap((text) => CHARS.map((char) => text + char))], ['']).filter(
  isRepositoryName,
);

describe('repositories within reach', () => {
  test('are those with a prefix and those that are named, each once, in bytewise order', async () => {
    await hold('acme/web', 'acme/api', 'acme/zzz', 'beta/api', 'gamma', 'gamma/x', 'acme');
    expect(await list(reach(['acme/']))).toEqual(['acme/api', 'acme/web', 'acme/zzz']);
    expect(await list(reach([], ['gamma', 'absent', 'acme/api']))).toEqual(['acme/api', 'gamma']);
    expect(await list(reach(['acme/'], ['gamma', 'acme/api', 'gamma']))).toEqual(['acme/api', 'acme/web', 'acme/zzz', 'gamma']);
  });

  test('are all with the empty prefix, and none without any reach', async () => {
    await hold('b', 'a/b', 'a');
    expect(await list(reach(['']))).toEqual(['a', 'a/b', 'b']);
    expect(await list(reach([]))).toEqual([]);
    expect(await list(reach(['zz'], ['absent']))).toEqual([]);
  });

  test('are listed once if prefixes overlap', async () => {
    await hold('acme/web-1', 'acme/web-2', 'acme/api', 'beta');
    const all = ['acme/api', 'acme/web-1', 'acme/web-2', 'beta'];
    expect(await list(reach(['acme/web-', 'acme/', '', 'acme/'], ['acme/web-1']))).toEqual(all);
    expect((await pages(reach(['acme/web-', 'acme/', '', 'acme/'], ['acme/web-1']), 1)).flat()).toEqual(all);
  });

  test('exclude a sibling whose name begins alike', async () => {
    await hold('acme', 'acme-x/api', 'acme.x/api', 'acme/api', 'acme0/api', 'acmex/api');
    expect(await list(reach(['acme/']))).toEqual(['acme/api']);
    expect(await list(reach(['acme-x/']))).toEqual(['acme-x/api']);
    expect(await list(reach(['acme/', 'acme-x/']))).toEqual(['acme-x/api', 'acme/api']);
    expect(await list(reach(['acme']))).toEqual(['acme', 'acme-x/api', 'acme.x/api', 'acme/api', 'acme0/api', 'acmex/api']);
  });

  test('come in bytewise order, in which a hyphen and a dot come before a slash', async () => {
    await hold('a_b', 'a/b', 'ab', 'a-b', 'a', 'a.b', 'a0', 'b', 'a/b/c', 'a/b-c');
    expect(await list(reach(['']))).toEqual(['a', 'a-b', 'a.b', 'a/b', 'a/b-c', 'a/b/c', 'a0', 'a_b', 'ab', 'b']);
  });

  test('continue after any name, existing or not, within reach or not', async () => {
    await hold('a/1', 'a/3', 'b/1', 'c/1');
    const within = reach(['a/', 'c/'], ['d']);
    expect(await list(within, 'a/1')).toEqual(['a/3', 'c/1']);
    expect(await list(within, 'a/2')).toEqual(['a/3', 'c/1']);
    expect(await list(within, 'b/1')).toEqual(['c/1']);
    expect(await list(within, 'c/1')).toEqual([]);
    expect(await list(within, 'zzz')).toEqual([]);
  });

  test('fill each page, and the last one says that there is no more', async () => {
    await hold(...numbered('a/', 6), ...numbered('b/', 5));
    expect((await pages(reach(['a/']), 3)).map(({ length }) => length)).toEqual([3, 3]);
    expect((await pages(reach(['a/'], ['b/00002']), 3)).map(({ length }) => length)).toEqual([3, 3, 1]);
  });

  test('are neither repeated nor skipped if some are deleted and created between two pages', async () => {
    await hold('a/1', 'a/2', 'a/3', 'a/4', 'b/1', 'b/2');
    const changes = [
      async () => {
        await drop('a/2', 'a/3');
        await hold('a/0', 'a/5');
      },
      async () => drop('a/5', 'b/1'),
    ];
    const seen = await pages(reach(['a/'], ['b/1', 'b/2']), 2, async () => changes.shift()?.());
    expect(seen).toEqual([['a/1', 'a/2'], ['a/4', 'a/5'], ['b/2']]);
  });

  test('equal a filter over all names, for any reach and page', { tags: 'slow' }, async () => {
    await hold(...NAMES);
    const prefixes = fc.string({ unit: fc.constantFrom(...CHARS), maxLength: 3 });
    const name = fc.oneof(fc.constantFrom(...NAMES), fc.constantFrom('zz', 'a/bb/a', 'c'));
    const reaches = fc.record({
      prefixes: fc.array(prefixes, { maxLength: 4 }),
      names: fc.array(name, { maxLength: 6 }),
      search: fc.constantFrom('', '', 'a', 'b/', '-', 'zz'),
    });
    const after = fc.oneof(fc.constant(''), fc.string({ unit: fc.constantFrom(...CHARS), maxLength: 5 }));
    await fc.assert(
      fc.asyncProperty(reaches, after, fc.nat({ max: 20 }), async (within, after, limit) => {
        const right = NAMES.filter(
          (name) => within.names.includes(name) || within.prefixes.some((prefix) => name.startsWith(prefix)),
        )
          .filter((name) => name > after && name.includes(within.search))
          .sort();
        const page = await listRepositories(world.env, { after, limit: limit + 1 }, within);
        expect(page).toEqual({ items: right.slice(0, limit + 1), more: right.length > limit + 1 });
      }),
      { numRuns: 500 },
    );
  });
});

/** The number of rows that `work` reads. A commit that raises a limit must give a reason, as in budgets.test.ts. */
async function cost(work: (env: World['env']) => Promise<unknown>): Promise<number> {
  const { env, counts } = counting(world.env);
  await work(env);
  expect(counts).toMatchObject({ d1: 1, rowsWritten: 0, r2Reads: 0, r2Writes: 0 });
  return counts.rowsRead;
}

describe('a page of repositories reads', () => {
  const FOREIGN = 10_000;
  const page = (within: Reach, after = '', limit = 50) => cost((env) => listRepositories(env, { after, limit }, within));

  beforeEach(async () => {
    await hold(...numbered('m/', 60), ...numbered('p/', 60));
  });

  test('a few rows for each name shown, however many are out of reach before, between and behind', async () => {
    const before = [await page(reach(['m/'])), await page(reach(['m/', 'p/'], ['p/00001', 'absent']), '', 100)];
    await hold(...numbered('a/', FOREIGN), ...numbered('n/', FOREIGN), ...numbered('z/', FOREIGN));
    expect([await page(reach(['m/'])), await page(reach(['m/', 'p/'], ['p/00001', 'absent']), '', 100)]).toEqual(before);
    expect(before[0]).toBeLessThanOrEqual(5 * 51);
    expect(before[1]).toBeLessThanOrEqual(5 * 101 * 2 + 10);
  });

  test('no more in the middle, or if nothing comes after', async () => {
    await hold(...numbered('a/', FOREIGN), ...numbered('n/', FOREIGN));
    expect(await page(reach(['m/', 'p/']), 'm/00050')).toBeLessThanOrEqual(5 * 51 * 2);
    expect(await page(reach(['m/', 'p/']), 'a/00100')).toBeLessThanOrEqual(5 * 51 * 2);
    expect(await page(reach(['a/', 'm/']), 'p/')).toBeLessThanOrEqual(10);
  });

  test('a few rows for each prefix and name without a repository', async () => {
    await hold(...numbered('a/', FOREIGN));
    expect(await page(reach(['b/', 'c/', 'zz'], ['absent', 'b']))).toBeLessThanOrEqual(5 * 5);
  });

  test('a few rows for each of a thousand names, once per page', async () => {
    await hold(...numbered('a/', FOREIGN));
    expect(await page(reach([], numbered('a/', 1000)), '', 1000)).toBeLessThanOrEqual(5 * 1001);
  });
});

describe('repositories whose policies name a principal', () => {
  async function naming(principals: string[], after = '', limit = 100): Promise<string[]> {
    const rows = await repositoriesNaming(world.env, { principals }, { after, limit });
    return [...new Set(rows.map(({ repository }) => repository))];
  }

  test('are listed once, in bytewise order, whichever principal is named', async () => {
    await name(
      ['user:alice', 'b/x'],
      ['*', 'b/x'],
      ['team:acme/dev', 'b-x'],
      ['user:bob', 'a/x'],
      ['*', 'c'],
      ['user:alice', 'b'],
    );
    expect(await naming(['user:alice', 'team:acme/dev', '*'])).toEqual(['b', 'b-x', 'b/x', 'c']);
    expect(await naming(['user:alice', 'user:alice'])).toEqual(['b', 'b/x']);
    expect(await naming(['*'])).toEqual(['b/x', 'c']);
    expect(await naming(['user:carol'])).toEqual([]);
    expect(await naming([])).toEqual([]);
  });

  test('exclude those that name a similar principal', async () => {
    await name(
      ['user:alice2', 'a'],
      ['user:alic', 'b'],
      ['user:alice', 'c'],
      ['robot:acme/alice', 'd'],
      ['user:*', 'e'],
      ['%', 'f'],
    );
    expect(await naming(['user:alice'])).toEqual(['c']);
    expect(await naming(['*'])).toEqual([]);
  });

  test('continue after any name, existing or not', async () => {
    await name(['*', 'a/1'], ['*', 'a/3'], ['user:alice', 'a/2'], ['user:alice', 'b']);
    expect(await naming(['user:alice', '*'], 'a/1', 2)).toEqual(['a/2', 'a/3']);
    await world.env.DB.prepare("DELETE FROM policy_principals WHERE repository = 'a/3'").run();
    expect(await naming(['user:alice', '*'], 'a/3', 2)).toEqual(['b']);
    expect(await naming(['user:alice', '*'], 'b', 2)).toEqual([]);
  });

  test('equal a filter over all rows, for any principals and page', { tags: 'slow' }, async () => {
    const PRINCIPALS = ['user:a', 'team:a/b', 'organization:a', '*'];
    // Some policies name no principal, some name one, and some name all.
    const rows = NAMES.flatMap((repository, n) =>
      PRINCIPALS.filter((_, bit) => ((n * 7) % 16) & (1 << bit)).map((principal): [string, string] => [principal, repository]),
    );
    await name(...rows);
    const asking = fc.array(fc.constantFrom(...PRINCIPALS, 'user:nobody'), { maxLength: 5 });
    const after = fc.oneof(fc.constant(''), fc.string({ unit: fc.constantFrom(...CHARS), maxLength: 5 }));
    await fc.assert(
      fc.asyncProperty(asking, after, fc.integer({ min: 1, max: 30 }), async (principals, after, limit) => {
        const named = rows.filter(([principal, repository]) => principals.includes(principal) && repository > after);
        const right = [...new Set(named.map(([, repository]) => repository))].sort();
        expect(await naming(principals, after, limit)).toEqual(right.slice(0, limit));
      }),
      { numRuns: 500 },
    );
  });

  test('cost a few rows for each one shown and each principal, however many name others', async () => {
    const alice = { principals: ['user:alice', 'team:acme/dev', '*'] };
    const rows = (principal: string, prefix: string, count: number) =>
      name(...numbered(prefix, count).map((repository): [string, string] => [principal, repository]));
    await rows('user:alice', 'm/', 60);
    await rows('*', 'm/', 60);
    const page = (after = '') => cost((env) => repositoriesNaming(env, alice, { after, limit: 50 }));
    const before = [await page(), await page('m/00030')];
    for (const other of ['user:aaa', 'user:bob', '+', 'zzz']) await rows(other, 'a/', 5000);
    for (const other of ['user:aaa', 'user:bob', '+', 'zzz']) await rows(other, 'm/', 5000);
    // The row that ends a range of the index may be read, which was not there before.
    for (const [n, rowsRead] of [await page(), await page('m/00030')].entries()) {
      expect(rowsRead).toBeLessThanOrEqual((before[n] as number) + 1);
    }
    // Four to find a name, and two for what its policy says.
    expect(before[0]).toBeLessThanOrEqual(6 * 51 * 3);
  });
});

describe('the reach of a user', () => {
  const allow = (repositories: string[], more: Partial<Statement> = {}): Sourced => ({
    from: 'team:acme/dev',
    statement: { effect: 'allow', actions: ['pull'], repositories, ...more },
  });

  function holder(statements: Sourced[], principals = ['user:alice', 'team:acme/dev', '*']): Authority {
    return { subject: 'user:alice', principals, statements, bounds: [] as Sourced[][] } as Authority;
  }

  const reached = (authority: Authority) => reachOf(pullPatterns(authority));

  test('is what their statements name, and the part of their patterns before the first star', () => {
    expect(reached(holder([allow(['acme/api', 'beta/*']), allow(['acme/*/cache/*', 'gamma-*'])]))).toEqual({
      prefixes: ['acme/', 'beta/', 'gamma-'],
      names: ['acme/api'],
    });
  });

  test('is everything if a pattern begins with a star', () => {
    expect(reached(holder([allow(['*/api']), allow(['acme/*'])]))).toEqual({ prefixes: [''], names: [] });
    expect(reached(holder(rolesOf('user:admin', true, ['acme'])))).toEqual({ prefixes: [''], names: [] });
  });

  test('is the organizations that they own and their own namespace', () => {
    expect(reached(holder(rolesOf('user:alice', false, ['beta', 'acme'])))).toEqual({
      prefixes: ['acme/', 'alice/', 'beta/'],
      names: [],
    });
  });

  test('has no prefix within another, which would be searched twice', () => {
    expect(reached(holder([allow(['acme/web-*', 'acme/*', 'acme-x/*', 'acme/*', 'b*', 'beta/*'])])).prefixes).toEqual([
      'acme-x/',
      'acme/',
      'b',
    ]);
  });

  test("excludes denials, other actions than pull, and what repositories' policies say", () => {
    const statements = [
      allow(['a/*'], { effect: 'deny' }),
      allow(['b/*'], { actions: ['push', 'delete'] }),
      ...onRepository('c/x', [allow([], { principals: ['*'] }).statement]),
    ];
    expect(reached(holder(statements))).toEqual({ prefixes: [], names: [] });
  });

  test('together with the repositories that name them covers all that they may pull', () => {
    const patterns = fc.string({ unit: fc.constantFrom(...CHARS, '*'), minLength: 1, maxLength: 4 });
    const own = fc.record({
      effect: fc.constantFrom('allow' as const, 'allow' as const, 'deny' as const),
      actions: fc.constantFrom<RepositoryAction[]>(['pull'], ['pull', 'push'], ['push']),
      repositories: fc.array(fc.oneof(patterns, fc.constantFrom(...NAMES)), { minLength: 1, maxLength: 3 }),
    });
    const lists = fc.array(
      own.map((statement): Sourced => ({ from: 'user:alice', statement })),
      { maxLength: 4 },
    );
    const named = fc.array(fc.tuple(fc.constantFrom(...NAMES), own, fc.constantFrom('*', 'user:alice', 'user:bob')), {
      maxLength: 4,
    });
    fc.assert(
      fc.property(lists, named, (statements, others) => {
        const policies = others.flatMap(([repository, statement, principal]) =>
          onRepository(repository, [{ ...statement, principals: [principal] }]),
        );
        const alice = holder([...statements, ...policies]);
        const naming = others.flatMap(([repository, , principal]) =>
          alice.principals.includes(principal) ? [repository as string] : [],
        );
        const { prefixes, names } = reached(alice);
        const found = (repository: string) =>
          names.includes(repository) || naming.includes(repository) || prefixes.some((prefix) => repository.startsWith(prefix));
        expect(NAMES.filter((repository) => allows(alice, 'pull', repository) && !found(repository))).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });
});
