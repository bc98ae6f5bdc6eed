/** The budget of background jobs: costs are counted as the database reports them, and no job spends more than its share. */
import fc from 'fast-check';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { type Cost, type Day, leftFor, NO_COST, totalOf, usedUp } from '../../src/background/budget.ts';
import { runScheduled } from '../../src/cron.ts';
import type { Env } from '../../src/env.ts';
import { JOBS, type Job } from '../../src/vocabulary/jobs.ts';
import { counting } from '../world/counting.ts';
import { noise, pushBlob, pushImage } from '../world/images.ts';
import { api, refused } from '../world/people.ts';
import { newWorld, type World, worldOf } from '../world/world.ts';

const HOUR = 3_600_000;
const RUN = 600_000;
/** The time of the first run of the schedule in an hour. */
const hour = Math.ceil(Date.now() / HOUR) * HOUR + 7 * 60_000;

let world: World;

beforeEach(async () => {
  vi.spyOn(console, 'warn').mockImplementation(() => undefined);
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  world = await newWorld();
});

interface Budget {
  budget: Record<keyof Cost, number | null>;
  spent: Cost;
  jobs: { job: Job; spent: Cost; left: Record<keyof Cost, number | null>; stopped: string | null }[];
  resetsAt: string;
}

const budget = async () => (await api<Budget>(world, 'GET', '/budget')).body;

/** Creates blobs that nothing needs. */
async function garbage(count: number): Promise<void> {
  await world.env.DB.prepare(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
     INSERT INTO blobs SELECT 'sha256:' || printf('%064d', i), 1, 'blobs/sha256/x/' || i, 0, NULL FROM n`,
  )
    .bind(count)
    .run();
}

/** Runs all runs of the schedule of one day. @returns the cost of all of them */
async function aDay(env: Env, runs = 144): Promise<Cost> {
  const { env: counted, counts } = counting(env);
  for (let n = 0; n < runs; n++) await runScheduled(counted, hour + n * RUN);
  return { ...NO_COST, rowsRead: counts.rowsRead, rowsWritten: counts.rowsWritten };
}

describe('a day of the schedule', () => {
  test.each([
    ['rows written', { BACKGROUND_ROWS_WRITTEN: '3000' }, 'rowsWritten', 3000],
    ['rows read', { BACKGROUND_ROWS_READ: '30000' }, 'rowsRead', 30_000],
  ] as const)('with more garbage than fits ends within its %s', { tags: 'slow' }, async (name, vars, resource, limit) => {
    world = await newWorld(vars);
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    await garbage(6000);
    const cost = await aDay(world.env);
    // The limit may be exceeded by one slice, and by one check of the budget in each run.
    expect(cost[resource]).toBeLessThan(limit * 1.1 + 144 * 8);
    expect(cost[resource]).toBeGreaterThan(limit / 5);
    const { spent, jobs } = await budget();
    expect(spent[resource]).toBeLessThan(limit * 1.1);
    const { stopped } = jobs.find(({ job }) => job === 'collector') ?? {};
    expect(stopped).toMatch(new RegExp(`has no ${name} left for the collector: \\d+ of ${limit} are used, .* after 00:00 UTC`));
    expect(warn.mock.calls.flat()).toContainEqual(expect.stringContaining(`has no ${name} left for the collector`));
  });

  test('is counted like the database counts it', async () => {
    await pushImage(world, 'acme/api', 'v1');
    await garbage(500);
    const cost = await aDay(world.env, 12);
    const { spent } = await budget();
    // The check at the beginning of a run is not charged to any job.
    expect(spent.rowsWritten).toBe(cost.rowsWritten);
    expect(cost.rowsRead - spent.rowsRead).toBeLessThan(12 * 30);
    expect(spent.rowsRead).toBeLessThanOrEqual(cost.rowsRead);
  });

  test('leaves other jobs their shares: logins are removed and uploads expire while garbage waits', {
    tags: 'slow',
  }, async () => {
    world = await newWorld({ BACKGROUND_ROWS_WRITTEN: '2000' });
    await garbage(6000);
    await aDay(world.env, 30);
    await world.env.DB.prepare("INSERT INTO logins (id, subject, expires_at) VALUES ('x', 'user:x', 1)").run();
    await aDay(world.env, 6);
    expect(await world.env.DB.prepare('SELECT count(*) AS n FROM logins').first('n')).toBe(0);
    expect(await world.env.DB.prepare('SELECT count(*) AS n FROM blobs').first('n')).toBeGreaterThan(4000);
  });

  test('starts with the whole budget: yesterday is another row', { tags: 'slow' }, async () => {
    world = await newWorld({ BACKGROUND_ROWS_WRITTEN: '1000' });
    await garbage(6000);
    await aDay(world.env, 30);
    await world.env.DB.prepare('UPDATE background_days SET day = day - 1').run();
    expect((await budget()).spent).toEqual(NO_COST);
    const before = await world.env.DB.prepare('SELECT count(*) AS n FROM blobs').first<number>('n');
    await aDay(world.env, 12);
    expect(await world.env.DB.prepare('SELECT count(*) AS n FROM blobs').first('n')).toBeLessThan(before ?? 0);
    await world.env.DB.prepare('UPDATE background_days SET day = day - 20').run();
    await aDay(world.env, 6);
    expect(await world.env.DB.prepare('SELECT count(*) AS n FROM background_days').first('n')).toBe(1);
  });

  test('is unlimited if the setting is 0', { tags: 'slow' }, async () => {
    world = await newWorld({ BACKGROUND_ROWS_WRITTEN: '0', BACKGROUND_ROWS_READ: '0', BACKGROUND_QUEUE_OPERATIONS: '0' });
    await garbage(3000);
    await aDay(world.env, 40);
    expect(await world.env.DB.prepare('SELECT count(*) AS n FROM blobs').first('n')).toBe(0);
    expect((await budget()).budget).toEqual({ rowsRead: null, rowsWritten: null, queueOperations: null });
  });
});

test('the cost of a job is saved during the job, so the cost of a job that is cut off counts', async () => {
  await garbage(3000);
  const cutOff = new Error('cut off');
  let batches = 0;
  const DB = new Proxy(world.env.DB, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (name !== 'batch') return typeof value === 'function' ? value.bind(target) : value;
      return (statements: D1PreparedStatement[]) => {
        // The run stops in the middle of the collector, as if the runtime had ended it.
        if (++batches > 5) return new Promise(() => undefined);
        return target.batch(statements);
      };
    },
  });
  await Promise.race([
    runScheduled({ ...world.env, DB }, hour),
    new Promise((_, reject) => setTimeout(() => reject(cutOff), 3000)),
  ]).catch((error: unknown) => expect(error).toBe(cutOff));
  expect((await budget()).spent.rowsWritten).toBeGreaterThan(100);
});

describe('work that somebody requests', () => {
  test('counts like scheduled work, and is refused with a message if the budget is used up, unless forced', async () => {
    world = await newWorld({ BACKGROUND_ROWS_WRITTEN: '3000' });
    await garbage(3000);
    let answer = await api<{ pass: string }>(world, 'POST', '/gc');
    for (let n = 0; n < 30 && answer.status === 200; n++) answer = await api<{ pass: string }>(world, 'POST', '/gc');
    expect(refused(answer)).toBe('429 TOOMANYREQUESTS');
    expect(answer.body).toMatchObject({ errors: [{ message: expect.stringContaining('With force=true it is done now') }] });
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await api(world, 'POST', '/scrub')).status, 'the scrub has a share of its own').toBe(200);
    const before = (await budget()).spent.rowsWritten;
    expect((await api(world, 'POST', '/gc?force=true')).status).toBe(200);
    expect((await budget()).spent.rowsWritten).toBeGreaterThan(before);
  });
});

test('a sent message counts as three operations, and none is sent above the budget', { tags: 'slow' }, async () => {
  world = await newWorld({ BACKGROUND_QUEUE_OPERATIONS: '12' });
  const { EVENTS } = world.env as unknown as { EVENTS: { sent: number; held: unknown[] } };
  for (let n = 0; n < 10; n++) {
    await pushBlob(world, 'acme/api', noise(100, n + 1));
    await pushImage(world, 'acme/api', `v${n}`, n + 1);
    const before = EVENTS.sent;
    await world.env.DB.prepare('UPDATE events SET at = unixepoch()').run();
    await runScheduled(worldOf(world.env).env, hour + n * RUN);
    if (n >= 4) expect(EVENTS.sent, 'matched without a message').toBe(before);
    await world.env.DB.prepare('DELETE FROM match_cursor').run();
  }
  expect((await budget()).spent.queueOperations).toBeLessThanOrEqual(12);
});

describe('what is left for a job', () => {
  const cost = fc.record({ rowsRead: fc.nat(2000), rowsWritten: fc.nat(2000), queueOperations: fc.nat(2000) });
  const spent = fc.dictionary(fc.constantFrom(...JOBS), cost) as fc.Arbitrary<Day['spent']>;
  const all = fc.record({ rowsRead: fc.nat(10_000), rowsWritten: fc.nat(10_000), queueOperations: fc.nat(10_000) });

  test('is never more than the rest of the budget or of its share, and never taken from unused shares of others', () => {
    fc.assert(
      fc.property(all, spent, (limit, used) => {
        const day: Day = { budget: limit, spent: used };
        for (const job of JOBS) {
          const left = leftFor(day, job);
          expect(left.rowsWritten).toBeLessThanOrEqual(
            Math.max(limit.rowsWritten - totalOf(day).rowsWritten, Math.floor(limit.rowsWritten / 5)),
          );
          // Whatever part of that the job spends, every other job still has its own share.
          const after: Day = {
            budget: limit,
            spent: { ...used, [job]: { ...NO_COST, rowsWritten: (used[job]?.rowsWritten ?? 0) + left.rowsWritten } },
          };
          for (const other of JOBS.filter((one) => one !== job)) {
            const share = Math.floor(limit.rowsWritten / 20) - (used[other]?.rowsWritten ?? 0);
            const had = leftFor(day, other).rowsWritten;
            expect(leftFor(after, other).rowsWritten).toBeGreaterThanOrEqual(Math.min(had, share));
          }
        }
      }),
    );
  });

  test('is its whole share for the last one, however much the others have spent', () => {
    const limit = { rowsRead: 1000, rowsWritten: 1000, queueOperations: 1000 };
    const day: Day = { budget: limit, spent: { collector: { rowsRead: 600, rowsWritten: 600, queueOperations: 0 } } };
    expect(usedUp(day, 'collector')).toContain('rows written');
    expect(usedUp(day, 'deliveries')).toBeNull();
    expect(leftFor(day, 'deliveries').rowsWritten).toBe(150);
  });
});
