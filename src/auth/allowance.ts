/**
 * The share of the database's daily limits that one account has used, so that no account uses up the day of all others. Days
 * are UTC, like those of D1's limits. Each isolate adds up what requests read and wrote and saves it now and then: one row for
 * each account, day and kind.
 */
import type { Batch, Database } from '../events/batch.ts';
import { prepare } from '../events/sql.ts';

export type AllowanceKind = 'rows-read' | 'rows-written';

/** Replayed deliveries are counted one by one, because each of them calls an outside server. */
const REPLAYS = 'replays';

const TODAY = 'unixepoch() / 86400';
/** Days for which counts are kept. */
const DAYS_KEPT = 7;

/** Adds to what an account has used today. @returns the new sums */
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

/** Deliveries that an account has replayed today. */
export async function replaysToday(env: Pick<Database, 'DB'>, account: string): Promise<number> {
  const sql = `SELECT count FROM account_days WHERE account = :account AND day = ${TODAY} AND kind = :kind`;
  const count = await prepare(env, sql, { account, kind: REPLAYS }).first<number>('count');
  return count ?? 0;
}

export async function countReplays(env: Pick<Database, 'DB'>, account: string, count: number): Promise<void> {
  await spendAllowance(env, account, { [REPLAYS]: count });
}

/** Deletes the counts of past days. */
export function expireAllowances(batch: Batch, limit: number): void {
  batch.run(
    `DELETE FROM account_days WHERE (account, day, kind) IN (
       SELECT account, day, kind FROM account_days INDEXED BY account_days_by_day
       WHERE day <= ${TODAY} - ${DAYS_KEPT} LIMIT :limit)`,
    { limit },
  );
}
