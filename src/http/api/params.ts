/** Parses path parameters, query parameters and headers of the management API. */
import type * as z from 'zod';
import type { instant } from '../../contract/fields.ts';
import type { PageQuery } from '../../oci/page.ts';
import { parseName } from '../../vocabulary/names.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { RequestContext } from '../context.ts';

/** @throws request-invalid */
export function organizationIn(c: RequestContext): string {
  return parseName(c.req.param('organization') ?? '');
}

/** The subject of the team or robot in the path, like `team:acme/dev`. @throws request-invalid */
export function subjectIn(c: RequestContext, kind: 'team' | 'robot'): string {
  return `${kind}:${organizationIn(c)}/${parseName(c.req.param(kind) ?? '')}`;
}

export function pageQueryOf(query: { n: number; last?: string | undefined }): PageQuery {
  return { after: query.last ?? '', limit: query.n };
}

/** The time in seconds since the epoch. It is rounded up, because events are recorded with a precision of one second. */
export function secondsOf(time: z.output<typeof instant>): number {
  return Math.ceil(Date.parse(time) / 1000);
}

/**
 * The version that the stored object must have. `If-Match` gives the version in its ETag. `If-None-Match: *` gives 0, which
 * means that the object must not exist. `null` if the request has no condition.
 * @throws version-mismatch if `If-Match` is not an ETag of this API
 */
export function expectedVersion(c: RequestContext): number | null {
  if (c.req.header('if-none-match')?.trim() === '*') return 0;
  const header = c.req.header('if-match');
  if (header === undefined) return null;
  const version = /^"(\d{1,15})"$/.exec(header.trim())?.[1];
  if (version === undefined)
    throw new Refusal('version-mismatch', {
      message: 'If-Match is not an ETag of this registry. Nothing was changed: read the ETag again',
    });
  return Number(version);
}

/**
 * Returns a function that is true for every ETag that the `If-Match` header lists (RFC 9110, section 13.1.1). `null` if the
 * header is missing or `*`.
 */
export function expectedPlan(c: RequestContext): ((etag: string) => boolean) | null {
  const header = c.req.header('if-match');
  if (header === undefined || header.trim() === '*') return null;
  const etags = header.split(',').map((etag) => etag.trim());
  return (etag) => etags.includes(etag);
}

/**
 * The value of the header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header). The draft requires a quoted string, but
 * many clients send it without quotes. `null` if the header is missing.
 * @throws request-invalid
 */
export function idempotencyKeyOf(c: RequestContext): string | null {
  const header = c.req.header('idempotency-key');
  if (header === undefined) return null;
  const key = /^"([^"\\]+)"$/.exec(header)?.[1] ?? header;
  if (/^[!#-[\]-~]{1,255}$/.test(key)) return key;
  throw new Refusal('request-invalid', {
    message: 'Idempotency-Key must have up to 255 letters, digits and signs, without spaces',
  });
}
