/**
 * The garbage collector: one pass goes through everything, phase by phase, in slices that fit an invocation. Whatever it does can
 * be done twice, and by two at once, as each statement that takes something away asks once more whether it may.
 */
import { recountUsage } from '../usage/usage.ts';
import { type Cursor, messageOf, noteProblem, openPass, type Pass, savePass } from './passes.ts';
import { TRASH } from './purge.ts';
import { REPOSITORIES } from './purge-repository.ts';
import { ENOUGH, type GcReport, isSpent, NOTHING_SPENT, type Phase, read, readAll, type Slice, type Stores } from './slice.ts';
import { CHECKS, HISTORY, LINKS, PULLS, REFERENCES } from './sweeps.ts';
import { BLOBS, TOMBSTONES } from './tombstones.ts';

/** Rows that a count may read to be made in every pass; a larger one is made once a day. It reads some six rows for each blob. */
const CHEAP_COUNT = 20_000;
const ROWS_PER_BLOB = 6;
const DAY = 24 * 60 * 60;

interface Counted {
  blobs: number;
  age: number | null;
}

/** What is not needed any more is counted no more. A count that fails is for the next pass: this one has done its work. */
const USAGE: Phase<Counted> = {
  start: [],
  look: (env) =>
    env.DB.prepare(
      `SELECT coalesce(sum(blobs), 0) AS blobs, unixepoch() - max(counted_at) FILTER (WHERE namespace = '') AS age FROM usage`,
    ),
  async act({ env, report, enough }, [last]) {
    const rows = (last?.blobs ?? 0) * ROWS_PER_BLOB;
    const isDue = rows <= CHEAP_COUNT || last?.age == null || last.age >= DAY;
    if (isDue && rows <= enough.left) {
      await recountUsage(env).catch((error: unknown) => noteProblem(report, `usage: ${messageOf(error)}`));
    }
    return null;
  },
};

/** In this order, each makes work for the next. */
const PHASES = [
  ['trash', TRASH],
  ['repositories', REPOSITORIES],
  ['references', REFERENCES],
  ['history', HISTORY],
  ['pulls', PULLS],
  ['checks', CHECKS],
  ['links', LINKS],
  ['blobs', BLOBS],
  ['tombstones', TOMBSTONES],
  ['usage', USAGE],
] as [name: string, phase: Phase][];

const NOTHING_DONE: GcReport = { purged: 0, history: 0, pulls: 0, links: 0, blobs: 0, bytes: 0, objects: 0, problems: [] };

export interface Collected {
  /** Whether the pass came to its end with this slice. */
  ended: boolean;
  /** What the next slice goes on with; `null` at the end of the pass. */
  phase: string | null;
  /** Of the pass so far. */
  report: GcReport;
}

/** Rows that the job may still read and write today. */
export interface Allowance {
  rowsRead: number;
  rowsWritten: number;
}

/** Steps that only look, after which it is saved how far a slice has come. */
const SAVED_AFTER = 5;

/**
 * One slice. Begins a pass where none is under way, with a look at the first rows of all phases at once: mostly there is nothing to
 * do in any.
 * @param also statements of other rooms for the batch with which the last of a deleted repository goes: what they keep under its id
 * @param left what it may still spend
 */
export async function collectSlice(
  env: Stores,
  also: Slice['also'],
  left: Allowance = { rowsRead: Number.POSITIVE_INFINITY, rowsWritten: Number.POSITIVE_INFINITY },
): Promise<Collected> {
  const pass = await openPass<GcReport>(env, 'gc', beginning(0) as Cursor, NOTHING_DONE);
  const enough = {
    statements: ENOUGH.statements,
    rowsRead: Math.min(ENOUGH.rowsRead, left.rowsRead),
    rowsWritten: Math.min(ENOUGH.rowsWritten, left.rowsWritten),
    left: left.rowsRead,
  };
  const slice: Slice = { env, report: pass.report, spent: { ...NOTHING_SPENT }, enough, also };
  let cursor: Cursor | null = pass.cursor;
  let failure: unknown = null;
  try {
    cursor = await goThrough(slice, pass);
  } catch (error) {
    failure = error;
    cursor = pass.cursor;
    noteProblem(slice.report, `${cursor.phase}: ${messageOf(error)}`);
  }
  await savePass(env, pass, cursor);
  if (failure) throw failure;
  return { ended: cursor === null, phase: cursor?.phase ?? null, report: slice.report };
}

/**
 * Step by step until enough is spent. `pass.cursor` is where it stands. A slice makes at least one step: the looks that come first may
 * spend it all, and a pass that only ever looks would not end.
 */
async function goThrough(slice: Slice, pass: Pass<GcReport>): Promise<Cursor | null> {
  let looks = isBeginning(pass.cursor) ? await firstLooks(slice) : new Map<string, unknown[]>();
  let unsaved = 0;
  do {
    const written = slice.spent.rowsWritten;
    const next = await stepOf(slice, pass.cursor, looks.get(pass.cursor.phase));
    if (next === null) return null;
    // What was looked at beforehand holds as long as nothing has changed.
    if (slice.spent.rowsWritten > written || next.phase === pass.cursor.phase) looks = new Map();
    unsaved += slice.spent.rowsWritten > written ? SAVED_AFTER : looks.size > 0 ? 0 : 1;
    pass.cursor = next;
    if (unsaved < SAVED_AFTER) continue;
    unsaved = 0;
    if (!(await savePass(slice.env, pass, pass.cursor))) break;
  } while (!isSpent(slice));
  return pass.cursor;
}

async function stepOf(slice: Slice, { phase, after }: Cursor, looked: unknown[] | undefined): Promise<Cursor | null> {
  const at = PHASES.findIndex(([name]) => name === phase);
  const work = PHASES[at]?.[1];
  const look = looked ? null : work?.look(slice.env, after);
  const rows = looked ?? (look ? await read(slice, look) : null);
  const next = rows && work ? await work.act(slice, rows, after) : null;
  return next ? { phase, after: next } : beginning(at + 1);
}

/** By phase, what its first step finds now. */
async function firstLooks(slice: Slice): Promise<Map<string, unknown[]>> {
  const looks = PHASES.flatMap(([name, phase]) => {
    const look = phase.look(slice.env, phase.start);
    return look ? [{ name, look }] : [];
  });
  const found = await readAll(
    slice,
    looks.map(({ look }) => look),
  );
  return new Map(looks.map(({ name }, n) => [name, found[n] ?? []]));
}

function isBeginning({ phase, after }: Cursor): boolean {
  return phase === PHASES[0]?.[0] && JSON.stringify(after) === JSON.stringify(PHASES[0][1].start);
}

function beginning(at: number): Cursor | null {
  const entry = PHASES[at];
  return entry ? { phase: entry[0], after: entry[1].start } : null;
}
