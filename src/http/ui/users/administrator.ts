/** The context for pages that exist only for administrators. */
import type { Call } from '../../../app/call.ts';
import { Refusal } from '../../../vocabulary/refusal.ts';
import { callOf, type RequestContext } from '../../context.ts';

/** Returns the context of an administrator. @throws not-found for other readers, for whom these pages do not exist */
export function administratorCall(c: RequestContext): Call {
  const call = callOf(c);
  const { administrator, bounds } = call.authority;
  if (!administrator || bounds.length > 0) throw new Refusal('not-found');
  return call;
}
