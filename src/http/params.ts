/** Parses query parameters and bodies. */

import type { Chunk } from '../app/blobs.ts';
import { type Condition, parseCondition } from '../oci/condition.ts';
import { parseChunkRange } from '../oci/range.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import type { RequestContext } from './context.ts';

/** The maximum and default number of entries of a page. */
const PAGE_MAX = 1000;

/** @throws parameter-invalid if the parameter is repeated */
export function single(c: RequestContext, name: string): string | undefined {
  const values = c.req.queries(name) ?? [];
  if (values.length > 1) throw new Refusal('parameter-invalid', { message: `"${name}" is given more than once: send it once` });
  return values[0];
}

/**
 * Returns the condition in the headers `If-Match` and `If-None-Match`, or `null` if there is none. @throws parameter-invalid
 */
export function conditionIn(c: RequestContext): Condition | null {
  return parseCondition(c.req.header('if-match'), c.req.header('if-none-match'));
}

/** Returns the page size `n` of a list, from 0 to 1000. @throws parameter-invalid if it is not a whole number */
export function pageSize(c: RequestContext): number {
  const text = single(c, 'n');
  if (text === undefined) return PAGE_MAX;
  if (!/^\d{1,15}$/.test(text)) throw new Refusal('parameter-invalid', { message: '"n" must be a whole number' });
  return Math.min(Number(text), PAGE_MAX);
}

/**
 * Returns the Link header to the next page (RFC 8288, relation `next`). @param parameters the query parameters of the next page
 */
export function nextLink(c: RequestContext, parameters: Record<string, string | undefined>): Record<string, string> {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) query.set(name, value);
  // A space is sent as `%20`. The parameter `mediaType` of the referrers API reads a plus as a plus, not as a space.
  return { link: `<${c.req.path}?${query.toString().replaceAll('+', '%20')}>; rel="next"` };
}

/** Returns the number of bytes of the body, or `null` if the request has a body without a Content-Length. */
export function contentLength(c: RequestContext): number | null {
  const text = c.req.header('content-length');
  if (text !== undefined) return Number(text);
  return c.req.raw.body ? null : 0;
}

/** Returns the body of a request as a chunk of an upload. @throws chunk-out-of-order if its Content-Range is invalid */
export function chunkOf(c: RequestContext): Chunk {
  const length = contentLength(c);
  const stream = length === 0 ? null : (c.req.raw.body as ReadableStream | null);
  return { body: { stream, length: stream ? length : 0 }, range: parseChunkRange(c.req.header('content-range')) };
}

/** Reads the whole body. @throws body-too-large as soon as it exceeds `max` bytes; body-incomplete if it ends early */
export async function readBody(c: RequestContext, max: number): Promise<Uint8Array> {
  const tooLarge = () =>
    new Refusal('body-too-large', { message: `the body of the request is too large: it may have up to ${max} bytes` });
  const length = contentLength(c);
  if (length !== null && length > max) throw tooLarge();
  const bytes = await (length === null ? readUpTo(c.req.raw.body as ReadableStream, max) : c.req.arrayBuffer()).catch(
    (error: unknown) => {
      throw new Refusal('body-incomplete', { cause: error });
    },
  );
  if (bytes === null) throw tooLarge();
  return new Uint8Array(bytes);
}

/** Returns the body, or `null` if it is longer than `max` bytes. In that case the rest of the body can still be read */
async function readUpTo(body: ReadableStream<Uint8Array>, max: number): Promise<ArrayBuffer | null> {
  const reader = body.getReader();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      size += next.value.byteLength;
      if (size > max) return null;
      chunks.push(next.value as Uint8Array<ArrayBuffer>);
    }
  } finally {
    reader.releaseLock();
  }
  return new Blob(chunks).arrayBuffer();
}
