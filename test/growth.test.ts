/** Requests whose cost must not grow with rows that they do not concern. `npm run bench:scale` looks for such requests. */
import { beforeEach, describe, expect, test } from 'vitest';
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

/** Gives repositories of acme a policy that names somebody else. */
async function policiesOfOthers(): Promise<void> {
  const numbers = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${MANY}) SELECT`;
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
