/** Schemas of users, their invitations, and the caller's own account in the management API. */
import * as z from 'zod';
import { LOGIN_PASSWORD_MAX_LIFETIME } from '../vocabulary/limits.ts';

import { PAGE_QUERY } from './pages.ts';

const DESCRIPTION_MAX = 255;
/** The maximum number of characters of an invitation token. Real tokens have about 400. */
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

export const logout = z.strictObject({
  keys: z.optional(z.enum(['true', 'false'])).describe('`true`: also revokes the access keys'),
});

export const userQuery = z.strictObject({
  ...PAGE_QUERY,
  search: z.optional(z.string().max(255)).describe('Part of the name or of the description'),
});

export const loginPasswordRequest = z.strictObject({
  lifetime: z
    .int()
    .min(LOGIN_PASSWORD_MIN_LIFETIME)
    .max(LOGIN_PASSWORD_MAX_LIFETIME)
    .default(LOGIN_PASSWORD_MAX_LIFETIME)
    .describe('Seconds that the password works at most'),
});
