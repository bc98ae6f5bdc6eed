/**
 * What each account uses up of the database's day. A request is charged with about the rows that its kind takes, in this isolate's
 * memory; every few hundred rows that is written down, and the answer says how much it was in all isolates. So it costs nothing on
 * most requests, and an account can go beyond its share by little. Without the bindings that limit a minute there is no day either.
 */
import { type Kind, spend } from '../auth/allowance.ts';
import { settings } from '../env.ts';
import { secondsToMidnight } from '../events/database-failure.ts';
import { bindingOf } from '../telemetry.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { afterwards, type RequestContext } from './context.ts';

interface Account {
  /** Since it was last written down. */
  unsaved: Record<Kind, number>;
  /** The day (since the epoch) in which it has used up a kind. */
  over: Partial<Record<Kind, number>>;
}

/** Rows after which they are written down: reading is fifty times as cheap. */
const SAVED_EVERY: Record<Kind, number> = { 'rows-read': 10_000, 'rows-written': 200 };
const ACCOUNTS_MAX = 5000;
const DAY_MS = 24 * 60 * 60 * 1000;
const WORDS: Record<Kind, string> = { 'rows-read': 'read', 'rows-written': 'written' };

const accounts = new WeakMap<D1Database, Map<string, Account>>();

/** @throws daily-limit where the account's day is used up */
export function charge(c: RequestContext, name: string, kind: Kind, rows: number): void {
  if (!c.env.WRITES || c.var.authority?.administrator) return;
  const max = limitsOf(c)[kind];
  if (max === 0) return;
  const now = Date.now();
  const account = accountIn(c, name);
  if (account.over[kind] === Math.floor(now / DAY_MS)) throw usedUp(name, kind, max, now);
  account.unsaved[kind] += rows;
  if (account.unsaved[kind] < SAVED_EVERY[kind]) return;
  const used = account.unsaved;
  account.unsaved = { 'rows-read': 0, 'rows-written': 0 };
  afterwards(c).waitUntil(
    spend(c.env, name, used).then((total) => {
      for (const one of ['rows-read', 'rows-written'] as const) {
        if (limitsOf(c)[one] > 0 && total[one] >= limitsOf(c)[one]) account.over[one] = Math.floor(now / DAY_MS);
      }
    }),
  );
}

function limitsOf(c: RequestContext): Record<Kind, number> {
  const { accountRowsRead, accountRowsWritten } = settings(c.env);
  return { 'rows-read': accountRowsRead, 'rows-written': accountRowsWritten };
}

function accountIn(c: RequestContext, name: string): Account {
  const database = bindingOf(c.env.DB);
  const all = accounts.get(database) ?? new Map<string, Account>();
  accounts.set(database, all);
  const account = all.get(name) ?? { unsaved: { 'rows-read': 0, 'rows-written': 0 }, over: {} };
  if (all.size >= ACCOUNTS_MAX) all.clear();
  all.set(name, account);
  return account;
}

function usedUp(name: string, kind: Kind, max: number, now: number): Refusal {
  return until(`${name} has ${WORDS[kind]} about ${max} rows of the database today`, now);
}

function until(what: string, now: number): Refusal {
  return new Refusal('daily-limit', {
    message: `${what}, which is the limit of an account: it may go on at 00:00 UTC. Nothing was changed`,
    retryAfter: secondsToMidnight(now),
  });
}
