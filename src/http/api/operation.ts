/**
 * Describes a route of the management API. The same schemas check its requests and appear in the OpenAPI document. Unknown
 * fields are refused.
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

/** Bytes. The longest field is a repository's overview. */
const BODY_MAX_BYTES = 512 * 1024;

export interface Operation {
  /** The group in the OpenAPI document. */
  group: string;
  summary: string;
  /** Markdown. */
  description?: string;
  query?: z.ZodObject;
  body?: z.ZodType;
  /** By status. An answer without a schema has no body. */
  answers: Record<number, { description: string; schema?: z.ZodType }>;
  /** Rows that it reads at most, about; left out: those of its page. */
  rowsRead?: number;
  /** It supports conditions: `If-Match` with an ETag, and `If-None-Match: *`. */
  conditional?: true;
  /** It supports an `Idempotency-Key`: a repeated request has no further effect (draft-ietf-httpapi-idempotency-key-header). */
  repeatable?: true;
}

type Parsed<T extends z.ZodType | undefined> = T extends z.ZodType ? z.output<T> : undefined;

/** Checks query and body, and sets them parsed. @throws request-invalid with the fields that are wrong */
export function operation<const O extends Operation>(spec: O) {
  type Variables = { query: Parsed<O['query']>; body: Parsed<O['body']> };
  const check = createMiddleware<AppEnv & { Variables: Variables }>(async function check(c, next) {
    // The guard of the route has set who is charged.
    if (c.req.method !== 'GET' && c.req.method !== 'HEAD') await limitWrites(c);
    else if (spec.query) await limitExpensiveReads(c, spec.rowsRead);
    c.set('query', (spec.query ? parse(spec.query, queryOf(c), 'query') : undefined) as Variables['query']);
    c.set('body', (spec.body ? parse(spec.body, await bodyOf(c), 'body') : undefined) as Variables['body']);
    await next();
  });
  return Object.assign(check, { operation: spec });
}

/** The description that `operation` attached to a handler; `null` for other handlers. */
export function operationOf(handler: Handler | object): Operation | null {
  return 'operation' in handler ? (handler.operation as Operation) : null;
}

function queryOf(c: RequestContext): Record<string, string> {
  const all = Object.entries(c.req.queries());
  const repeated = all.find(([, values]) => values.length > 1);
  if (repeated) throw new Refusal('request-invalid', { message: `"${repeated[0]}" is given more than once: send it once` });
  return Object.fromEntries(all.map(([name, values]) => [name, values[0] ?? '']));
}

/** A request without a body counts as an empty object. A PATCH has to say what it changes. */
async function bodyOf(c: RequestContext): Promise<unknown> {
  const bytes = await readBody(c, BODY_MAX_BYTES);
  if (bytes.byteLength === 0) {
    if (c.req.method !== 'PATCH') return {};
    throw new Refusal('request-invalid', { message: 'the request has no body: send what to change as JSON' });
  }
  const type = c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') throw new Refusal('request-invalid', { message: 'the body must be application/json' });
  try {
    return parseStrictJson(bytes).value;
  } catch (error) {
    throw new Refusal('request-invalid', { message: `the body is not valid JSON: ${(error as Error).message}` });
  }
}
