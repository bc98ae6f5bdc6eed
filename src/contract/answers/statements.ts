/** Schemas of the answers that belong to `../statements.ts`. The Worker does not contain them. */
import * as z from 'zod';
import { ACTIONS } from '../../vocabulary/actions.ts';
import { condition } from '../statements.ts';

/** A statement in an answer. */
export const statementSchema = z.strictObject({
  effect: z.enum(['allow', 'deny']),
  actions: z.array(z.enum(ACTIONS)),
  repositories: z.optional(z.array(z.string())),
  principals: z.optional(z.array(z.string())),
  except: z.optional(z.array(z.string())),
  tags: z.optional(z.array(z.string())),
  conditions: z.optional(z.array(condition)),
});

export type ShownStatement = z.output<typeof statementSchema>;

/** A statement in an answer, with the subject or role (`from`) whose policy contains it. */
export const sourceSchema = statementSchema.extend({ from: z.string() });

export const warningsSchema = z.optional(z.array(z.string()));
