/** Requests with which a caller with few rights could cause much work. */
import { beforeEach, expect, test } from 'vitest';
import { counting } from '../world/counting.ts';
import { pushImage } from '../world/images.ts';
import { api } from '../world/people.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

const REPOSITORY = 'acme/api';

let world: World;

beforeEach(async () => {
  world = await newWorld();
});

test('a caller who may not push to a public repository cannot have all its pulls counted', async () => {
  await pushImage(world, REPOSITORY, 'v1', 1);
  const path = `/repositories/${REPOSITORY}`;
  expect((await api(world, 'PATCH', path, { body: { visibility: 'public' } })).status).toBe(200);
  await world.env.DB.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
     INSERT INTO pulls SELECT (SELECT id FROM repositories), 'sha256:' || (i % 250), 20000 + i / 250, 1 FROM n`,
  ).run();
  const { env, counts } = counting(world.env);
  const { status } = await api(worldOf(env), 'GET', `${path}/-/pulls`, { as: null });
  expect(status).toBe(401);
  expect(counts.rowsRead).toBeLessThan(5000);
});
