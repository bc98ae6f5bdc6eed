/**
 * Counts how much of D1's daily limits each account has used, so that one account cannot use up the whole day for all others. A
 * day is a UTC day, as for D1's limits. Each isolate adds up the rows that requests read and wrote. From time to time it saves
 * the sums, in one row for each account, day and kind.
 */
import type { Batch, Database } from '../events/batch.ts';
import { prepare } from '../events/sql.ts';

export type AllowanceKind = 'rows-read' | 'rows-written';

/** The kind for deliveries that were sent again. They are counted one by one, because each calls another server. */
const REPLAYS = 'replays';

const TODAY = 'unixepoch() / 86400';
/** The number of days for which counts are kept. */
const DAYS_KEPT = 7;

/**
 * Adds to the amounts that an account has used today.
 * @returns the new totals of the day, or 0 for a kind to which nothing was added
 */
export async function spendAllowance<K extends string>(
  env: Pick<Database, 'DB'>,
  account: string,
  used: Record<K, number>,
): Promise<Record<K, number>> {
  const { results } = await prepare(
    env,
    `INSERT INTO account_days (account, day, kind, count)
     SELECT :account, ${TODAY}, key, value FROM json_each(:used) WHERE value > 0
     ON CONFLICT DO UPDATE SET count = count + excluded.count RETURNING kind, count`,
    { account, used: JSON.stringify(used) },
  ).all<{ kind: K; count: number }>();
  return { ...used, ...Object.fromEntries(results.map(({ kind, count }) => [kind, count])) };
}

/** Returns the number of deliveries that an account has sent again today. */
export async function replaysToday(env: Pick<Database, 'DB'>, account: string): Promise<number> {
  const sql = `SELECT count FROM account_days WHERE account = :account AND day = ${TODAY} AND kind = :kind`;
  const count = await prepare(env, sql, { account, kind: REPLAYS }).first<number>('count');
  return count ?? 0;
}

export async function countReplays(env: Pick<Database, 'DB'>, account: string, count: number): Promise<void> {
  await spendAllowance(env, account, { [REPLAYS]: count });
}

/** Adds a statement to the batch that deletes up to `limit` counts that are too old. */
export function expireAllowances(batch: Batch, limit: number): void {
  batch.run(
    `DELETE FROM account_days WHERE (account, day, kind) IN (
       SELECT account, day, kind FROM account_days INDEXED BY account_days_by_day
       WHERE day <= ${TODAY} - ${DAYS_KEPT} LIMIT :limit)`,
    { limit },
  );
}
