/**
 * What one slice of the collector may cost, and its way to the database, which counts: it fits an invocation of the free plan
 * (D1, "Limits": 50 statements an invocation, 5,000,000 rows read and 100,000 written a day).
 */
import type { Env, Vars } from '../../env.ts';
import { tryBatch } from '../../events/batch.ts';
import type { Key } from './passes.ts';

export type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars;

export interface Spent {
  statements: number;
  rowsRead: number;
  rowsWritten: number;
}

export const NOTHING_SPENT: Spent = { statements: 0, rowsRead: 0, rowsWritten: 0 };

/**
 * Once one of these is reached, no further step is begun. A step costs up to 17 statements, 3,000 rows read and 500 written;
 * of 144 slices a day, each leaves the larger part of what a day allows to those who push.
 */
export const ENOUGH: Spent = { statements: 20, rowsRead: 10_000, rowsWritten: 300 };

/** What a pass did, in numbers. */
export interface GcReport {
  /** Entries of the trash. */
  purged: number;
  /** Rows of tags' history, and of pulls and checks, that were forgotten. */
  history: number;
  pulls: number;
  /** Blobs that a repository does not need any more. */
  links: number;
  /** Blobs that no repository needs any more, and their bytes. */
  blobs: number;
  bytes: number;
  /** Objects of R2 that were deleted. */
  objects: number;
  problems: string[];
}

export interface Slice {
  env: Stores;
  report: GcReport;
  spent: Spent;
  /** Once one of these is reached, no further step is begun; and rows that are left to the job today. */
  enough: Spent & { left: number };
  /** Statements of other rooms for the batch with which the last of a deleted repository goes. */
  also: (repositoryId: number) => D1PreparedStatement[];
}

/**
 * A kind of work, in steps: each looks at rows after a key, and acts on what it has found. Both are apart so that a pass which finds
 * nothing to do anywhere is one batch of looks.
 */
export interface Phase<Row = unknown> {
  start: Key;
  /** `null`: there is nothing to be looked at. */
  look(env: Stores, after: Key): D1PreparedStatement | null;
  /** Answers the key to go on after, `null` once there is nothing left to look at. */
  act(slice: Slice, rows: Row[], after: Key): Promise<Key | null>;
}

export function isSpent({ spent, enough = ENOUGH }: { spent: Spent; enough?: Spent }): boolean {
  return spent.statements >= enough.statements || spent.rowsRead >= enough.rowsRead || spent.rowsWritten >= enough.rowsWritten;
}

/** What several statements answer. They are one call, and count as one. */
export async function readAll(
  { env, spent }: Pick<Slice, 'env' | 'spent'>,
  statements: D1PreparedStatement[],
): Promise<unknown[][]> {
  if (statements.length === 0) return [];
  const results = await env.DB.batch(statements);
  tally(spent, results);
  spent.statements += 1 - results.length;
  return results.map((result) => result.results);
}

export async function read<T>({ spent }: { spent: Spent }, statement: D1PreparedStatement): Promise<T[]> {
  const result = await statement.all<T>();
  tally(spent, [result]);
  return result.results;
}

/** The batch's results, or `null` where a precondition refused it. */
export async function write({ env, spent }: Slice, statements: D1PreparedStatement[]): Promise<D1Result[] | null> {
  const results = await tryBatch(env, statements);
  if (results) tally(spent, results);
  else spent.statements += statements.length;
  return results;
}

function tally(spent: Spent, results: D1Result[]): void {
  spent.statements += results.length;
  for (const { meta } of results) {
    spent.rowsRead += meta.rows_read;
    spent.rowsWritten += meta.rows_written;
  }
}
