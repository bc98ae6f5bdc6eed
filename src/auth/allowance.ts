/**
 * What one account may use up of the database's day, so that none uses up everybody's. Days are UTC, as those of D1's limits. What
 * requests read and wrote is added up by each isolate and written down now and then: one row for each account, day and kind.
 */
import type { Database } from './directory.ts';

export type Kind = 'rows-read' | 'rows-written';

/** Counted as they happen, as each one calls somebody. */
const REPLAYS = 'replays';

const TODAY = 'unixepoch() / 86400';
/** Days that counts are kept. */
const DAYS_KEPT = 7;

/** Adds to what an account has used up today, and answers with it. */
export async function spend<K extends string>(
  env: Pick<Database, 'DB'>,
  account: string,
  used: Record<K, number>,
): Promise<Record<K, number>> {
  const { results } = await env.DB.prepare(
    `INSERT INTO account_days (account, day, kind, count)
     SELECT ?1, ${TODAY}, key, value FROM json_each(?2) WHERE value > 0
     ON CONFLICT DO UPDATE SET count = count + excluded.count RETURNING kind, count`,
  )
    .bind(account, JSON.stringify(used))
    .all<{ kind: K; count: number }>();
  return { ...used, ...Object.fromEntries(results.map(({ kind, count }) => [kind, count])) };
}

/** Deliveries that an account had made again today. */
export async function replaysToday(env: Pick<Database, 'DB'>, account: string): Promise<number> {
  const count = await env.DB.prepare(`SELECT count FROM account_days WHERE account = ?1 AND day = ${TODAY} AND kind = ?2`)
    .bind(account, REPLAYS)
    .first<number>('count');
  return count ?? 0;
}

export async function countReplays(env: Pick<Database, 'DB'>, account: string, count: number): Promise<void> {
  await spend(env, account, { [REPLAYS]: count });
}

/** For a batch: forgets what has no meaning any more. */
export function expireAllowances(env: Pick<Database, 'DB'>, limit: number): D1PreparedStatement {
  return env.DB.prepare(
    `DELETE FROM account_days WHERE (account, day, kind) IN (
       SELECT account, day, kind FROM account_days INDEXED BY account_days_by_day WHERE day <= ${TODAY} - ${DAYS_KEPT} LIMIT ?1)`,
  ).bind(limit);
}
