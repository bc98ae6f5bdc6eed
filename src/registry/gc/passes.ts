/**
 * The progress of a job that goes through the whole registry in slices: one row of `maintenance`. A slice is saved by
 * compare-and-swap. Two slices at once may both do their work, which is idempotent, but only the report of the first is kept.
 *
 * A slice has a budget that database calls count against. It fits an invocation of the free plan (D1, "Limits": 50 statements
 * an invocation, 5,000,000 rows read and 100,000 written a day).
 */
import type { Env, Vars } from '../../env.ts';
import type { Batch, Results } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import { report } from '../../telemetry.ts';
import { isRefusal } from '../../vocabulary/refusal.ts';

type Reading = Pick<Env, 'DB'>;

type Job = 'gc' | 'scrub';

/** A primary key, or the key of an R2 object: the last one that a step looked at. */
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

/** Returns the running pass, or begins a new one. */
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
 * Saves the progress of a slice. Called after each step that did something, because an invocation can be killed at any moment.
 * @param cursor where the next slice continues; `null`: the pass is finished
 * @returns `false` if another slice has saved since; this one must stop
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

/** A statement that yields a row if a pass of the job is running. */
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

/** Problems that a report keeps; the log has them all. */
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
 * No further step begins once one of these numbers is reached. A step costs up to 17 statements, 3,000 rows read and 500 rows
 * written. A day has 144 slices: together they leave most of the free plan's day to users.
 */
export const SLICE_BUDGET: Budget = { statements: 20, rowsRead: 10_000, rowsWritten: 300 };

/** Totals of a pass. */
export interface GcReport {
  /** Purged entries of the trash. */
  purged: number;
  /** Deleted rows of the tag history. */
  history: number;
  /** Deleted rows of pull counts and manifest checks. */
  pulls: number;
  /** Deleted links between a repository and a blob. */
  links: number;
  /** Deleted blobs, and their bytes. */
  blobs: number;
  bytes: number;
  /** Deleted R2 objects. */
  objects: number;
  problems: string[];
}

/** Adds the steps of other modules to the batch that deletes the last rows of a purged repository. */
export type AlsoPurge = (batch: Batch, repositoryId: number) => void;

export interface Slice {
  env: Stores;
  report: GcReport;
  spent: Budget;
  budget: Budget;
  /** Rows that the job may still read today. */
  rowsLeftToday: number;
  alsoPurge: AlsoPurge;
}

/**
 * One kind of work, in steps. A step first looks at the rows after a key, then acts on them. The two are separate so that a
 * pass can look at the first rows of all phases in one batch.
 */
export interface Phase<Row = unknown> {
  start: Key;
  /** `null`: there is nothing to look at. */
  look(env: Stores, after: Key): D1PreparedStatement | null;
  /** Returns the key after which the next step continues; `null` at the end. */
  act(slice: Slice, rows: Row[], after: Key): Promise<Key | null>;
}

export function isExhausted({ spent, budget = SLICE_BUDGET }: { spent: Budget; budget?: Budget }): boolean {
  return spent.statements >= budget.statements || spent.rowsRead >= budget.rowsRead || spent.rowsWritten >= budget.rowsWritten;
}

/** Reads with several statements. They are one call to D1 and count as one statement. */
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

/** Commits a batch. Returns `null` if a concurrent change refused it; a later step looks again. */
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
