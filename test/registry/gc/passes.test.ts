/** The saved progress of jobs: only one of two concurrent slices is saved, and the report of a pass is kept until the next. */
import { beforeEach, expect, test, vi } from 'vitest';
import { type Cursor, getPasses, noteProblem, openPass, savePass } from '../../../src/registry/gc/passes.ts';
import { newWorld, type World } from '../../world/world.ts';

interface Report {
  done: number;
}

const FIRST: Cursor = { phase: 'first', after: [''] };
const SECOND: Cursor = { phase: 'second', after: ['x', 3] };

let world: World;
beforeEach(async () => {
  world = await newWorld();
});

const open = () => openPass<Report>(world.env, 'gc', FIRST, { done: 0 });

test('a slice starts where the previous one ended', async () => {
  const pass = await open();
  expect(pass).toMatchObject({ cursor: FIRST, report: { done: 0 } });
  expect(await savePass(world.env, { ...pass, report: { done: 2 } }, SECOND)).toBe(true);
  expect(await open()).toMatchObject({ cursor: SECOND, report: { done: 2 } });
  expect(await getPasses<Report>(world.env, 'gc')).toEqual({
    running: { done: 2, phase: 'second', startedAt: expect.any(Number) },
    finished: null,
  });
  expect(await getPasses<Report>(world.env, 'scrub')).toEqual({ running: null, finished: null });
});

test.each([
  ['goes on', SECOND],
  ['ends', null],
])('of two slices at once the first one counts, and the other cannot undo what it says, where that %s', async (_, cursor) => {
  const [one, other] = [await open(), await open()];
  expect(await savePass(world.env, { ...one, report: { done: 1 } }, SECOND)).toBe(true);
  expect(await savePass(world.env, { ...other, report: { done: 9 } }, cursor)).toBe(false);
  expect(await open()).toMatchObject({ cursor: SECOND, report: { done: 1 } });
  expect((await getPasses<Report>(world.env, 'gc')).finished).toBeNull();
});

test('the report of a pass stays until the next one ends, which starts a new one', async () => {
  expect(await savePass(world.env, { ...(await open()), report: { done: 7 } }, null)).toBe(true);
  const finished = { done: 7, startedAt: expect.any(Number), finishedAt: expect.any(Number) };
  expect(await getPasses<Report>(world.env, 'gc')).toEqual({ running: null, finished });
  const late = await open();
  expect(late).toMatchObject({ cursor: FIRST, report: { done: 0 } });
  expect((await getPasses<Report>(world.env, 'gc')).finished).toEqual(finished);
  await savePass(world.env, { ...late, report: { done: 8 } }, null);
  expect((await getPasses<Report>(world.env, 'gc')).finished).toMatchObject({ done: 8 });
});

test('a report holds at most 50 problems, each once, and the log has them all', () => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => {});
  const report = { problems: [] as string[] };
  for (let n = 0; n < 120; n++) noteProblem(report, `problem ${n >> 1}`);
  expect(report.problems).toHaveLength(50);
  expect(new Set(report.problems).size).toBe(50);
  expect(log).toHaveBeenCalledTimes(120);
});
