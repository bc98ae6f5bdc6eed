/**
 * The garbage collector: one pass goes through everything, phase by phase, in slices that fit an invocation. Whatever it does can
 * be done twice, and by two at once, as each statement that takes something away asks once more whether it may.
 */
import { recountUsage } from '../usage/usage.ts';
import { type Cursor, messageOf, noteProblem, openPass, savePass } from './passes.ts';
import { TRASH } from './purge.ts';
import { REPOSITORIES } from './purge-repository.ts';
import { type GcReport, isSpent, NOTHING_SPENT, type Phase, type Slice, type Stores } from './slice.ts';
import { CHECKS, HISTORY, LINKS, PULLS, REFERENCES } from './sweeps.ts';
import { BLOBS, TOMBSTONES } from './tombstones.ts';

/** What is not needed any more is counted no more. A count that fails is for the next pass: this one has done its work. */
const USAGE: Phase = {
  start: [],
  async step({ env, report }) {
    await recountUsage(env).catch((error: unknown) => noteProblem(report, `usage: ${messageOf(error)}`));
    return null;
  },
};

/** In this order, each makes work for the next. */
const PHASES: [name: string, phase: Phase][] = [
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
];

const NOTHING_DONE: GcReport = { purged: 0, history: 0, pulls: 0, links: 0, blobs: 0, bytes: 0, objects: 0, problems: [] };

export interface Collected {
  /** Whether the pass came to its end with this slice. */
  ended: boolean;
  /** What the next slice goes on with; `null` at the end of the pass. */
  phase: string | null;
  /** Of the pass so far. */
  report: GcReport;
}

/**
 * One slice. Begins a pass where none is under way.
 * @param also statements of other rooms for the batch with which the last of a deleted repository goes: what they keep under its id
 */
export async function collectSlice(env: Stores, also: Slice['also']): Promise<Collected> {
  const pass = await openPass<GcReport>(env, 'gc', beginning(0) as Cursor, NOTHING_DONE);
  const slice: Slice = { env, report: pass.report, spent: { ...NOTHING_SPENT }, also };
  let cursor: Cursor | null = pass.cursor;
  let failure: unknown = null;
  try {
    while (cursor && !isSpent(slice)) cursor = await stepOf(slice, cursor);
  } catch (error) {
    failure = error;
    noteProblem(slice.report, `${cursor?.phase}: ${messageOf(error)}`);
  }
  await savePass(env, pass, cursor);
  if (failure) throw failure;
  return { ended: cursor === null, phase: cursor?.phase ?? null, report: slice.report };
}

async function stepOf(slice: Slice, { phase, after }: Cursor): Promise<Cursor | null> {
  const at = PHASES.findIndex(([name]) => name === phase);
  const next = at < 0 ? null : await PHASES[at]?.[1].step(slice, after);
  return next ? { phase, after: next } : beginning(at + 1);
}

function beginning(at: number): Cursor | null {
  const entry = PHASES[at];
  return entry ? { phase: entry[0], after: entry[1].start } : null;
}
