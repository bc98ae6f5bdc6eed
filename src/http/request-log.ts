/** Gives each request an id, which its answer has in a header, and writes its line in the log. */
import { createMiddleware } from 'hono/factory';
import { routePath } from 'hono/route';
import { type Counts, configureLog, logsEverything, newCounts, report } from '../telemetry.ts';
import type { AppEnv, RequestContext } from './context.ts';

/** The first middleware, so that it measures all others. Work after the answer is not counted. */
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

/** The format of Cloudflare's request id. */
const RAY = /^[0-9a-f]{16}(?:-[A-Z]{3})?$/;

/**
 * Cloudflare's own id, which its dashboard shows too. Under `npm start` the header is ignored, because the client writes it.
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

/** @param route the pattern of the path, which contains no value that a client sent */
function fieldsOf(c: RequestContext & { res: Response }, route: string, { id, counts, ms }: Measured): Record<string, unknown> {
  const { authority, caller, subject, reason } = c.var;
  return {
    id,
    method: c.req.method,
    route,
    door: /^\/(v2|api|token|join)(?:\/|$)/.exec(c.req.path)?.[1] ?? null,
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

/** `null` for a body without a Content-Length. */
function lengthOf(header: string | null | undefined): number | null {
  return header && /^\d{1,15}$/.test(header) ? Number(header) : null;
}
