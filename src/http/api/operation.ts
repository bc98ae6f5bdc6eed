/**
 * The middleware that checks the requests of a route of the management API. The same schemas check the requests and appear in
 * the OpenAPI document. A request with unknown fields is refused.
 */
import type { Handler } from 'hono';
import { createMiddleware } from 'hono/factory';
import type * as z from 'zod';
import { parse } from '../../contract/valid.ts';
import { parseStrictJson } from '../../oci/json.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { AppEnv, RequestContext } from '../context.ts';
import { limitExpensiveReads, limitWrites } from '../limits.ts';
import { readBody } from '../params.ts';

/** The maximum number of bytes of a body. The longest field is the overview of a repository. */
const BODY_MAX_BYTES = 512 * 1024;

/** What the Worker does for an operation. The folder `reference` describes it. */
export interface Operation {
  query?: z.ZodObject;
  body?: z.ZodType;
  /** The approximate maximum of D1 rows that a request reads. If left out, the default for lists is charged. */
  rowsRead?: number;
  /** True if the operation supports conditions: `If-Match` with an ETag, and `If-None-Match: *`. */
  conditional?: true;
  /** True if the operation supports an `Idempotency-Key`, with which a repeated request has no further effect. */
  repeatable?: true;
}

type Parsed<T extends z.ZodType | undefined> = T extends z.ZodType ? z.output<T> : undefined;

/**
 * Returns a middleware that applies the rate limits, checks the query and the body, and sets the variables `query` and `body`.
 * @throws request-invalid with the invalid fields; rate-limited; daily-limit
 */
export function operation<const O extends Operation>(spec: O) {
  type Variables = { query: Parsed<O['query']>; body: Parsed<O['body']> };
  const check = createMiddleware<AppEnv & { Variables: Variables }>(async function check(c, next) {
    // The guard of the route has run before, and has set the account to charge.
    if (c.req.method !== 'GET' && c.req.method !== 'HEAD') await limitWrites(c);
    else if (spec.query) await limitExpensiveReads(c, spec.rowsRead);
    c.set('query', (spec.query ? parse(spec.query, queryOf(c), 'query') : undefined) as Variables['query']);
    c.set('body', (spec.body ? parse(spec.body, await bodyOf(c), 'body') : undefined) as Variables['body']);
    await next();
  });
  return Object.assign(check, { operation: spec });
}

/** The operation that `operation` attached to a handler; `null` for other handlers. */
export function operationOf(handler: Handler | object): Operation | null {
  return 'operation' in handler ? (handler.operation as Operation) : null;
}

function queryOf(c: RequestContext): Record<string, string> {
  const all = Object.entries(c.req.queries());
  const repeated = all.find(([, values]) => values.length > 1);
  if (repeated) throw new Refusal('request-invalid', { message: `"${repeated[0]}" is given more than once: send it once` });
  return Object.fromEntries(all.map(([name, values]) => [name, values[0] ?? '']));
}

const NOT_JSON = 'the body must be JSON, and the request must say so: Content-Type: application/json';

/** Returns the parsed body. A missing body counts as an empty object, except in a PATCH request. @throws request-invalid */
async function bodyOf(c: RequestContext): Promise<unknown> {
  const bytes = await readBody(c, BODY_MAX_BYTES);
  if (bytes.byteLength === 0) {
    if (c.req.method !== 'PATCH') return {};
    throw new Refusal('request-invalid', { message: 'the request has no body: send what to change as JSON' });
  }
  const type = c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') throw new Refusal('request-invalid', { message: NOT_JSON });
  try {
    return parseStrictJson(bytes).value;
  } catch (error) {
    throw new Refusal('request-invalid', { message: `the body is not valid JSON: ${(error as Error).message}` });
  }
}
