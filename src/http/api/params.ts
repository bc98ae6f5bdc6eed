/** Parses paths, headers and parameters of the management API. */
import type * as z from 'zod';
import type { instant } from '../../contract/fields.ts';
import { PAGE_DEFAULT } from '../../contract/pages.ts';
import type { PageQuery } from '../../oci/page.ts';
import { parseName } from '../../vocabulary/names.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { RequestContext } from '../context.ts';

/** @throws request-invalid */
export function organizationIn(c: RequestContext): string {
  return parseName(c.req.param('organization') ?? '');
}

/** The subject in the path, like `team:acme/dev`. @throws request-invalid */
export function subjectIn(c: RequestContext, kind: 'team' | 'robot'): string {
  return `${kind}:${organizationIn(c)}/${parseName(c.req.param(kind) ?? '')}`;
}

export function pageQueryOf(query: { n?: number | undefined; last?: string | undefined }): PageQuery {
  return { after: query.last ?? '', limit: query.n ?? PAGE_DEFAULT };
}

/** Rounded up to the second, as events are recorded to the second. */
export function secondsOf(time: z.output<typeof instant>): number {
  return Math.ceil(Date.parse(time) / 1000);
}

/** The version that the caller expects: that of `If-Match`; 0 (absent) for `If-None-Match: *`; `null` for any. */
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
 * The Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header): a quoted string, or unquoted as many clients send it.
 * `null`: none.
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
