/** Sends stored content, with headers, conditions (RFC 9110, section 13) and ranges (section 14). */
import type { Context } from 'hono';
import type { Digest } from '../oci/digest.ts';
import { type ByteRange, contentRange, requestedRanges } from '../oci/range.ts';
import { multipartOf } from './byteranges.ts';
import type { RequestContext } from './context.ts';

interface Content {
  digest: Digest;
  mediaType: string;
  size: number;
  /** `immutable` if the request names the content by its digest. `revalidate` for a tag, which may name other content later. */
  caching: 'immutable' | 'revalidate';
}

/**
 * Answers GET and HEAD. Pushed content must never run in a browser. So it is sent as a download and in a sandbox, and browsers
 * must not guess its type (`nosniff`).
 * @param open opens the whole content (`null`) or a range of it. Called only if bytes are sent
 */
export async function sendContent(
  c: RequestContext,
  content: Content,
  open: (range: ByteRange | null) => Promise<ReadableStream | Uint8Array>,
): Promise<Response> {
  const { digest, mediaType, size } = content;
  const etag = `"${digest}"`;
  // A plain object: the runtime would copy a `Headers` object for each response.
  const headers: Record<string, string> = {
    'accept-ranges': 'bytes',
    'cache-control':
      content.caching === 'immutable'
        ? 'private, max-age=31536000, immutable, no-transform'
        : 'private, no-cache, no-transform',
    'content-disposition': 'attachment',
    'content-security-policy': "sandbox; default-src 'none'",
    'docker-content-digest': digest,
    etag,
  };
  if (matchesEtag(c.req.header('if-none-match'), etag)) return new Response(null, { status: 304, headers });
  headers['content-type'] = mediaType;
  headers['content-length'] = String(size);
  if (c.req.method === 'HEAD') return new Response(null, { headers });
  const condition = c.req.header('if-range');
  const ranges = condition === undefined || condition === etag ? requestedRanges(c.req.header('range'), size) : null;
  const [range, ...more] = ranges ?? [];
  if (!range) return new Response((await open(null)) as BodyInit, { headers });
  if (more.length > 0) {
    const { contentType, length, body } = await multipartOf([range, ...more], content, open);
    headers['content-type'] = contentType;
    headers['content-length'] = String(length);
    return new Response(body, { status: 206, headers });
  }
  const body = await open(range);
  headers['content-length'] = String(range.length);
  headers['content-range'] = contentRange(range, size);
  return new Response(body as BodyInit, { status: 206, headers });
}

/** Returns true if an If-None-Match header matches the ETag. The header may be a list or `*`. The comparison is weak. */
export function matchesEtag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.trim() === '*' || header.split(',').some((one) => one.trim().replace(/^W\//, '') === etag);
}

/** Answers with JSON, and sets Content-Length, also for HEAD. */
export function sendJson(c: Context, value: unknown, headers: Record<string, string> = {}): Response {
  const body = new Uint8Array(new TextEncoder().encode(JSON.stringify(value)));
  return c.body(body, 200, { 'content-type': 'application/json', ...headers, 'content-length': String(body.byteLength) });
}
