/** Loads the reader of a page that needs no right. */
import { loadCaller } from '../../app/authentication.ts';
import type { Call } from '../../app/call.ts';
import { isRefusal } from '../../vocabulary/refusal.ts';
import { arrivalOf } from '../authenticate.ts';
import { type AppEnv, callOf, type RequestContext } from '../context.ts';
import { limitExpensiveReads } from '../limits.ts';

type Setter = { set: <K extends keyof AppEnv['Variables']>(key: K, value: AppEnv['Variables'][K]) => void };

/**
 * Loads the rights of the reader and returns the context for an operation. If the session has ended, the reader counts as
 * anonymous.
 * @param repositories the repositories whose policies the operation needs
 */
export async function viewerCall(c: RequestContext & Setter, repositories: readonly string[] = []): Promise<Call> {
  const load = () => loadCaller(arrivalOf(c), c.var.caller.credential, { repositories });
  const authority = await load().catch((error: unknown) => {
    if (!isRefusal(error, 'unauthenticated')) throw error;
    c.set('caller', { subject: '', credential: null, grants: null });
    return load();
  });
  c.set('authority', authority);
  // The request is charged here. For pages that need a right, the guard charges it.
  await limitExpensiveReads(c);
  return callOf(c);
}
