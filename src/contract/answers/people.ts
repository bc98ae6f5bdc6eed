/** Schemas of the answers that belong to `../people.ts`. The Worker does not contain them. */
import * as z from 'zod';
import { grantsSchema } from '../fields.ts';

export const userSchema = z.strictObject({
  name: z.string(),
  subject: z.string().describe('The name in statements and tokens: `user:alice`'),
  administrator: z.boolean(),
  disabled: z.boolean(),
  joined: z.boolean().describe('The user has accepted an invitation'),
  description: z.string(),
  createdAt: z.iso.datetime(),
});

export const changedUserSchema = userSchema.extend({
  remainingGrants: z
    .optional(grantsSchema)
    .describe('After disabling a user: the policies that still name them. They apply again when the user is enabled'),
});

/** The fields of a user that users of the same organization see. */
export const colleagueSchema = userSchema.pick({ name: true, subject: true });

const invitationSchema = z.strictObject({
  url: z.url().describe('Send this link to the person whom you invite. Whoever accepts it first becomes the user'),
  token: z.string(),
  expiresAt: z.iso.datetime(),
});

export const invitedUserSchema = z.strictObject({
  user: userSchema,
  invitation: z.nullable(invitationSchema).describe('`null`: the user has joined already'),
});

export const joinedUserSchema = z.strictObject({
  user: userSchema,
  key: z.strictObject({
    id: z.string(),
    secret: z.string().describe('Shown only once'),
    expiresAt: z.iso.datetime(),
  }),
  registry: z.string().describe('Host and port, as in the name of an image'),
  login: z.string().describe('A command to run. It asks for the secret'),
});

export const callerSchema = z.strictObject({
  subject: z
    .string()
    .describe(
      'The name in statements and tokens: `user:alice`, `robot:acme/ci`, `ci:acme/deploy`; `ci` for a job that several ' +
        'organizations trust',
    ),
  username: z.string().describe('The user name for `docker login` with an access key'),
  administrator: z.boolean().describe('Always false for a narrowed key. Its lists of organizations and teams are empty'),
  organizations: z.array(z.strictObject({ name: z.string(), role: z.enum(['owner', 'member']) })),
  teams: z.array(z.string()).describe('With their organizations: `acme/dev`'),
  unread: z
    .optional(z.array(z.string()))
    .describe(
      'Subjects whose policies are too large for one request to read. What such a policy could decide is denied, ' +
        'except to administrators',
    ),
  credential: z.strictObject({
    kind: z.enum(['password', 'key', 'login', 'ci']).describe('The credential of this request'),
    key: z.nullable(z.string()).describe('The id of the access key that was used, or with which the login was made'),
    narrowed: z.boolean().describe('The credential may do less than its owner'),
    expiresAt: z.nullable(z.iso.datetime()),
  }),
});

export const loginPasswordSchema = z.strictObject({
  username: z.string().describe('Any user name works'),
  password: z.string(),
  expiresAt: z.iso.datetime(),
  registry: z.string().describe('Host and port, as in the name of an image'),
  command: z.string().describe('A command to run. It reads the password from standard input'),
});
