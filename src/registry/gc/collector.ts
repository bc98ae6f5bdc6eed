/**
 * The garbage collector. A pass goes through the whole registry, phase by phase, in slices that are small enough for one
 * invocation of the Worker. Each DELETE checks its condition again, so a slice can be repeated, and two slices can run at the
 * same time. This file contains the phases that delete references, tag history, pull counts and links to blobs. The other
 * phases are in files of their own.
 */
import { settings } from '../../env.ts';
import { prepare } from '../../events/sql.ts';
import { rebalanceBlobs } from '../usage/counting.ts';
import { recountSums } from '../usage/sums.ts';
import { recountUsage } from '../usage/usage.ts';
import {
  type AlsoPurge,
  type Cursor,
  type GcReport,
  isExhausted,
  messageOf,
  NOTHING_SPENT,
  noteProblem,
  openPass,
  type Pass,
  type Phase,
  read,
  readAll,
  SLICE_BUDGET,
  type Slice,
  type Stores,
  savePass,
} from './passes.ts';
import { REPOSITORIES, TRASH } from './purge.ts';
import { BLOBS, TOMBSTONES } from './tombstones.ts';
import { lookOf, sweep, type Walk, type WalkRow } from './walk.ts';

/**
 * The maximum number of rows that counting the usage may read in every pass. If counting reads more, it is done once a day.
 * `ROWS_PER_BLOB` estimates how many rows counting reads for each blob.
 */
const CHEAP_COUNT = 20_000;
const ROWS_PER_BLOB = 12;
const DAY = 24 * 60 * 60;

interface LastCount {
  blobs: number;
  age: number | null;
}

/**
 * The phase that counts the storage usage of namespaces. It is the last phase, so that it counts only what the other phases
 * left. If counting fails, the next pass repeats it.
 */
const USAGE: Phase<LastCount> = {
  start: [],
  look: (env) =>
    prepare(
      env,
      `SELECT coalesce(sum(blobs), 0) AS blobs, unixepoch() - max(counted_at) FILTER (WHERE namespace = '') AS age FROM usage`,
    ),
  async act({ env, report, rowsLeftToday }, [last]) {
    const rows = (last?.blobs ?? 0) * ROWS_PER_BLOB;
    const isDue = rows <= CHEAP_COUNT || last?.age == null || last.age >= DAY;
    if (isDue && rows <= rowsLeftToday) {
      const failed = (error: unknown) => noteProblem(report, `usage: ${messageOf(error)}`);
      await recountUsage(env)
        .then(() => recountSums(env))
        .catch(failed);
    }
    return null;
  },
};

/**
 * The number of days for which pull counts are kept. Lifecycle rules need only the day of the last pull, and the newest count
 * of an image is kept as long as the image.
 */
const PULL_DAYS = 90;

/**
 * Returns a phase that deletes the rows that a walk finds. The phase adds the number of deleted rows to the field `counted` of
 * the report, unless `counted` is `null`.
 */
function sweeping(
  start: Phase['start'],
  walkOf: (env: Stores) => Walk,
  counted: 'history' | 'pulls' | 'links' | null,
  balance: typeof rebalanceBlobs | null = null,
): Phase<WalkRow> {
  return {
    start,
    look: (env, after) => lookOf(env, walkOf(env), after),
    async act(slice, rows) {
      const { swept, next } = await sweep(slice, walkOf(slice.env), rows, balance);
      if (counted !== null) slice.report[counted satisfies keyof GcReport] += swept;
      return next;
    },
  };
}

/**
 * Deletes references of manifests that were purged from the trash. The references are found in their own table and not in the
 * manifest's document, so a damaged document does no harm.
 */
const REFERENCES = sweeping(
  ['', 0, ''],
  () => ({
    table: 'trashed_references',
    key: ['child', 'repository_id', 'parent'],
    condition: `NOT EXISTS (SELECT 1 FROM trashed_manifests m WHERE m.repository_id = x.repository_id AND m.digest = x.parent)`,
  }),
  null,
  rebalanceBlobs,
);

/** Deletes old rows of the tag history. The newest row of a tag is kept while the tag exists or its name is reserved. */
const HISTORY = sweeping(
  [0, '', 0],
  (env) => ({
    table: 'tag_history',
    key: ['repository_id', 'tag', 'point'],
    condition: `x.at <= unixepoch() - ${settings(env).historyDays * DAY} AND (x.digest IS NULL AND NOT x.reserved
      OR EXISTS (SELECT 1 FROM tag_history h WHERE h.repository_id = x.repository_id AND h.tag = x.tag AND h.point > x.point))`,
  }),
  'history',
);

const SAME_MANIFEST = 'repository_id = x.repository_id AND digest = x.digest';
const MANIFEST_IS_PURGED = `NOT EXISTS (SELECT 1 FROM manifests WHERE ${SAME_MANIFEST})
    AND NOT EXISTS (SELECT 1 FROM trashed_manifests WHERE ${SAME_MANIFEST})`;

/**
 * Deletes old pull counts. The newest count of an image is kept as long as the image, because it has the day of the last pull.
 */
const PULLS = sweeping(
  [0, '', 0],
  () => ({
    table: 'pulls',
    key: ['repository_id', 'digest', 'day'],
    condition: `x.day < unixepoch() / ${DAY} - ${PULL_DAYS}
      AND (EXISTS (SELECT 1 FROM pulls WHERE ${SAME_MANIFEST} AND day > x.day) OR ${MANIFEST_IS_PURGED})`,
  }),
  'pulls',
);

/** Deletes the records of the last HEAD request of manifests that were purged. */
const CHECKS = sweeping(
  [0, ''],
  () => ({ table: 'manifest_checks', key: ['repository_id', 'digest'], condition: MANIFEST_IS_PURGED }),
  'pulls',
);

/**
 * Deletes links between a repository and a blob if no manifest of the repository references the blob, not even one in the
 * trash, and no lease protects the link (invariant 4).
 */
const LINKS = sweeping(
  ['', 0],
  () => ({
    table: 'repository_blobs',
    key: ['digest', 'repository_id'],
    condition: `x.leased_until <= unixepoch()
      AND NOT EXISTS (SELECT 1 FROM manifest_references r WHERE r.repository_id = x.repository_id AND r.child = x.digest)
      AND NOT EXISTS (SELECT 1 FROM trashed_references r WHERE r.child = x.digest AND r.repository_id = x.repository_id)`,
  }),
  'links',
  rebalanceBlobs,
);

/** The phases in the order in which they run. A phase can make rows superfluous that a later phase deletes. */
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
  /** True if the pass is finished. */
  ended: boolean;
  /** The phase with which the next slice continues, or `null` at the end of the pass. */
  phase: string | null;
  /** The totals of the pass up to now. */
  report: GcReport;
}

/** The numbers of rows that the garbage collector may still read and write today (`background/budget.ts`). */
interface RowsLeft {
  rowsRead: number;
  rowsWritten: number;
}

/** The number of steps without a write after which the cursor of the pass is saved. */
const SAVED_AFTER = 5;

/**
 * Runs one slice of the running pass, or starts a new pass. A new pass reads the first rows of all phases in one batch. Usually
 * there is nothing to delete, and the pass ends with this one call.
 */
export async function collectSlice(
  env: Stores,
  alsoPurge: AlsoPurge,
  left: RowsLeft = { rowsRead: Number.POSITIVE_INFINITY, rowsWritten: Number.POSITIVE_INFINITY },
): Promise<Collected> {
  const pass = await openPass<GcReport>(env, 'gc', beginning(0) as Cursor, NOTHING_DONE);
  const budget = {
    statements: SLICE_BUDGET.statements,
    rowsRead: Math.min(SLICE_BUDGET.rowsRead, left.rowsRead),
    rowsWritten: Math.min(SLICE_BUDGET.rowsWritten, left.rowsWritten),
  };
  const slice: Slice = {
    ...{ env, report: pass.report, budget, spent: { ...NOTHING_SPENT } },
    ...{ rowsLeftToday: left.rowsRead, alsoPurge },
  };
  let cursor: Cursor | null = pass.cursor;
  let failure: unknown = null;
  try {
    cursor = await runSteps(slice, pass);
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
 * Runs steps until the budget of the slice is used up. Advances `pass.cursor` after each step. At least one step runs, even if
 * the first reads used up the budget; otherwise the pass might never end.
 */
async function runSteps(slice: Slice, pass: Pass<GcReport>): Promise<Cursor | null> {
  let looks = isBeginning(pass.cursor) ? await firstLooks(slice) : new Map<string, unknown[]>();
  let unsaved = 0;
  do {
    const written = slice.spent.rowsWritten;
    const next = await stepOf(slice, pass.cursor, looks.get(pass.cursor.phase));
    if (next === null) return null;
    // The rows that `firstLooks` read stay valid until a step writes, or until a phase needs a second step.
    if (slice.spent.rowsWritten > written || next.phase === pass.cursor.phase) looks = new Map();
    unsaved += slice.spent.rowsWritten > written ? SAVED_AFTER : looks.size > 0 ? 0 : 1;
    pass.cursor = next;
    if (unsaved < SAVED_AFTER) continue;
    unsaved = 0;
    if (!(await savePass(slice.env, pass, pass.cursor))) break;
  } while (!isExhausted(slice));
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

/**
 * Reads, for each phase, the rows with which its first step begins.
 * @returns the rows, by the name of the phase
 */
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
