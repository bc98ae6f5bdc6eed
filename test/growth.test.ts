/** Requests whose cost must not grow with rows that they do not concern. `npm run bench:scale` looks for such requests. */
import { beforeEach, describe, expect, test } from 'vitest';
import { expireLogins } from '../src/auth/logins.ts';
import { runScheduled } from '../src/cron.ts';
import { counting } from './world/counting.ts';
import { api } from './world/people.ts';
import { newWorld, type World, worldOf } from './world/world.ts';

const MANY = 200;

let world: World;
beforeEach(async () => {
  world = await newWorld();
  await api(world, 'PUT', '/organizations/acme', { body: {} });
});

/** Sends a request to the API. @returns the number of rows that it reads */
async function rowsOf(method: string, path: string): Promise<number> {
  const { env, counts } = counting(world.env);
  const { status, body } = await api(worldOf(env), method, path);
  expect(status, JSON.stringify(body)).toBeLessThan(300);
  return counts.rowsRead;
}

/** SQL: the beginning of a SELECT from `n`, which has the numbers from 1 to `count` in its column `i`. */
function numbersTo(count: number): string {
  return `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count}) SELECT`;
}

/** Gives repositories of acme a policy that names somebody else. */
async function policiesOfOthers(): Promise<void> {
  const numbers = numbersTo(MANY);
  const statements = `'[{"effect":"allow","actions":["pull"],"repositories":["acme/app"],"principals":["user:other"]}]'`;
  await world.env.DB.batch([
    world.env.DB.prepare(
      `INSERT INTO policies (subject, statements) ${numbers} 'repository:acme/app-' || i, ${statements} FROM n`,
    ),
    world.env.DB.prepare(
      `INSERT INTO policy_principals (principal, repository, pull) ${numbers} 'user:other', 'acme/app-' || i, 1 FROM n`,
    ),
  ]);
}

describe('the deletion of', () => {
  test.each(['teams', 'robots'])('%s reads no policies of repositories that do not name it', async (kind) => {
    for (const name of ['one', 'two']) await api(world, 'PUT', `/organizations/acme/${kind}/${name}`, { body: {} });
    const rows = await rowsOf('DELETE', `/organizations/acme/${kind}/one`);
    await policiesOfOthers();
    expect(await rowsOf('DELETE', `/organizations/acme/${kind}/two`)).toBeLessThan(rows + 10);
  });
});

test('a search that finds nothing reads each name once, however many repositories are public', async () => {
  const [count, open] = [2000, 1500];
  const policy = `'[{"effect":"allow","actions":["pull"],"repositories":["acme/app"],"principals":["*"]}]'`;
  await world.env.DB.batch(
    [
      `INSERT INTO repositories (name, created_at) ${numbersTo(count)} printf('acme/app-%05d', i), 0 FROM n`,
      `INSERT INTO policies (subject, statements) ${numbersTo(open)} printf('repository:acme/app-%05d', i), ${policy} FROM n`,
      `INSERT INTO policy_principals (principal, repository, pull) ${numbersTo(open)} '*', printf('acme/app-%05d', i), 1 FROM n`,
    ].map((sql) => world.env.DB.prepare(sql)),
  );
  expect(await rowsOf('GET', '/repositories?search=nothing')).toBeLessThan(7 * count);
});

test('the expiry of logins reads a bounded number of them', async () => {
  await world.env.DB.prepare(
    `INSERT INTO logins (id, subject, expires_at) ${numbersTo(8000)} lower(hex(randomblob(16))), 'user:a', unixepoch() + 60 FROM n`,
  ).run();
  const { env, counts } = counting(world.env);
  await expireLogins(env, 1000);
  expect(counts.rowsRead).toBeLessThan(6000);
});

test('a registry without a limit of background jobs deletes thousands of old events in an hour', async () => {
  await world.env.DB.batch(
    [
      `INSERT INTO events (at, type, about, sequence, target, actor) ${numbersTo(4000)} 1, 'tag.pushed', 'acme/old', i, '{}', 'user:a' FROM n`,
      'INSERT OR REPLACE INTO match_cursor (one, event) SELECT 1, max(id) + 1 FROM events',
    ].map((sql) => world.env.DB.prepare(sql)),
  );
  const env = { ...world.env, BACKGROUND_ROWS_WRITTEN: '0', BACKGROUND_ROWS_READ: '0' };
  await runScheduled(env, Date.UTC(2026, 0, 1, 0, 47));
  const left = await world.env.DB.prepare("SELECT count(*) AS n FROM events WHERE about = 'acme/old'").first('n');
  expect(left).toBe(1);
});
