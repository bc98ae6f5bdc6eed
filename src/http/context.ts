/** What travels with a request: bindings, who makes it, where and when. */
import type { Context } from 'hono';
import { type Call, INTERNET } from '../app/call.ts';
import type { ContentCall } from '../app/content.ts';
import type { Authority } from '../auth/authority.ts';
import type { Caller } from '../auth/policy.ts';
import type { Runtime } from '../auth/runtime.ts';
import { type Env, settings } from '../env.ts';
import type { Background } from '../events/batch.ts';
import { type Counts, report } from '../telemetry.ts';
import type { Reason } from '../vocabulary/reasons.ts';

export interface AppEnv {
  Bindings: Env;
  /** `authority`: set where the request was judged by the database, as all but pulls with a token are. */
  Variables: {
    caller: Caller;
    authority?: Authority;
    auditAddress?: string | null;
    requestId: string;
    counts: Counts;
    /** For the log: who got a token, and why a request was refused. */
    subject?: string;
    reason?: Reason;
  };
}

/** What the helpers of this room need of a context, whatever route it is of. */
export type RequestContext = Pick<Context<AppEnv>, 'env' | 'req' | 'executionCtx' | 'var'>;

interface Place {
  origin: string;
  host: string;
}

/** Parsed once a request: parsing an address costs as much as a route's own work. */
const places = new WeakMap<RequestContext['req'], Place>();

function placeOf(c: RequestContext): Place {
  const known = places.get(c.req);
  if (known) return known;
  const { publicUrl } = settings(c.env);
  const { origin, host } = new URL(publicUrl ?? c.req.url);
  const place = { origin, host };
  places.set(c.req, place);
  return place;
}

/** Scheme and host that the client used, or the ones the deployment says it has. */
export function originOf(c: RequestContext): string {
  return placeOf(c).origin;
}

/** The same without the scheme: the service that tokens are for. */
export function hostOf(c: RequestContext): string {
  return placeOf(c).host;
}

/** The service, the time and the network: the only clock below this room is the database's. */
export function runtimeOf(c: RequestContext): Runtime {
  const { insecureIssuers } = settings(c.env);
  return { service: hostOf(c), now: Date.now(), fetch: INTERNET.fetch, insecureIssuers };
}

/**
 * For work whose failure concerns nobody but the log. Hono's context itself must not be handed down: a rejection there would
 * count against the request.
 */
export function afterwards(c: RequestContext): Background {
  const log = (error: unknown) => report('request.work-failed', { requestId: c.var.requestId, error });
  return { waitUntil: (work) => c.executionCtx.waitUntil(work.catch(log)) };
}

/** What operations need of a request. @throws Error if no guard has loaded the caller's rights, which is a mistake of ours */
export function callOf(c: RequestContext): Call {
  const { authority } = c.var;
  if (!authority) throw new Error("no guard has loaded the caller's rights");
  return { ...baseOf(c), authority };
}

/** The same for requests about content, some of which an access token allows by itself. */
export function contentCallOf(c: RequestContext): ContentCall {
  const { authority = null, caller } = c.var;
  return { ...baseOf(c), caller, authority };
}

function baseOf(c: RequestContext): Omit<Call, 'authority'> {
  const { auditAddress = null } = c.var;
  const { origin, host } = placeOf(c);
  return { env: c.env, address: auditAddress, origin, service: host, now: Date.now(), work: afterwards(c) };
}
