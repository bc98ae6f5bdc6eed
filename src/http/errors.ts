/** Turns an error into an HTTP response. The body has the form of distribution-spec, "Error Codes". */
import { refusalOfFailure } from '../app/failures.ts';
import { jsonBytes } from '../oci/json.ts';
import { report } from '../telemetry.ts';
import type { Reason } from '../vocabulary/reasons.ts';
import { type Particulars, Refusal } from '../vocabulary/refusal.ts';
import { API, V2 } from './refusals.ts';

/** The default number of seconds after which a client may repeat a request that was refused with 429 or 503. */
const RETRY_AFTER = '1';

/** A refusal with additional HTTP headers. */
export class DoorRefusal extends Refusal {
  readonly headers: Record<string, string>;

  constructor(reason: Reason, { headers, ...particulars }: Particulars & { headers: Record<string, string> }) {
    super(reason, particulars);
    this.headers = headers;
  }
}

/** Returns the refusal with which an error is answered. An error that is no refusal is also logged. */
export function asRefusal(error: unknown, requestId: string): Refusal {
  if (error instanceof Refusal) return error;
  report('request.failed', { requestId, error });
  return refusalOfFailure(error, { now: Date.now(), random: Math.random() });
}

interface Additions {
  headers?: Record<string, string>;
  /** A text at the end of the message. */
  hint?: string;
}

/** @param path the path of the request. The management API and /v2 have different codes */
export function errorResponse(refusal: Refusal, path: string, { headers: more = {}, hint = '' }: Additions = {}): Response {
  const { reason, detail } = refusal;
  const message = `${refusal.message}${hint}`;
  const [status, code] = (path.startsWith('/api/') ? API : V2)[reason];
  const envelope = { errors: [bounded({ code, message, ...(detail === undefined ? {} : { detail }) })] };
  const body = new TextEncoder().encode(JSON.stringify(envelope));
  const headers = new Headers({ 'content-type': 'application/json; charset=utf-8', ...headersOf(refusal), ...more });
  // The header is set here for HEAD, because the runtime sets the length only for bodies that are sent.
  headers.set('content-length', String(body.byteLength));
  if ((status === 503 || status === 429) && !headers.has('retry-after')) headers.set('retry-after', RETRY_AFTER);
  return new Response(body, { status, headers });
}

/** The reasons of refused deletions. They are answered with 405, which must have an Allow header (RFC 9110, 15.5.6). */
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

/** The maximum number of bytes of an error in the body. The client library oras-go does not show errors of more than 8 KiB. */
const BODY_MAX_BYTES = 7 * 1024;
const MESSAGE_MAX_BYTES = 2 * 1024;

interface Told {
  code: string;
  message: string;
  detail?: unknown;
}

/** Shortens the message, and a list in `detail` to the items that fit. Any other long `detail` is left out. */
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
