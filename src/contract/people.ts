/** Schemas of users, their invitations, and the caller in the management API. */
import * as z from 'zod';
import { LOGIN_PASSWORD_MAX_LIFETIME } from '../vocabulary/limits.ts';
import { grantsSchema } from './fields.ts';
import { PAGE_QUERY } from './pages.ts';

const DESCRIPTION_MAX = 255;
/** The maximum number of characters of an invitation token. A token has about 400. */
const TOKEN_MAX = 2048;
/** The minimum lifetime of a login password, in seconds. */
const LOGIN_PASSWORD_MIN_LIFETIME = 15 * 60;

const administrator = z.optional(z.boolean()).describe('May do everything in this registry');
const description = z.optional(z.string().max(DESCRIPTION_MAX)).describe('Who this is. Only administrators see it');

export const userInvitation = z.strictObject({ administrator, description });
export const userChange = z.strictObject({
  administrator,
  disabled: z.optional(z.boolean()).describe('`true`: disables all credentials of the user'),
  description,
});
export type UserInvitation = z.output<typeof userInvitation>;
export type UserChange = z.output<typeof userChange>;

export const invitationAcceptance = z.strictObject({
  token: z.string().max(TOKEN_MAX).describe('The part of the link after the `#`'),
});

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

/** The fields of a user that other members of a common organization see. */
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

export const logout = z.strictObject({
  keys: z.optional(z.enum(['true', 'false'])).describe('`true`: also revokes the access keys'),
});

export const userQuery = z.strictObject({
  ...PAGE_QUERY,
  search: z.optional(z.string().max(255)).describe('Part of the name or of the description'),
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

export const loginPasswordRequest = z.strictObject({
  lifetime: z
    .int()
    .min(LOGIN_PASSWORD_MIN_LIFETIME)
    .max(LOGIN_PASSWORD_MAX_LIFETIME)
    .default(LOGIN_PASSWORD_MAX_LIFETIME)
    .describe('Seconds that the password works at most'),
});

export const loginPasswordSchema = z.strictObject({
  username: z.string().describe('Any user name works'),
  password: z.string(),
  expiresAt: z.iso.datetime(),
  registry: z.string().describe('Host and port, as in the name of an image'),
  command: z.string().describe('A command to run. It reads the password from standard input'),
});
