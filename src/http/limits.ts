/** Rate limits, answered with 429 (RFC 6585, section 4). The keys under which requests are counted contain no secret. */
import { charge as chargeAccount } from '../app/spending.ts';
import type { Env } from '../env.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { networkOf } from './address.ts';
import { afterwards, type RequestContext } from './context.ts';

/** Seconds. The period of the rate limiters in `wrangler.toml`. */
const PERIOD = 60;

/** Networks that this isolate has got a right password from, and not too many wrong ones since. */
const familiar = new Set<string>();
const FAMILIAR_MAX = 1000;

/**
 * Compares a password that a person may have chosen. Beyond the limit of wrong passwords of a network, none from there is
 * compared, so that a guesser learns nothing more. The limiter counts but cannot be queried, so a password is counted before it
 * is compared. A right one is counted only once: after it, this isolate counts only wrong ones from that network.
 * @param compare yields `null` for a wrong password
 * @throws rate-limited
 */
export async function guess<T>(c: RequestContext, compare: () => Promise<T | null>): Promise<T | null> {
  const network = networkOf(c);
  const known = familiar.has(network);
  if (!known) await limitWrongPasswords(c);
  const right = await compare();
  // A familiar network: counts a wrong password, and any that was compared while another request reached the limit.
  if (known && (right === null || !familiar.has(network))) await limitWrongPasswords(c);
  if (right !== null) familiar.add(network);
  if (familiar.size > FAMILIAR_MAX) familiar.clear();
  return right;
}

/** Counts a wrong password that a person may have typed. Keys and tokens cannot be guessed, and are not counted. */
export async function limitWrongPasswords(c: RequestContext): Promise<void> {
  try {
    await limit(c.env.WRONG_PASSWORDS, networkOf(c), 'too many wrong passwords from this address');
  } catch (error) {
    familiar.delete(networkOf(c));
    throw error;
  }
}

export function limitTokenRequests(c: RequestContext, subject: string): Promise<void> {
  return limit(c.env.TOKEN_REQUESTS, `${subject} ${networkOf(c)}`, 'too many requests for tokens');
}

export function limitUploadStarts(c: RequestContext, subject: string): Promise<void> {
  return limit(c.env.UPLOAD_STARTS, subject, 'too many new uploads by this account');
}

/** A test makes the registry call an address of the user's choice, and tells whether it answers. */
export async function limitTestDeliveries(c: RequestContext, webhook: string): Promise<void> {
  await limit(c.env.TEST_DELIVERIES, webhook, 'too many tests of this webhook');
  await limit(c.env.CALLS, accountOf(c), 'too many tests of webhooks by this account');
}

/** A replay repeats up to some hundred deliveries, to hosts of the user's choice. */
export function limitReplays(c: RequestContext): Promise<void> {
  return limit(c.env.TEST_DELIVERIES, `account ${accountOf(c)}`, 'too many replays of webhooks by this account');
}

/** Logins with a refresh token: each has a row for as long as the token lives. */
export function limitLogins(c: RequestContext, subject: string): Promise<void> {
  return limit(c.env.LOGINS, subject, 'too many new logins by this account');
}

/** Rows that a writing request is charged with. A blob, or a change by the API, writes six to ten. */
const ROWS_WRITTEN = 8;

/** For every request that writes. */
export async function limitWrites(c: RequestContext): Promise<void> {
  await limit(c.env.WRITES, accountOf(c), 'too many writing requests by this account');
  charge(c, 'rows-written', ROWS_WRITTEN);
}

/** Charges the rows that a manifest writes for each of its references and tags. */
export function chargeReferences(c: RequestContext, count: number): void {
  charge(c, 'rows-written', count);
}

/** Rows that a list is charged with by default. */
const ROWS_READ = 500;

/** For lists, searches and reports, which read many rows. */
export async function limitExpensiveReads(c: RequestContext, rows = ROWS_READ): Promise<void> {
  await limit(c.env.EXPENSIVE_READS, accountOf(c), 'too many requests for lists and reports by this account');
  charge(c, 'rows-read', rows);
}

/** Administrators have no daily limit. @throws daily-limit */
function charge(c: RequestContext, kind: 'rows-read' | 'rows-written', rows: number): void {
  if (c.var.authority?.administrator) return;
  chargeAccount({ env: c.env, work: afterwards(c), now: Date.now() }, accountOf(c), kind, rows);
}

/** The key of a limit: the account, or the network of an anonymous caller. */
function accountOf(c: RequestContext): string {
  return (c.var.authority?.subject ?? c.var.caller?.subject) || `anonymous ${networkOf(c)}`;
}

/** @throws rate-limited */
async function limit(binding: Env['WRONG_PASSWORDS'], key: string, message: string): Promise<void> {
  if (!binding || (await binding.limit({ key })).success) return;
  throw new Refusal('rate-limited', {
    message: `${message}: wait a minute, and try again`,
    retryAfter: PERIOD,
  });
}
