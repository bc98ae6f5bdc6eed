/**
 * The progress of a job that goes through the whole registry in slices: one row of `maintenance`. A slice is saved by
 * compare-and-swap. Two slices at once may both do their work, which is idempotent, but only the report of the first is kept.
 */
import type { Env } from '../../env.ts';
import { prepare } from '../../events/sql.ts';
import { report } from '../../telemetry.ts';

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
