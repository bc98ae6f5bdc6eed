/** Schemas of the answers that belong to `../activity.ts`. The Worker does not contain them. */
import * as z from 'zod';

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
