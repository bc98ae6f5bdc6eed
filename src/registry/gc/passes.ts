/**
 * Where a job stands that goes through everything in slices: its row of `maintenance`. A slice is saved by compare-and-swap: of
 * two at once both do their work, which does no harm when it is done twice, and one's report counts.
 */
import type { Env } from '../../env.ts';
import { report } from '../../telemetry.ts';

type Reading = Pick<Env, 'DB'>;

export type Job = 'gc' | 'scrub';

/** The primary key of the row, or the key of the object, that the slice before ended with. */
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

/** The pass that is under way; where there is none, a new one begins. */
export async function openPass<R>(env: Reading, job: Job, first: Cursor, report: R): Promise<Pass<R>> {
  const [, found] = await env.DB.batch<{ cursor: string; report: string; version: number }>([
    env.DB.prepare(
      `INSERT INTO maintenance (job, cursor, started_at, report) VALUES (?1, ?2, unixepoch(), ?3)
       ON CONFLICT DO UPDATE SET cursor = ?2, started_at = unixepoch(), report = ?3, version = version + 1 WHERE cursor = ''`,
    ).bind(job, JSON.stringify(first), JSON.stringify(report)),
    env.DB.prepare('SELECT cursor, report, version FROM maintenance WHERE job = ?1').bind(job),
  ]);
  const row = found?.results[0];
  if (!row) throw new Error(`the row of ${job} in maintenance is gone`);
  return { job, version: row.version, cursor: JSON.parse(row.cursor) as Cursor, report: JSON.parse(row.report) as R };
}

/**
 * Saves how far a slice has come, as often as it has come on: an invocation can be ended at any moment, and nothing tells it.
 * `false` where another slice has saved meanwhile; then this one is to stop.
 * @param cursor where the next slice begins; `null`: the pass has come to its end
 */
export async function savePass<R>(env: Reading, pass: Pass<R>, cursor: Cursor | null): Promise<boolean> {
  const { job, report, version } = pass;
  const text = JSON.stringify(report);
  const saving = cursor
    ? env.DB.prepare(
        'UPDATE maintenance SET cursor = ?3, report = ?4, version = version + 1 WHERE job = ?1 AND version = ?2 RETURNING job',
      ).bind(job, version, JSON.stringify(cursor), text)
    : env.DB.prepare(
        `UPDATE maintenance SET cursor = '', report = '{}', version = version + 1,
           finished = json_set(?3, '$.startedAt', started_at, '$.finishedAt', unixepoch())
         WHERE job = ?1 AND version = ?2 RETURNING job`,
      ).bind(job, version, text);
  const saved = (await saving.first()) !== null;
  if (saved) pass.version += 1;
  return saved;
}

/** A statement that `isUnderWay` reads. */
export function passUnderWay(env: Reading, job: Job): D1PreparedStatement {
  return env.DB.prepare("SELECT 1 FROM maintenance WHERE job = ?1 AND cursor <> ''").bind(job);
}

export interface Passes<R> {
  /** `phase`: what it is doing. */
  running: (R & { startedAt: number; phase: string }) | null;
  finished: (R & { startedAt: number; finishedAt: number }) | null;
}

export async function getPasses<R>(env: Reading, job: Job): Promise<Passes<R>> {
  const row = await env.DB.prepare('SELECT cursor, started_at, report, finished FROM maintenance WHERE job = ?1')
    .bind(job)
    .first<{ cursor: string; started_at: number; report: string; finished: string | null }>();
  const finished = row?.finished ? (JSON.parse(row.finished) as NonNullable<Passes<R>['finished']>) : null;
  if (!row || row.cursor === '') return { running: null, finished };
  const { phase } = JSON.parse(row.cursor) as Cursor;
  return { running: { ...(JSON.parse(row.report) as R), startedAt: row.started_at, phase }, finished };
}

/** Sentences that a report holds: the log has them all. */
const MAX_PROBLEMS = 50;

export function noteProblem({ problems }: { problems: string[] }, problem: string): void {
  report('maintenance.problem', { message: problem });
  if (problems.length < MAX_PROBLEMS && !problems.includes(problem)) problems.push(problem);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
