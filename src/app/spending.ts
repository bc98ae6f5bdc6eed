/**
 * Limits the number of D1 rows that each account reads and writes in a day. Each request adds an estimate of its rows to a sum
 * in the memory of this isolate. When the sum is large enough, it is saved, and D1 returns the total of all isolates. So most
 * requests need no additional D1 call, and an account exceeds its limit only by little. If saving fails, the next save includes
 * the rows.
 */
import { type AllowanceKind, spendAllowance } from '../auth/allowance.ts';
import { type Env, settings, type Vars } from '../env.ts';
import { secondsToMidnight } from '../events/database-failure.ts';
import { perDatabase, report } from '../telemetry.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import type { Call } from './call.ts';

interface Account {
  /** The number of rows that were not saved yet. */
  unsaved: Record<AllowanceKind, number>;
  /** The day on which the account used up its limit, in days since the epoch. */
  over: Partial<Record<AllowanceKind, number>>;
}

/** The number of rows after which the sum is saved. The free plan of D1 allows to read fifty times as many rows as to write. */
const SAVED_EVERY: Record<AllowanceKind, number> = { 'rows-read': 10_000, 'rows-written': 200 };
const KINDS = ['rows-read', 'rows-written'] as const;
const ACCOUNTS_MAX = 5000;
const DAY_MS = 24 * 60 * 60 * 1000;
const WORDS: Record<AllowanceKind, string> = { 'rows-read': 'read', 'rows-written': 'written' };

const accountsIn = perDatabase(() => new Map<string, Account>());

/**
 * Adds rows to the sum of an account. Without the binding `WRITES` there is no limit. @throws daily-limit if the account has
 * used up its daily limit
 */
export function charge(
  { env, work, now }: Pick<Call, 'env' | 'work' | 'now'>,
  name: string,
  kind: AllowanceKind,
  rows: number,
): void {
  const limits = limitsIn(env);
  const max = limits[kind];
  if (!env.WRITES || max === 0) return;
  const account = accountIn(env, name);
  if (account.over[kind] === Math.floor(now / DAY_MS)) throw usedUp(name, kind, max, now);
  account.unsaved[kind] += rows;
  if (account.unsaved[kind] < SAVED_EVERY[kind]) return;
  const used = account.unsaved;
  account.unsaved = { 'rows-read': 0, 'rows-written': 0 };
  const saved = (total: Account['unsaved']) => {
    for (const one of KINDS) if (limits[one] > 0 && total[one] >= limits[one]) account.over[one] = Math.floor(now / DAY_MS);
  };
  const failed = (error: unknown) => {
    report('spending.not-saved', { error });
    for (const one of KINDS) account.unsaved[one] += used[one];
  };
  work.waitUntil(spendAllowance(env, name, used).then(saved, failed));
}

function limitsIn(env: Vars): Record<AllowanceKind, number> {
  const { accountRowsRead, accountRowsWritten } = settings(env);
  return { 'rows-read': accountRowsRead, 'rows-written': accountRowsWritten };
}

function accountIn(env: Pick<Env, 'DB'>, name: string): Account {
  const all = accountsIn(env);
  const account = all.get(name) ?? { unsaved: { 'rows-read': 0, 'rows-written': 0 }, over: {} };
  if (all.size >= ACCOUNTS_MAX) all.clear();
  all.set(name, account);
  return account;
}

function usedUp(name: string, kind: AllowanceKind, max: number, now: number): Refusal {
  return new Refusal('daily-limit', {
    message:
      `${name} has ${WORDS[kind]} about ${max} rows of the database today, which is the limit of an account. ` +
      'Nothing was changed: try again after 00:00 UTC',
    retryAfter: secondsToMidnight(now),
  });
}
