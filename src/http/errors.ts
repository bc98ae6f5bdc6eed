/** The one place where an error becomes a response: the envelope of distribution-spec, "Error Codes". */
import { RegistryError } from '../oci/errors.ts';
import type { RequestContext } from './context.ts';

/** Seconds after which a client may try again what failed for a reason of ours. */
const RETRY_AFTER = '1';

export function errorResponse(error: unknown, c: RequestContext): Response {
  const refusal = error instanceof RegistryError ? error : unavailable(error);
  const { code, message, detail, status } = refusal;
  const headers = new Headers({ 'content-type': 'application/json; charset=utf-8', ...refusal.headers });
  if ((status === 503 || status === 429) && !headers.has('retry-after')) headers.set('retry-after', RETRY_AFTER);
  const body = JSON.stringify({ errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }] });
  return new Response(c.req.method === 'HEAD' ? null : body, { status, headers });
}

/**
 * Whatever is no refusal of ours is a store that failed, or a mistake of ours; either way the request was not carried out
 * and the client may try again. It is never told as "absent" or "not allowed" (invariant 10), nor is the cause shown.
 */
function unavailable(error: unknown): RegistryError {
  console.error('request failed:', error instanceof Error ? (error.stack ?? error.message) : error);
  return new RegistryError('UNAVAILABLE', { cause: error });
}
