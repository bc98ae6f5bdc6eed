/**
 * Rate limits. A request beyond a limit is answered with 429 (RFC 6585, section 4). The keys by which requests are counted
 * contain no secret.
 */
import { charge as chargeAccount } from '../app/spending.ts';
import type { Env } from '../env.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { networkOf } from './address.ts';
import { afterwards, type RequestContext } from './context.ts';

/** The period of the rate limiters in `wrangler.toml`, in seconds. */
const PERIOD = 60;

/** Networks that sent a correct password to this isolate and have not exceeded the limit of wrong passwords since. */
const familiar = new Set<string>();
const FAMILIAR_MAX = 1000;

/**
 * Compares a password that a person may have chosen. After too many wrong passwords from a network, passwords from that network
 * are refused without being compared, so that an attacker learns nothing more.
 *
 * The rate limiter can count but cannot be queried. So a password from an unknown network is counted before it is compared.
 * After a correct password the network is familiar, and this isolate counts only wrong passwords from it.
 * @param compare returns `null` for a wrong password
 * @throws rate-limited if the network has exceeded the limit
 */
export async function guess<T>(c: RequestContext, compare: () => Promise<T | null>): Promise<T | null> {
  const network = networkOf(c);
  const known = familiar.has(network);
  if (!known) await limitWrongPasswords(c);
  const right = await compare();
  // For a familiar network, this counts a wrong password, and any password that was compared while another request reached the
  // limit.
  if (known && (right === null || !familiar.has(network))) await limitWrongPasswords(c);
  if (right !== null) familiar.add(network);
  if (familiar.size > FAMILIAR_MAX) familiar.clear();
  return right;
}

/** Counts a password or an invitation that may be a guess. Keys and tokens cannot be guessed, so they are not counted. */
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

/**
 * Limits tests of webhooks. A test makes the registry send a request to an address that the user has chosen, and tells the user
 * whether that address answers.
 */
export async function limitTestDeliveries(c: RequestContext, webhook: string): Promise<void> {
  await limit(c.env.TEST_DELIVERIES, webhook, 'too many tests of this webhook');
  await limit(c.env.CALLS, accountOf(c), 'too many tests of webhooks by this account');
}

/**
 * Limits requests that send deliveries again, because one such request can send hundreds of deliveries to hosts that the user
 * has chosen.
 */
export function limitReplays(c: RequestContext): Promise<void> {
  return limit(c.env.TEST_DELIVERIES, `account ${accountOf(c)}`, 'too many replays of webhooks by this account');
}

/** Limits logins with a refresh token, because D1 keeps a row for each of them until the token expires. */
export function limitLogins(c: RequestContext, subject: string): Promise<void> {
  return limit(c.env.LOGINS, subject, 'too many new logins by this account');
}

/**
 * The number of D1 rows that each writing request is charged for. Pushing a blob or changing something by the management API
 * writes six to ten rows.
 */
const ROWS_WRITTEN = 8;

/** Limits a request that writes, and charges it to the account. @throws rate-limited, daily-limit */
export async function limitWrites(c: RequestContext): Promise<void> {
  await limit(c.env.WRITES, accountOf(c), 'too many writing requests by this account');
  charge(c, 'rows-written', ROWS_WRITTEN);
}

/** Charges the account for the rows that a manifest writes for its references and tags. @throws daily-limit */
export function chargeReferences(c: RequestContext, count: number): void {
  charge(c, 'rows-written', count);
}

/** The default number of D1 rows that a list is charged for. */
const ROWS_READ = 500;

/** Limits a list, search or report, which reads many rows, and charges it to the account. @throws rate-limited, daily-limit */
export async function limitExpensiveReads(c: RequestContext, rows = ROWS_READ): Promise<void> {
  await limit(c.env.EXPENSIVE_READS, accountOf(c), 'too many requests for lists and reports by this account');
  charge(c, 'rows-read', rows);
}

/** Charges the account for rows that a list read in addition to those of an ordinary page. */
export function chargeReads(c: RequestContext, rows: number): void {
  charge(c, 'rows-read', rows);
}

/** Charges the account of the caller for D1 rows. Administrators are not charged. @throws daily-limit */
function charge(c: RequestContext, kind: 'rows-read' | 'rows-written', rows: number): void {
  if (c.var.authority?.administrator) return;
  chargeAccount({ env: c.env, work: afterwards(c), now: Date.now() }, accountOf(c), kind, rows);
}

/** Returns the name under which the account is counted. Anonymous callers are counted by network. */
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
