/** The one place where an error becomes a response: the envelope of distribution-spec, "Error Codes". */
import { databaseFailure, isDailyLimit, secondsToMidnight } from '../events/database-failure.ts';
import { jsonBytes } from '../oci/json.ts';
import { report } from '../telemetry.ts';
import type { Reason } from '../vocabulary/reasons.ts';
import { type Particulars, Refusal } from '../vocabulary/refusal.ts';
import { API, V2 } from './refusals.ts';

/** Seconds after which a client may try again what failed for a reason of ours. */
const RETRY_AFTER = '1';

/** A refusal of a door, with headers that only that door knows. */
export class DoorRefusal extends Refusal {
  readonly headers: Record<string, string>;

  constructor(reason: Reason, { headers, ...particulars }: Particulars & { headers: Record<string, string> }) {
    super(reason, particulars);
    this.headers = headers;
  }
}

/** The refusal that tells a client of this error. */
export function asRefusal(error: unknown, requestId: string): Refusal {
  if (error instanceof Refusal) return error;
  report('request.failed', { requestId, error });
  return unavailable(error);
}

/** @param path of the request: the management API has codes of its own */
export function errorResponse(refusal: Refusal, path: string): Response {
  const { reason, message, detail } = refusal;
  const [status, code] = (path.startsWith('/api/') ? API : V2)[reason];
  const envelope = { errors: [bounded({ code, message, ...(detail === undefined ? {} : { detail }) })] };
  const body = new TextEncoder().encode(JSON.stringify(envelope));
  const headers = new Headers({ 'content-type': 'application/json; charset=utf-8', ...headersOf(refusal) });
  // For HEAD too: its answer loses the body, and the runtime counts only bodies that are sent.
  headers.set('content-length', String(body.byteLength));
  if ((status === 503 || status === 429) && !headers.has('retry-after')) headers.set('retry-after', RETRY_AFTER);
  return new Response(body, { status, headers });
}

/** What is not deleted can be read (RFC 9110, 15.5.6). */
const READ_ONLY: readonly Reason[] = ['content-referenced', 'deletion-disabled'];

function headersOf(refusal: Refusal): Record<string, string> {
  const { reason, retryAfter, size } = refusal;
  return {
    ...(READ_ONLY.includes(reason) ? { allow: 'GET, HEAD' } : {}),
    ...(size === null ? {} : { 'content-range': `bytes */${size}` }),
    ...(retryAfter === null ? {} : { 'retry-after': String(retryAfter) }),
    ...(refusal instanceof DoorRefusal ? refusal.headers : {}),
  };
}

/** Bytes: oras-go reads no more than 8 KiB of an error, and then shows none of it. */
const BODY_MAX_BYTES = 7 * 1024;
const MESSAGE_MAX_BYTES = 2 * 1024;

interface Told {
  code: string;
  message: string;
  detail?: unknown;
}

/** Names as many of a list as fit, and says how many there are; anything else that does not fit is left out. */
function bounded(told: Told): Told {
  const message = cut(told.message, MESSAGE_MAX_BYTES);
  const { code, detail } = told;
  if (detail === undefined || jsonBytes({ code, message, detail }) <= BODY_MAX_BYTES) return { ...told, message };
  if (!Array.isArray(detail)) return { code, message };
  let room = BODY_MAX_BYTES - jsonBytes({ code, message }) - 100;
  const named: unknown[] = [];
  for (const one of detail) {
    room -= jsonBytes(one) + 1;
    if (room < 0) break;
    named.push(one);
  }
  return { code, message: `${message} (${detail.length} in all, of which ${named.length} are named)`, detail: named };
}

function cut(text: string, bytes: number): string {
  let length = text.length;
  while (jsonBytes(text.slice(0, length)) > bytes) length = Math.floor(length * 0.8);
  return length === text.length ? text : `${text.slice(0, length)}...`;
}

/** Seconds for which an overloaded database is left alone: at least, and how many more by chance, so that not all come back at once. */
const OVERLOAD_PAUSE = { least: 5, more: 10 };

/**
 * Any error that is not a refusal is a store that failed, or a mistake of ours. It is never told as "absent" or "not allowed"
 * (invariant 10), and the cause is not shown, only what the client can do about it.
 */
function unavailable(error: unknown): Refusal {
  const failure = databaseFailure(error);
  if (isDailyLimit(failure)) return dayUsedUp(failure, Date.now());
  if (failure === 'overloaded') {
    const retryAfter = OVERLOAD_PAUSE.least + Math.floor(Math.random() * OVERLOAD_PAUSE.more);
    const message = `the database has too much to do: try again in ${retryAfter} seconds`;
    return new Refusal('database-busy', { message, retryAfter, cause: error });
  }
  if (failure === 'lost') return new Refusal('connection-lost', { cause: error });
  return new Refusal('storage-unavailable', { cause: error });
}

/** The registry is down for the rest of the day, and nothing but a paid plan or midnight helps. */
function dayUsedUp(failure: 'rows-read' | 'rows-written', now: number): Refusal {
  const kind = failure === 'rows-read' ? 'read' : 'written';
  const message =
    `the day's limit of database rows ${kind} on Cloudflare's free plan is used up: nothing was changed, ` +
    'and the registry answers again after 00:00 UTC, or at once on the paid plan';
  return new Refusal('daily-limit', { message, retryAfter: secondsToMidnight(now) });
}
