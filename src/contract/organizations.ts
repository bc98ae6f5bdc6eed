/** Schemas of organizations and their members, teams and robots in the management API. */
import * as z from 'zod';
import { description } from './fields.ts';

export const organizationSchema = z.strictObject({ name: z.string(), description: z.string(), createdAt: z.iso.datetime() });
export const organizationChange = z.strictObject({ description });

const role = z
  .enum(['owner', 'member'])
  .describe('Owners manage members, teams, robots and all repositories of the organization');
export const memberSchema = z.strictObject({ user: z.string(), role });
export const memberChange = z.strictObject({ role });
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
export const teamChange = z.strictObject({ description });
export const teamMemberSchema = z.strictObject({ user: z.string() });

export const robotSchema = z.strictObject({
  name: z.string(),
  login: z.string().describe('The user name with which the robot logs in; the password is one of its keys'),
  description: z.string(),
  disabled: z.boolean(),
  createdAt: z.iso.datetime(),
});
export const robotChange = z.strictObject({
  description,
  disabled: z.optional(z.boolean()).describe('`true`: disables all credentials of the robot. Unchanged if left out'),
});
