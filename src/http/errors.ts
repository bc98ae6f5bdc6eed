/** Turns an error into a response, in the envelope of distribution-spec, "Error Codes". */
import { refusalOfFailure } from '../app/failures.ts';
import { jsonBytes } from '../oci/json.ts';
import { report } from '../telemetry.ts';
import type { Reason } from '../vocabulary/reasons.ts';
import { type Particulars, Refusal } from '../vocabulary/refusal.ts';
import { API, V2 } from './refusals.ts';

/** Seconds after which a client may retry a request that failed on the registry's side. */
const RETRY_AFTER = '1';

/** A refusal with headers that only HTTP has. */
export class DoorRefusal extends Refusal {
  readonly headers: Record<string, string>;

  constructor(reason: Reason, { headers, ...particulars }: Particulars & { headers: Record<string, string> }) {
    super(reason, particulars);
    this.headers = headers;
  }
}

/** The refusal that a client gets for this error. An error that is no refusal is logged. */
export function asRefusal(error: unknown, requestId: string): Refusal {
  if (error instanceof Refusal) return error;
  report('request.failed', { requestId, error });
  return refusalOfFailure(error, { now: Date.now(), random: Math.random() });
}

/** @param path that of the request: the management API has codes of its own. @param more further headers */
export function errorResponse(refusal: Refusal, path: string, more: Record<string, string> = {}): Response {
  const { reason, message, detail } = refusal;
  const [status, code] = (path.startsWith('/api/') ? API : V2)[reason];
  const envelope = { errors: [bounded({ code, message, ...(detail === undefined ? {} : { detail }) })] };
  const body = new TextEncoder().encode(JSON.stringify(envelope));
  const headers = new Headers({ 'content-type': 'application/json; charset=utf-8', ...headersOf(refusal), ...more });
  // For HEAD: the runtime measures only bodies that are sent.
  headers.set('content-length', String(body.byteLength));
  if ((status === 503 || status === 429) && !headers.has('retry-after')) headers.set('retry-after', RETRY_AFTER);
  return new Response(body, { status, headers });
}

/** Refused deletions. The answer has an Allow header, because the resource can still be read (RFC 9110, 15.5.6). */
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

/** oras-go shows no error with more than 8 KiB. */
const BODY_MAX_BYTES = 7 * 1024;
const MESSAGE_MAX_BYTES = 2 * 1024;

interface Told {
  code: string;
  message: string;
  detail?: unknown;
}

/** Shortens the message, and a list in `detail` to the items that fit. Any other `detail` that does not fit is left out. */
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
