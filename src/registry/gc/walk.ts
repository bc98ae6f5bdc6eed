/**
 * Reads a table in the order of its primary key, some hundred rows per step, and selects the rows that meet a condition.
 * Background jobs use such a walk to go through a whole table.
 */
import { type Batch, newBatch } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { Closing } from '../usage/counting.ts';
import { type Budget, type Key, read, type Slice, type Stores, write } from './passes.ts';

export interface Walk {
  table: string;
  /** The columns of the table's primary key. */
  key: string[];
  /** An SQL condition on a row `x` of the table. */
  condition: string;
}

/** The number of rows that a step of a walk reads. */
const STEP = 500;
/** The maximum number of matching rows that a step of a walk returns. Rows match if they meet the condition of the walk. */
const MATCHES_MAX = 100;

interface Matches {
  /** The primary keys of the matching rows. */
  keys: Key[];
  /** The key after which the next step begins, or `null` at the end. */
  next: Key | null;
}

/**
 * A row that `lookOf` reads. It has the columns of the key, `found` (1 if the row meets the condition), and `place` (the number
 * of the row in the step).
 */
export type WalkRow = Record<string, string | number>;

/**
 * Returns the statement that reads one step and yields the rows that meet the condition. The condition is evaluated by D1,
 * because a Worker on the free plan has only 10 ms of CPU time. If the step is full, the statement also yields its last row,
 * from which the next step continues.
 */
export function lookOf(env: Pick<Stores, 'DB'>, { table, key, condition }: Walk, after: Key): D1PreparedStatement {
  const columns = key.join(', ');
  return prepare(
    env,
    `WITH step AS MATERIALIZED (
       SELECT ${columns}, (${condition}) AS found, row_number() OVER (ORDER BY ${columns}) AS place
       FROM (SELECT * FROM ${table} WHERE (${columns}) > (${key.map((column) => `:after_${column}`).join(', ')})
         ORDER BY ${columns} LIMIT ${STEP}) x)
     SELECT * FROM step WHERE found OR place = ${STEP} ORDER BY ${columns}`,
    Object.fromEntries(key.map((column, n) => [`after_${column}`, after[n] as string | number])),
  );
}

/** Returns the keys of the rows that meet the condition, and the key after which the next step begins. */
export function matchesIn({ key }: Walk, rows: WalkRow[], max = MATCHES_MAX): Matches {
  const keyOf = (row: WalkRow) => key.map((column) => row[column] as string | number);
  const keys = rows.filter((row) => row.found === 1).map(keyOf);
  if (keys.length > max) return { keys: keys.slice(0, max), next: keys[max - 1] ?? null };
  const last = rows.at(-1);
  return { keys, next: last?.place === STEP ? keyOf(last) : null };
}

export async function walk(slice: { env: Stores; spent: Budget }, of: Walk, after: Key, max = MATCHES_MAX): Promise<Matches> {
  return matchesIn(of, await read<WalkRow>(slice, lookOf(slice.env, of, after)), max);
}

/**
 * Deletes the rows that still meet the condition of the walk.
 * @param balance adds statements to the batch that update the usage counters of namespaces with a limit. The statements run
 * before the deletion. It returns a function that adds more statements after the deletion
 */
export async function sweep(
  slice: Slice,
  of: Walk,
  rows: WalkRow[],
  balance: ((batch: Batch, keys: Key[]) => Closing) | null = null,
): Promise<{ swept: number; next: Key | null }> {
  const { keys, next } = matchesIn(of, rows);
  if (keys.length === 0) return { swept: 0, next };
  const batch = newBatch(slice.env);
  const addRemainder = balance?.(batch, keys);
  const deleted = batch.run(`DELETE FROM ${of.table} AS x WHERE ${isAmongKeys(of.key)} AND (${of.condition})`, { keys });
  addRemainder?.();
  const results = await write(slice, batch);
  return { swept: results?.changes(deleted) ?? 0, next };
}

/** Returns an SQL condition: the primary key of the row is in the list `:keys`. */
export function isAmongKeys(key: string[]): string {
  return `(${key.join(', ')}) IN (SELECT ${key.map((_, n) => `value ->> ${n}`).join(', ')} FROM json_each(:keys))`;
}
