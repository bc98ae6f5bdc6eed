/** Checks inputs against their schemas, with the error messages of the ECR API. */
import type * as z from 'zod';
import { EcrError } from './errors.ts';

/** @throws InvalidParameterException about the first invalid member */
export function checkedInput<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw invalidParameter(pathOf(issue?.path ?? []), issue ? constraintOf(issue) : 'is not valid');
}

/** Returns the error for an invalid member. Terraform and other programs match the beginning of the message. */
export function invalidParameter(member: string, constraint: string): EcrError {
  return new EcrError('InvalidParameter', `Invalid parameter at '${member}' failed to satisfy constraint: '${constraint}'`);
}

function pathOf(path: readonly PropertyKey[]): string {
  return path.map((step, n) => (typeof step === 'number' ? `[${step}]` : `${n === 0 ? '' : '.'}${String(step)}`)).join('');
}

/** Returns the constraint that a value violates, in AWS's words. */
function constraintOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'Member must not be null' : `Member must be of type ${issue.expected}`;
    case 'invalid_value':
      if (issue.message.startsWith('Member ')) return issue.message;
      return `Member must satisfy enum value set: [${issue.values.join(', ')}]`;
    case 'invalid_format':
      return `Member must satisfy regular expression pattern: ${bare(String(issue.pattern ?? ''))}`;
    case 'too_small':
      return `Member must have ${measureOf(issue.origin)} greater than or equal to ${issue.minimum}`;
    case 'too_big':
      return `Member must have ${measureOf(issue.origin)} less than or equal to ${issue.maximum}`;
    default:
      return issue.message;
  }
}

/** Returns the pattern without its anchors, as the API's model has it. */
function bare(pattern: string): string {
  return pattern.replace(/^\/\^(?:\(\?:)?|\)?\$\/$/g, '');
}

function measureOf(origin: string): string {
  return origin === 'string' || origin === 'array' ? 'length' : 'value';
}
