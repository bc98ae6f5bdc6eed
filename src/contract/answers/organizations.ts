/** Schemas of the answers that belong to `../organizations.ts`. The Worker does not contain them. */
import * as z from 'zod';
import { role } from '../organizations.ts';

export const organizationSchema = z.strictObject({ name: z.string(), description: z.string(), createdAt: z.iso.datetime() });

export const memberSchema = z.strictObject({ user: z.string(), role });

export const memberInvitationSchema = z.strictObject({
  organization: z.string(),
  user: z.string(),
  role,
  invitedBy: z.string().describe('The subject that sent the invitation'),
  expiresAt: z.iso.datetime(),
});

export const invitedMemberSchema = memberSchema.extend({ invited: z.literal(true), expiresAt: z.iso.datetime() });

export const joinedSchema = z.strictObject({ organization: z.string(), role });

export const teamSchema = z.strictObject({ name: z.string(), description: z.string(), createdAt: z.iso.datetime() });

export const teamMemberSchema = z.strictObject({ user: z.string() });

export const robotSchema = z.strictObject({
  name: z.string(),
  login: z.string().describe('The user name with which the robot logs in; the password is one of its keys'),
  description: z.string(),
  disabled: z.boolean(),
  createdAt: z.iso.datetime(),
});
