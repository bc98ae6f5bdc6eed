/** Checks values against schemas of the management API: doors check what a request sends, operations what a door hands over. */
import type * as z from 'zod';
import { requireNoErrors } from '../vocabulary/refusal.ts';

/**
 * @param place the part of the request, as errors name it: `body`, `query`; empty: none
 * @throws request-invalid, with each field that is wrong
 */
export function parse<T extends z.ZodType>(schema: T, value: unknown, place = ''): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const errors = result.error.issues.map(({ path, message }) => ({ at: [place, ...path].filter(isStep).join('.'), message }));
  return requireNoErrors(errors) as never;
}

function isStep(step: PropertyKey): boolean {
  return step !== '';
}

/**
 * Checks the input of an operation, so that no door can store what the contract does not allow.
 * @throws request-invalid, with each field that is wrong
 */
export function valid<T extends z.ZodType>(schema: T, input: NoInfer<z.input<T>>): z.output<T> {
  return parse(schema, input);
}
