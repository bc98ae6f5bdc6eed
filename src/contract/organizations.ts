/** Schemas of organizations and their members, teams and robots in the management API. */
import * as z from 'zod';
import { description } from './fields.ts';
export const organizationChange = z.strictObject({ description });

export const role = z
  .enum(['owner', 'member'])
  .describe('Owners manage members, teams, robots and all repositories of the organization');
export const memberChange = z.strictObject({ role });
export const teamChange = z.strictObject({ description });
export const robotChange = z.strictObject({
  description,
  disabled: z.optional(z.boolean()).describe('`true`: disables all credentials of the robot. Unchanged if left out'),
});
