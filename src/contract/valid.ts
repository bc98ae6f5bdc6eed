/** Checks values against schemas of the management API: `parse` checks a request, and `valid` the input of an operation. */
import type * as z from 'zod';
import { requireNoErrors } from '../vocabulary/refusal.ts';

/**
 * Parses a value with a schema.
 * @param place the part of the request that the value comes from, which precedes the field in messages, for example `body`
 * @throws request-invalid with all fields that are wrong
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
 * Checks the input of an operation, so that no caller of the operation can store what the schema does not allow.
 * @throws request-invalid with all fields that are wrong
 */
export function valid<T extends z.ZodType>(schema: T, input: NoInfer<z.input<T>>): z.output<T> {
  return parse(schema, input);
}
