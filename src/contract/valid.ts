/** Checks values against schemas of the management API: `parse` checks a request, and `valid` the input of an operation. */
import type * as z from 'zod';
import { requireNoErrors } from '../vocabulary/refusal.ts';
import { messagesFor } from './messages.ts';

/**
 * Parses a value with a schema.
 * @param place the part of the request that the value comes from, which precedes the field in messages, for example `body`
 * @throws request-invalid with all fields that are wrong
 */
export function parse<T extends z.ZodType>(schema: T, value: unknown, place = ''): z.output<T> {
  const result = schema.safeParse(value, { error: messagesFor(place, schema) });
  if (result.success) return result.data;
  // Unknown names come first, because the message of a refusal has only the first error. A misspelt name often causes another
  // error about a missing field.
  const isName = ({ code }: z.core.$ZodIssue) => code === 'unrecognized_keys';
  const { issues: all } = result.error;
  const issues = [...all.filter(isName), ...all.filter((issue) => !isName(issue))].flatMap(issuesOf);
  const errors = issues.map(({ path, message }) => ({ at: [place, ...path].filter(isStep).join('.'), message }));
  return requireNoErrors(errors) as never;
}

type Issue = Pick<z.core.$ZodIssue, 'path' | 'message'>;

/**
 * Returns the issues of a union. If the value has the kind of one alternative, such as a list, these are the issues of that
 * alternative. Otherwise it is one issue that names all alternatives.
 */
function issuesOf(issue: z.core.$ZodIssue): Issue[] {
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [issue];
  const inside = issue.errors.find((issues) => issues.some(({ path }) => path.length > 0));
  if (inside) return inside.flatMap(issuesOf).map(({ path, message }) => ({ path: [...issue.path, ...path], message }));
  const all = issue.errors.flatMap((issues) => issues.flatMap(issuesOf)).map(({ message }) => message);
  // Only the first alternative guesses which word was meant.
  const messages = all.map((message, n) => (n === 0 ? message : message.replace(/^did you mean [^?]+\? It /, '')));
  return [{ path: issue.path, message: messages.join(', or ') }];
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
