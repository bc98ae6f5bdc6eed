/** What pages and documents for people have in common: the headers that protect a page, and an ETag for what seldom changes. */
import { digestOf } from '../oci/digest.ts';
import { matches } from './content.ts';
import { originOf, type RequestContext } from './context.ts';

/** Seconds: a year, as browsers' own lists ask for. */
const HSTS_MAX_AGE = 365 * 24 * 60 * 60;

/** No page is shown within another one, or shares its window with one of another origin; https stays https. */
export function pageHeaders(c: RequestContext): Record<string, string> {
  const isSecure = originOf(c).startsWith('https:');
  return {
    'x-frame-options': 'DENY',
    'cross-origin-opener-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    ...(isSecure ? { 'strict-transport-security': `max-age=${HSTS_MAX_AGE}` } : {}),
  };
}

/** A document that is the same for all readers of one origin. */
export interface Fixed {
  bytes: Uint8Array<ArrayBuffer>;
  /** Strong, with its quotes. */
  etag: string;
}

export async function fixed(text: string): Promise<Fixed> {
  const bytes = new Uint8Array(new TextEncoder().encode(text));
  return { bytes, etag: `"${await digestOf('sha256', bytes)}"` };
}

/** For a content security policy: lets in this style alone. */
export async function styleSource(style: string): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(style)));
  return `'sha256-${btoa(String.fromCharCode(...hash))}'`;
}

/** The document, or a 304 where the reader has it. */
export function answerFixed(c: RequestContext, { bytes, etag }: Fixed, about: Record<string, string>): Response {
  const headers = { ...about, etag };
  if (matches(c.req.header('if-none-match'), etag)) return new Response(null, { status: 304, headers });
  return new Response(bytes, { headers: { ...headers, 'content-length': String(bytes.byteLength) } });
}
