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

export const event = z.strictObject({
  id: z.int().describe('Grows with every event of the registry'),
  sequence: z.int().describe('Numbers the events about one repository, one organization, or the registry itself, without gaps'),
  at: z.iso.datetime(),
  type: z.string().describe('What happened, such as `tag.moved`'),
  repository: z.nullable(z.string()),
  organization: z
    .nullable(z.string())
    .describe('Set if the event is about an organization, its people, teams, robots or rules'),
  target: z
    .record(z.string(), z.unknown())
    .describe('What was changed; the fields depend on the type. Events about tags and manifests have `cause`'),
  actor: z.strictObject({
    subject: z.string().describe('Who did it, such as `user:alice`'),
    key: z.nullable(z.string()).describe('The access key that was used'),
  }),
});

export const loggedEvent = event.extend({
  organization: z
    .nullable(z.string())
    .describe('The organization that the event is about, or that its repository belongs to. `null`: none'),
  actor: event.shape.actor.extend({
    keyName: z.nullable(z.string()).describe('The name of that key. `null`: no key was used, or it no longer exists'),
  }),
  address: z
    .optional(z.string())
    .describe(
      'The address of the client, or with `AUDIT_ADDRESSES=hashed` a hash of it. Recorded for logins and requests to ' +
        'the API, and kept for `AUDIT_ADDRESS_DAYS`',
    ),
});
