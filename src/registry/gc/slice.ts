/**
 * The budget of one slice of the collector, and database calls that count against it. A slice fits an invocation of the free plan
 * (D1, "Limits": 50 statements an invocation, 5,000,000 rows read and 100,000 written a day).
 */
import type { Env, Vars } from '../../env.ts';
import type { Batch, Results } from '../../events/batch.ts';
import { isRefusal } from '../../vocabulary/refusal.ts';
import type { Key } from './passes.ts';

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

/** What a pass did, in numbers. */
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
 * One kind of work, in steps. A step first looks at the rows after a key, then acts on them. The two are separate so that a pass can
 * look at the first rows of all phases in one batch.
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
