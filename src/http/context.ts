/** The context of a request: its variables in Hono, and the `Call` that operations get. */
import type { Context } from 'hono';
import type { Caller } from '../app/authentication.ts';
import type { Authority, Background, Call } from '../app/call.ts';
import type { AssumedRights, ContentCall } from '../app/content.ts';
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
    /** The caller's rights, loaded by the guard of the route. Not set for a pull that the access token alone allows. */
    authority?: Authority;
    repository?: RepositoryName;
    webhook?: Subscription;
    uploading?: UploadReads;
    assumed?: AssumedRights;
    auditAddress?: string | null;
    /** The account that requested a token, for the request log. */
    subject?: string;
    /** The reason of the refusal, for the request log. */
    reason?: Reason;
  };
}

/** The part of Hono's context that helpers need. `get` is cheaper than `var`, which copies all variables. */
export type RequestContext = Pick<Context<AppEnv>, 'env' | 'req' | 'executionCtx' | 'get' | 'var'>;

interface Place {
  origin: string;
  host: string;
}

/** The parsed origin of each request. It is parsed once, because parsing a URL costs as much as the rest of a route. */
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

/** Returns the scheme, host and port of `PUBLIC_URL`. Without that setting, returns those that the client used. */
export function originOf(c: RequestContext): string {
  return placeOf(c).origin;
}

/** Returns the host and port of `originOf`. Access tokens contain it as the service for which they are valid. */
export function hostOf(c: RequestContext): string {
  return placeOf(c).host;
}

/**
 * Returns an object that runs work after the answer and logs its failure. If the runtime's own `waitUntil` were used, the
 * request would count as failed.
 */
export function afterwards(c: RequestContext): Background {
  const log = (error: unknown) => report('request.work-failed', { requestId: c.get('requestId'), error });
  return { waitUntil: (work) => c.executionCtx.waitUntil(work.catch(log)) };
}

/**
 * Returns the context for an operation. @throws Error if no guard has loaded the caller's rights, which is a bug of the route
 */
export function callOf(c: RequestContext): Call {
  const { authority, auditAddress = null } = c.var;
  if (!authority) throw new Error("no guard has loaded the caller's rights");
  return { ...baseOf(c), authority, address: auditAddress };
}

/**
 * Returns the context for an operation on content. The caller's rights may be missing, because an access token alone can allow
 * a pull.
 */
export function contentCallOf(c: RequestContext): ContentCall {
  return {
    ...baseOf(c),
    caller: c.get('caller'),
    authority: c.get('authority') ?? null,
    uploading: c.get('uploading') ?? null,
    assumed: c.get('assumed') ?? null,
    address: c.get('auditAddress') ?? null,
  };
}

/**
 * Returns the parts of a `Call` that do not depend on the caller. Operations get the time from `now` and never read the clock.
 */
export function baseOf(c: RequestContext): Omit<Call, 'authority' | 'address'> {
  const { origin, host } = placeOf(c);
  return { env: c.env, origin, service: host, now: Date.now(), work: afterwards(c) };
}

/** Returns the repository in the path. @throws Error if the path of the route has none, which is a bug of the route */
export function repositoryIn(c: RequestContext): RepositoryName {
  return set(c.get('repository'));
}

/** Returns the webhook in the path. @throws Error if the path of the route has none, which is a bug of the route */
export function webhookIn(c: RequestContext): Subscription {
  return set(c.get('webhook'));
}

function set<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('no guard has set this');
  return value;
}

/** Returns true for a request of the ECR API. It has the same path as the home page of the web console. */
export function isEcr({ req }: Pick<RequestContext, 'req'>): boolean {
  return req.method === 'POST' && req.path === '/' && req.header('x-amz-target') !== undefined;
}
