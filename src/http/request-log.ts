/** Gives each request an id, sends the id in the header `x-request-id`, and writes one log line for the request. */
import { createMiddleware } from 'hono/factory';
import { routePath } from 'hono/route';
import { type Counts, configureLog, logsEverything, newCounts, report } from '../telemetry.ts';
import { type AppEnv, isEcr, type RequestContext } from './context.ts';

/**
 * Must be the first middleware, so that it measures the time of all others. D1 and R2 operations after the answer are not
 * counted.
 */
export const logRequest = createMiddleware<AppEnv>(async function logRequest(c, next) {
  configureLog(c.env);
  const started = Date.now();
  const id = requestIdOf(c);
  const counts = newCounts();
  c.set('requestId', id);
  c.set('counts', counts);
  await next();
  c.res.headers.set('x-request-id', id);
  if (logsEverything()) report('request', fieldsOf(c, routePath(c), { id, counts, ms: Date.now() - started }));
});

/** The format of the request id in Cloudflare's header `cf-ray`. */
const RAY = /^[0-9a-f]{16}(?:-[A-Z]{3})?$/;

/**
 * Returns Cloudflare's request id, which its dashboard also shows, or otherwise a new id. Under `npm start` the header `cf-ray`
 * is ignored, because the client could have written it.
 */
function requestIdOf(c: RequestContext): string {
  const ray = c.env.ADDRESS_FROM === 'socket' ? '' : (c.req.header('cf-ray') ?? '');
  return RAY.test(ray) ? ray : crypto.randomUUID();
}

const NAME_MAX_LENGTH = 255;

interface Measured {
  id: string;
  counts: Counts;
  ms: number;
}

/** Returns the fields of the log line. @param route the pattern of the path, which contains no value from the client */
function fieldsOf(c: RequestContext & { res: Response }, route: string, { id, counts, ms }: Measured): Record<string, unknown> {
  const { authority, caller, subject, reason } = c.var;
  return {
    id,
    method: c.req.method,
    route,
    door: isEcr(c) ? 'ecr' : (/^\/(v2|api|token|join|layers)(?:\/|$)/.exec(c.req.path)?.[1] ?? null),
    subject: authority?.subject || caller?.subject || subject || null,
    repository: c.req.param('name')?.slice(0, NAME_MAX_LENGTH) ?? null,
    status: c.res.status,
    reason: reason ?? null,
    bytesIn: lengthOf(c.req.header('content-length')),
    bytesOut: lengthOf(c.res.headers.get('content-length')),
    ...counts,
    ms,
  };
}

/** Returns the value of a Content-Length header, or `null` if the header is missing or no number. */
function lengthOf(header: string | null | undefined): number | null {
  return header && /^\d{1,15}$/.test(header) ? Number(header) : null;
}
