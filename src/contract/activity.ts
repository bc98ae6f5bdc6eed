/** Schemas of the audit log in the management API. */
import * as z from 'zod';
import { isDigest } from '../oci/digest.ts';
import { isRepositoryName } from '../oci/name.ts';
import { isTag } from '../oci/reference.ts';
import { CAUSES } from '../vocabulary/causes.ts';
import { EVENT_TYPES } from '../vocabulary/event-types.ts';
import { instant } from './fields.ts';
import { PAGE_QUERY } from './pages.ts';

export const activityQuery = z
  .strictObject({
    ...PAGE_QUERY,
    last: z.optional(z.string().regex(/^[1-9]\d{0,14}$/, 'must be `next` of the page before')),
    repository: z
      .optional(z.string().refine(isRepositoryName, 'must be a repository name, such as acme/api'))
      .describe(
        'Only events about this repository, which may be deleted. You need the right to administer it. If another ' +
          'repository had this name before, its events are shown only to owners of the organization',
      ),
    organization: z
      .optional(z.string().max(64))
      .describe('Only events about this organization and its repositories. For its owners'),
    tag: z.optional(z.string().refine(isTag, 'must be a tag')).describe('Only events that name this tag. With `repository`'),
    digest: z
      .optional(z.string().refine(isDigest, 'must be sha256: and 64 hex digits, or sha512: and 128'))
      .describe('Only events that name this digest, as the new or the previous one. With `repository`'),
    actor: z
      .optional(z.string().max(255))
      .describe('Only what this subject did: `user:…`, `robot:…/…`, `ci:…`, or `registry`, the registry itself'),
    type: z
      .optional(
        z
          .string()
          .max(1000)
          .transform((text) => text.split(','))
          .pipe(z.array(z.enum(EVENT_TYPES))),
      )
      .describe('Only events of these types, separated by commas'),
    cause: z.optional(z.enum(CAUSES)).describe('Only changes of tags and manifests with this cause'),
    since: z.optional(instant).describe('Only events at this time or later'),
    until: z.optional(instant).describe('Only events before this time'),
  })
  .refine(
    (sent) => sent.repository === undefined || sent.organization === undefined,
    'must have repository or organization, not both',
  )
  .refine(
    (sent) => sent.repository !== undefined || (sent.tag === undefined && sent.digest === undefined),
    'must have repository with tag or digest',
  );
