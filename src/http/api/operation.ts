/**
 * A route of the management API, described beside itself: what it takes is what is checked, and both are what the OpenAPI
 * document says. Unknown fields are refused, so that no field is set that nobody meant to be settable.
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

/** Bytes: a repository's overview is the longest thing there is to send. */
const BODY_MAX_BYTES = 512 * 1024;

export interface Operation {
  /** Of the OpenAPI document: the group it stands in, and a sentence. */
  group: string;
  summary: string;
  /** More, where a sentence is not enough. Markdown. */
  description?: string;
  query?: z.ZodObject;
  body?: z.ZodType;
  /** By status. Without a schema: no body. */
  answers: Record<number, { description: string; schema?: z.ZodType }>;
  /** About how many rows it reads at most, where that is more than its page. */
  rowsRead?: number;
  /** It can be asked for on condition: `If-Match` with the ETag of what is there, or `If-None-Match: *`. */
  conditional?: true;
  /** With an `Idempotency-Key` it can be sent again without being done again (draft-ietf-httpapi-idempotency-key-header). */
  repeatable?: true;
}

type Parsed<T extends z.ZodType | undefined> = T extends z.ZodType ? z.output<T> : undefined;

/** Checks query and body, and hands them over parsed. @throws request-invalid (400) with what is wrong where */
export function operation<const O extends Operation>(spec: O) {
  type Variables = { query: Parsed<O['query']>; body: Parsed<O['body']> };
  const check = createMiddleware<AppEnv & { Variables: Variables }>(async function check(c, next) {
    // After the guard of the route, so that it is known who asks.
    if (c.req.method !== 'GET' && c.req.method !== 'HEAD') await limitWrites(c);
    else if (spec.query) await limitExpensiveReads(c, spec.rowsRead);
    c.set('query', (spec.query ? parse(spec.query, queryOf(c), 'query') : undefined) as Variables['query']);
    c.set('body', (spec.body ? parse(spec.body, await bodyOf(c), 'body') : undefined) as Variables['body']);
    await next();
  });
  return Object.assign(check, { operation: spec });
}

/** Of a route's handlers, what `operation` attached. */
export function operationOf(handler: Handler | object): Operation | null {
  return 'operation' in handler ? (handler.operation as Operation) : null;
}

function queryOf(c: RequestContext): Record<string, string> {
  const all = Object.entries(c.req.queries());
  const repeated = all.find(([, values]) => values.length > 1);
  if (repeated) throw new Refusal('request-invalid', { message: `"${repeated[0]}" is given more than once` });
  return Object.fromEntries(all.map(([name, values]) => [name, values[0] ?? '']));
}

/** No body is an empty object: many requests have nothing to say. */
async function bodyOf(c: RequestContext): Promise<unknown> {
  const bytes = await readBody(c, BODY_MAX_BYTES);
  if (bytes.byteLength === 0) return {};
  const type = c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') throw new Refusal('request-invalid', { message: 'the body must be application/json' });
  try {
    return parseStrictJson(bytes).value;
  } catch (error) {
    throw new Refusal('request-invalid', { message: `the body is not valid JSON: ${(error as Error).message}` });
  }
}
