/** Floods: what is counted, by whom, and the 429 that answers them (RFC 6585, section 4). Never a secret in a key. */
import { charge as chargeAccount } from '../app/spending.ts';
import type { Env } from '../env.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { networkOf } from './address.ts';
import { afterwards, type RequestContext } from './context.ts';

/** Seconds over which the bindings of wrangler.toml count. */
const PERIOD = 60;

/** Networks from which a right password came, and not too many wrong ones since. Of this isolate. */
const familiar = new Set<string>();
const FAMILIAR_MAX = 1000;

/**
 * Compares a password that a person may have chosen. A network has so many wrong ones a minute, and past that no password from
 * there is looked at: a guesser who reads on learns nothing. The limiter can count but cannot be asked. So a guess is counted
 * before it is compared, and the right one costs a guess too, but only once: from then on this isolate counts the wrong ones.
 * @param compare yields `null` for a wrong one
 * @throws rate-limited
 */
export async function guess<T>(c: RequestContext, compare: () => Promise<T | null>): Promise<T | null> {
  const network = networkOf(c);
  const known = familiar.has(network);
  if (!known) await limitWrongPasswords(c);
  const right = await compare();
  // Counted now: a wrong one, and any that was compared while another one used up the limit.
  if (known && (right === null || !familiar.has(network))) await limitWrongPasswords(c);
  if (right !== null) familiar.add(network);
  if (familiar.size > FAMILIAR_MAX) familiar.clear();
  return right;
}

/** Counts something wrong that a person may have typed. Keys and tokens cannot be guessed, and are never counted. */
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
  return limit(c.env.UPLOAD_STARTS, subject, 'too many uploads begun');
}

/** Whoever tests a webhook has the registry ask an address of theirs, and learns whether it answers. */
export async function limitTestDeliveries(c: RequestContext, webhook: string): Promise<void> {
  await limit(c.env.TEST_DELIVERIES, webhook, 'too many tests of this webhook');
  await limit(c.env.CALLS, accountOf(c), 'too many tests of webhooks by this account');
}

/** Each has up to some hundred deliveries made again, to hosts of the caller's choice. */
export function limitReplays(c: RequestContext): Promise<void> {
  return limit(c.env.TEST_DELIVERIES, `account ${accountOf(c)}`, 'too many replays of webhooks by this account');
}

/** Logins that last: a row each, for as long as a refresh token lives. */
export function limitLogins(c: RequestContext, subject: string): Promise<void> {
  return limit(c.env.LOGINS, subject, 'too many logins begun by this account');
}

/** Rows that a request which writes takes: a blob or a change by the API some six to ten. */
const ROWS_WRITTEN = 8;

/** Every request that writes. */
export async function limitWrites(c: RequestContext): Promise<void> {
  await limit(c.env.WRITES, accountOf(c), 'too many requests that write by this account');
  charge(c, 'rows-written', ROWS_WRITTEN);
}

/** What a manifest writes besides, for each thing that it names. */
export function chargeReferences(c: RequestContext, count: number): void {
  charge(c, 'rows-written', count);
}

/** Rows that a list reads where nothing more is known: its page, and what is looked at beside it. */
const ROWS_READ = 500;

/** Lists, searches and reports: each reads many rows. */
export async function limitExpensiveReads(c: RequestContext, rows = ROWS_READ): Promise<void> {
  await limit(c.env.EXPENSIVE_READS, accountOf(c), 'too many lists and reports asked for by this account');
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
    message: `${message}: wait a minute`,
    retryAfter: PERIOD,
  });
}
