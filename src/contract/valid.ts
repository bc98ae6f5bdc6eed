/**
 * Checks values against schemas of the management API. Doors call `parse` for requests, and operations call `valid` for their
 * input.
 */
import type * as z from 'zod';
import { requireNoErrors } from '../vocabulary/refusal.ts';
import { messagesFor } from './messages.ts';

/**
 * Parses a value with a schema.
 * @param place the part of the request that contains the value, for example `body`. It precedes the field in messages
 * @throws request-invalid with all invalid fields
 */
export function parse<T extends z.ZodType>(schema: T, value: unknown, place = ''): z.output<T> {
  const result = schema.safeParse(value, { error: messagesFor(place, schema) });
  if (result.success) return result.data;
  const issues = namesFirst(result.error.issues).flatMap(issuesOf);
  const errors = issues.map(({ path, message }) => ({ at: [place, ...path].filter(isStep).join('.'), message }));
  return requireNoErrors(errors) as never;
}

/**
 * Moves unknown field names to the beginning, because the message of a refusal contains only the first error. A misspelt name
 * often causes another error about a missing field, which would mislead.
 */
function namesFirst(all: readonly z.core.$ZodIssue[]): z.core.$ZodIssue[] {
  const isName = ({ code }: z.core.$ZodIssue) => code === 'unrecognized_keys';
  return [...all.filter(isName), ...all.filter((issue) => !isName(issue))];
}

type Issue = Pick<z.core.$ZodIssue, 'path' | 'message'>;

/**
 * Returns the issues of a union. If the value has the kind of one alternative, such as a list, returns the issues of that
 * alternative. Otherwise returns one issue that names all alternatives.
 */
function issuesOf(issue: z.core.$ZodIssue): Issue[] {
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [issue];
  const inside = issue.errors.find((issues) => issues.some(({ path }) => path.length > 0));
  if (inside)
    return namesFirst(inside)
      .flatMap(issuesOf)
      .map(({ path, message }) => ({ path: [...issue.path, ...path], message }));
  const all = issue.errors.flatMap((issues) => issues.flatMap(issuesOf)).map(({ message }) => message);
  // Only the first alternative may suggest a word.
  const messages = all.map((message, n) => (n === 0 ? message : message.replace(/^did you mean [^?]+\? It /, '')));
  return [{ path: issue.path, message: [...new Set(messages)].join(', or ') }];
}

function isStep(step: PropertyKey): boolean {
  return step !== '';
}

/**
 * Checks the input of an operation, so that no door can store what the schema does not allow. @throws request-invalid with all
 * invalid fields
 */
export function valid<T extends z.ZodType>(schema: T, input: NoInfer<z.input<T>>): z.output<T> {
  return parse(schema, input);
}
