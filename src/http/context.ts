/** The context of a request: bindings, caller, address, time and network. */
import type { Context } from 'hono';
import type { Caller } from '../app/authentication.ts';
import type { Authority, Background, Call } from '../app/call.ts';
import type { ContentCall } from '../app/content.ts';
import type { Subscription } from '../app/subscriptions.ts';
import type { UploadReads } from '../app/upload-reads.ts';
import { type Env, settings } from '../env.ts';
import type { RepositoryName } from '../oci/name.ts';
import { type Counts, report } from '../telemetry.ts';
import type { Reason } from '../vocabulary/reasons.ts';

export interface AppEnv {
  Bindings: Env;
  Variables: {
    requestId: string;
    counts: Counts;
    caller: Caller;
    /** Set by the guard of the route. Not set for a pull with an access token, about which the database was not asked. */
    authority?: Authority;
    repository?: RepositoryName;
    webhook?: Subscription;
    uploading?: UploadReads;
    auditAddress?: string | null;
    /** For the log: who got a token, and why a request was refused. */
    subject?: string;
    reason?: Reason;
  };
}

/** The part of a route's context that helpers need. */
export type RequestContext = Pick<Context<AppEnv>, 'env' | 'req' | 'executionCtx' | 'var'>;

interface Place {
  origin: string;
  host: string;
}

/** Parsed once for each request: parsing an address costs as much as the rest of a route. */
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

/** Scheme and host that the client used, or those of `PUBLIC_URL`. */
export function originOf(c: RequestContext): string {
  return placeOf(c).origin;
}

/** The host: the service that tokens are for. */
export function hostOf(c: RequestContext): string {
  return placeOf(c).host;
}

/** For work whose failure is only logged. With Hono's own `waitUntil` a failure would count against the request. */
export function afterwards(c: RequestContext): Background {
  const log = (error: unknown) => report('request.work-failed', { requestId: c.var.requestId, error });
  return { waitUntil: (work) => c.executionCtx.waitUntil(work.catch(log)) };
}

/** The request as operations need it. @throws Error if the route has no guard that loads the caller's rights, which is a bug */
export function callOf(c: RequestContext): Call {
  const { authority, auditAddress = null } = c.var;
  if (!authority) throw new Error("no guard has loaded the caller's rights");
  return { ...baseOf(c), authority, address: auditAddress };
}

/** The same for operations on content, some of which an access token allows by itself. */
export function contentCallOf(c: RequestContext): ContentCall {
  const { authority = null, uploading = null, auditAddress = null, caller } = c.var;
  return { ...baseOf(c), caller, authority, uploading, address: auditAddress };
}

/** The parts of a `Call` that do not depend on the caller. Below the doors, the only clock is the database's. */
export function baseOf(c: RequestContext): Omit<Call, 'authority' | 'address'> {
  const { origin, host } = placeOf(c);
  return { env: c.env, origin, service: host, now: Date.now(), work: afterwards(c) };
}

/** The repository in the path. @throws Error on a route without one, which is a bug */
export function repositoryIn(c: RequestContext): RepositoryName {
  return set(c.var.repository);
}

/** The webhook in the path. @throws Error on a route without one, which is a bug */
export function webhookIn(c: RequestContext): Subscription {
  return set(c.var.webhook);
}

function set<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('no guard has set this');
  return value;
}
