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

/** Returns the subject of the team or robot in the path, for example `team:acme/dev`. @throws request-invalid */
export function subjectIn(c: RequestContext, kind: 'team' | 'robot'): string {
  return `${kind}:${organizationIn(c)}/${parseName(c.req.param(kind) ?? '')}`;
}

export function pageQueryOf(query: { n: number; last?: string | undefined }): PageQuery {
  return { after: query.last ?? '', limit: query.n };
}

/**
 * Returns the time in seconds since the epoch. It is rounded up, because events are recorded with a precision of one second.
 */
export function secondsOf(time: z.output<typeof instant>): number {
  return Math.ceil(Date.parse(time) / 1000);
}

/**
 * Returns the version that the stored object must have. `If-Match` states the version in an ETag. `If-None-Match: *` means
 * version 0: the object must not exist. Returns `null` if the request has no condition.
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
 * Returns a function that returns true for every ETag in the `If-Match` header (RFC 9110, section 13.1.1). Returns `null` if
 * the header is missing or `*`.
 */
export function expectedPlan(c: RequestContext): ((etag: string) => boolean) | null {
  const header = c.req.header('if-match');
  if (header === undefined || header.trim() === '*') return null;
  const etags = header.split(',').map((etag) => etag.trim());
  return (etag) => etags.includes(etag);
}

/**
 * Returns the value of the header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header), or `null` if it is missing. The
 * draft requires a quoted string, but many clients send it without quotes. @throws request-invalid
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
