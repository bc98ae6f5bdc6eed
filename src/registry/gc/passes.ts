/**
 * Stores the progress of background jobs that go through the whole registry. Such a job runs as passes. A pass consists of
 * slices, each in an invocation of its own. The table `maintenance` has one row per job. The progress is saved by
 * compare-and-swap: if two slices run at the same time, both do their work, which is idempotent, but only the report of the
 * slice that saves first is kept.
 *
 * Each database call is deducted from the budget of the slice. The budget fits an invocation on the free plan (D1, "Limits": 50
 * statements per invocation, 5,000,000 rows read and 100,000 rows written per day).
 */
import type { Env, Vars } from '../../env.ts';
import type { Batch, Results } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import { report } from '../../telemetry.ts';
import { isRefusal } from '../../vocabulary/refusal.ts';

type Reading = Pick<Env, 'DB'>;

type Job = 'gc' | 'scrub';

/** The primary key of the last row, or the key of the last R2 object, that a step has read. */
export type Key = (string | number)[];

export interface Cursor {
  phase: string;
  after: Key;
}

export interface Pass<R> {
  job: Job;
  cursor: Cursor;
  report: R;
  version: number;
}

/** Returns the running pass of a job. Starts a new pass if none is running. */
export async function openPass<R>(env: Reading, job: Job, first: Cursor, report: R): Promise<Pass<R>> {
  const [, found] = await env.DB.batch<{ cursor: string; report: string; version: number }>([
    prepare(
      env,
      `INSERT INTO maintenance (job, cursor, started_at, report) VALUES (:job, :cursor, unixepoch(), :report)
       ON CONFLICT DO UPDATE SET cursor = :cursor, started_at = unixepoch(), report = :report, version = version + 1
       WHERE cursor = ''`,
      { job, cursor: JSON.stringify(first), report: JSON.stringify(report) },
    ),
    prepare(env, 'SELECT cursor, report, version FROM maintenance WHERE job = :job', { job }),
  ]);
  const row = found?.results[0];
  if (!row) throw new Error(`the table maintenance has no row for ${job}`);
  return { job, version: row.version, cursor: JSON.parse(row.cursor) as Cursor, report: JSON.parse(row.report) as R };
}

/**
 * Saves the progress of a slice. Jobs call this after each step that changed something, because an invocation can be killed at
 * any moment.
 * @param cursor the position at which the next slice continues, or `null` if the pass is finished
 * @returns false if another slice of the same pass saved its progress first. The caller must then stop
 */
export async function savePass<R>(env: Reading, pass: Pass<R>, cursor: Cursor | null): Promise<boolean> {
  const { job, report, version } = pass;
  const change = cursor
    ? 'cursor = :cursor, report = :report'
    : `cursor = '', report = '{}', finished = json_set(:report, '$.startedAt', started_at, '$.finishedAt', unixepoch())`;
  const saving = prepare(
    env,
    `UPDATE maintenance SET ${change}, version = version + 1 WHERE job = :job AND version = :version RETURNING job`,
    { job, version, cursor: JSON.stringify(cursor), report: JSON.stringify(report) },
  );
  const saved = (await saving.first()) !== null;
  if (saved) pass.version += 1;
  return saved;
}

/** Returns a SELECT that yields a row if a pass of the job is running. */
export function runningPass(env: Reading, job: Job): D1PreparedStatement {
  return prepare(env, "SELECT 1 FROM maintenance WHERE job = :job AND cursor <> ''", { job });
}

export interface Passes<R> {
  running: (R & { startedAt: number; phase: string }) | null;
  finished: (R & { startedAt: number; finishedAt: number }) | null;
}

export async function getPasses<R>(env: Reading, job: Job): Promise<Passes<R>> {
  const row = await prepare(env, 'SELECT cursor, started_at, report, finished FROM maintenance WHERE job = :job', {
    job,
  }).first<{ cursor: string; started_at: number; report: string; finished: string | null }>();
  const finished = row?.finished ? (JSON.parse(row.finished) as NonNullable<Passes<R>['finished']>) : null;
  if (!row || row.cursor === '') return { running: null, finished };
  const { phase } = JSON.parse(row.cursor) as Cursor;
  return { running: { ...(JSON.parse(row.report) as R), startedAt: row.started_at, phase }, finished };
}

/** The maximum number of problems in a report. The Worker's log has all of them. */
const MAX_PROBLEMS = 50;

export function noteProblem({ problems }: { problems: string[] }, problem: string): void {
  report('maintenance.problem', { message: problem });
  if (problems.length < MAX_PROBLEMS && !problems.includes(problem)) problems.push(problem);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars;

export interface Budget {
  statements: number;
  rowsRead: number;
  rowsWritten: number;
}

export const NOTHING_SPENT: Budget = { statements: 0, rowsRead: 0, rowsWritten: 0 };

/**
 * The default budget of a slice. Once one of these numbers is reached, no further step begins. A step costs up to 17
 * statements, 3,000 rows read and 500 rows written. There are 144 slices a day, so users have most of the free plan's daily
 * limits.
 */
export const SLICE_BUDGET: Budget = { statements: 20, rowsRead: 10_000, rowsWritten: 300 };

/** The totals of a pass of the garbage collector. */
export interface GcReport {
  /** The number of trash entries that were purged. */
  purged: number;
  /** The number of deleted rows of the tag history. */
  history: number;
  /** The number of deleted rows of pull counts and manifest checks. */
  pulls: number;
  /** The number of deleted links between a repository and a blob. */
  links: number;
  /** The number of deleted blobs, and their total size in bytes. */
  blobs: number;
  bytes: number;
  /** The number of deleted R2 objects. */
  objects: number;
  problems: string[];
}

/** Adds statements of other modules to the batch that deletes the last rows of a purged repository. */
export type AlsoPurge = (batch: Batch, repositoryId: number) => void;

export interface Slice {
  env: Stores;
  report: GcReport;
  spent: Budget;
  budget: Budget;
  /** The number of rows that the job may still read today (`background/budget.ts`). */
  rowsLeftToday: number;
  alsoPurge: AlsoPurge;
}

/**
 * A kind of work of the garbage collector, done in steps. A step first reads the rows after a key (`look`) and then changes
 * them (`act`). These are two functions, so that a new pass can read the first rows of all phases in one batch.
 */
export interface Phase<Row = unknown> {
  start: Key;
  /** Returns the statement that reads the rows of a step, or `null` if there is nothing to do. */
  look(env: Stores, after: Key): D1PreparedStatement | null;
  /** Changes the rows that `look` read. Returns the key after which the next step begins, or `null` at the end of the phase. */
  act(slice: Slice, rows: Row[], after: Key): Promise<Key | null>;
}

export function isExhausted({ spent, budget = SLICE_BUDGET }: { spent: Budget; budget?: Budget }): boolean {
  return spent.statements >= budget.statements || spent.rowsRead >= budget.rowsRead || spent.rowsWritten >= budget.rowsWritten;
}

/** Runs several SELECT statements in one D1 call. They are deducted from the budget as one statement. */
export async function readAll(
  { env, spent }: Pick<Slice, 'env' | 'spent'>,
  statements: D1PreparedStatement[],
): Promise<unknown[][]> {
  if (statements.length === 0) return [];
  const results = await env.DB.batch(statements);
  spent.statements += 1;
  for (const { meta } of results) count(spent, { read: meta.rows_read, written: meta.rows_written });
  return results.map((result) => result.results);
}

export async function read<T>({ spent }: { spent: Budget }, statement: D1PreparedStatement): Promise<T[]> {
  const { results, meta } = await statement.all<T>();
  spent.statements += 1;
  count(spent, { read: meta.rows_read, written: meta.rows_written });
  return results;
}

/**
 * Commits a batch. Returns `null` if the batch fails with `overtaken`, that is, if another request changed the same rows
 * meanwhile. A later step then reads the rows again.
 */
export async function write({ spent }: Slice, batch: Batch): Promise<Results | null> {
  spent.statements += batch.size;
  try {
    const results = await batch.commit();
    count(spent, results.rows);
    return results;
  } catch (error) {
    if (isRefusal(error, 'overtaken')) return null;
    throw error;
  }
}

function count(spent: Budget, rows: Results['rows']): void {
  spent.rowsRead += rows.read;
  spent.rowsWritten += rows.written;
}
