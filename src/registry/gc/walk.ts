/** Going through a table by its primary key, some hundred rows a step, for those that meet a condition. */
import type { Balance } from '../usage/balance.ts';
import type { Key } from './passes.ts';
import { read, type Slice, type Spent, type Stores, write } from './slice.ts';

export interface Walk {
  table: string;
  /** The columns of its primary key. */
  key: string[];
  /** An SQL condition on a row, `x`: whether it is what is looked for. */
  condition: string;
}

/** Rows that a step looks at. */
const STEP = 500;
/** Of those that it finds, how many it answers. */
const FOUND_MAX = 100;

export interface Found {
  keys: Key[];
  /** Where to go on, `null` at the end. */
  next: Key | null;
}

/** A row of `lookOf`: the columns of the key, whether it is what is looked for, and its place in the step. */
export type Walked = Record<string, string | number>;

/** The condition is judged by the database, and only what meets it comes here: a Worker of the free plan has 10 ms of CPU. */
export function lookOf(env: Pick<Stores, 'DB'>, { table, key, condition }: Walk, after: Key): D1PreparedStatement {
  const columns = key.join(', ');
  return env.DB.prepare(
    `WITH step AS MATERIALIZED (
       SELECT ${columns}, (${condition}) AS found, row_number() OVER (ORDER BY ${columns}) AS place
       FROM (SELECT * FROM ${table} WHERE (${columns}) > (${key.map(() => '?').join(', ')}) ORDER BY ${columns} LIMIT ${STEP}) x)
     SELECT * FROM step WHERE found OR place = ${STEP} ORDER BY ${columns}`,
  ).bind(...after);
}

/** What a look has found. */
export function foundOf({ key }: Walk, rows: Walked[], max = FOUND_MAX): Found {
  const keyOf = (row: Walked) => key.map((column) => row[column] as string | number);
  const keys = rows.filter((row) => row.found === 1).map(keyOf);
  if (keys.length > max) return { keys: keys.slice(0, max), next: keys[max - 1] ?? null };
  const last = rows.at(-1);
  return { keys, next: last?.place === STEP ? keyOf(last) : null };
}

export async function walk(slice: { env: Stores; spent: Spent }, of: Walk, after: Key, max = FOUND_MAX): Promise<Found> {
  return foundOf(of, await read<Walked>(slice, lookOf(slice.env, of, after)), max);
}

/** Deletes what meets the condition still, and counts it. @param counter for what blobs are held by: statements around the deletion */
export async function sweep(
  slice: Slice,
  of: Walk,
  rows: Walked[],
  counter: ((env: Slice['env'], keys: Key[]) => Balance) | null = null,
): Promise<{ swept: number; next: Key | null }> {
  const { keys, next } = foundOf(of, rows);
  if (keys.length === 0) return { swept: 0, next };
  const deletion = slice.env.DB.prepare(`DELETE FROM ${of.table} AS x WHERE ${among(of.key)} AND (${of.condition})`).bind(
    JSON.stringify(keys),
  );
  const around = counter?.(slice.env, keys);
  const results = await write(slice, around ? [around.before, deletion, around.after] : [deletion]);
  return { swept: results?.[around ? 1 : 0]?.meta.changes ?? 0, next };
}

/** Whether the key of a row is one of ?1, a list of keys. */
export function among(key: string[]): string {
  return `(${key.join(', ')}) IN (SELECT ${key.map((_, n) => `value ->> ${n}`).join(', ')} FROM json_each(?1))`;
}
