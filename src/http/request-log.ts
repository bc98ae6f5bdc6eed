/** The id of a request, which every answer carries, and its line in the log. */
import { createMiddleware } from 'hono/factory';
import { routePath } from 'hono/route';
import { type Counts, configureLog, logsEverything, newCounts, report } from '../telemetry.ts';
import type { AppEnv, RequestContext } from './context.ts';

/** The first middleware of all: what it measures includes the others. Work that goes on after the answer is not counted. */
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

/** As Cloudflare writes it. */
const RAY = /^[0-9a-f]{16}(?:-[A-Z]{3})?$/;

/**
 * Cloudflare's own id, by which its dashboard finds the request. Under `npm start` the header is the client's, and counts for
 * nothing.
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

/** @param route the pattern, which holds no value that a client sent */
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

/** `null` for a body whose length nobody announced. */
function lengthOf(header: string | null | undefined): number | null {
  return header && /^\d{1,15}$/.test(header) ? Number(header) : null;
}
