/** The schemas of the inputs have the constraints of the API's model in botocore; `test/clients/ecr/model.py` reads them. */
import { expect, test } from 'vitest';
import * as z from 'zod';
import { OPERATIONS } from '../../../src/http/ecr/operations.ts';
import { UNSUPPORTED } from '../../../src/http/ecr/unsupported.ts';
import model from './model.json' with { type: 'json' };

/** A constraint of the model, or of a schema. */
interface Constraint {
  type: string;
  required?: string[];
  members?: Record<string, Constraint>;
  items?: Constraint;
  min?: number;
  max?: number;
  pattern?: string;
  enum?: string[];
}

interface JsonSchema {
  type?: string;
  required?: string[];
  properties?: Record<string, JsonSchema>;
  items?: JsonSchema;
  pattern?: string;
  enum?: string[];
  [limit: string]: unknown;
}

const LIMITS = {
  string: ['minLength', 'maxLength'],
  array: ['minItems', 'maxItems'],
  integer: ['minimum', 'maximum'],
} as const;

function constraintsOf(schema: JsonSchema): Constraint {
  const { type = '', properties, items } = schema;
  if (type === 'object') {
    const members = Object.entries(properties ?? {}).map(([name, one]) => [name, constraintsOf(one)]);
    return { type, required: [...(schema.required ?? [])].sort(), members: Object.fromEntries(members) };
  }
  const [least, most] = type in LIMITS ? LIMITS[type as keyof typeof LIMITS] : [];
  const limit = (name: string | undefined, unlimited: number) =>
    name === undefined || schema[name] === undefined || schema[name] === unlimited ? undefined : (schema[name] as number);
  const pattern = schema.pattern?.replace(/^\^\(\?:(.*)\)\$$/s, '$1').replaceAll('\\/', '/');
  return withoutUndefined({
    type,
    min: limit(least, Number.MIN_SAFE_INTEGER),
    max: limit(most, Number.MAX_SAFE_INTEGER),
    pattern,
    enum: schema.enum,
    items: items && constraintsOf(items),
  });
}

function withoutUndefined(value: { [Name in keyof Constraint]: Constraint[Name] | undefined }): Constraint {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as unknown as Constraint;
}

/** The constraint of the model. A minimum of 0 says nothing. */
function normalized(one: Constraint): Constraint {
  const members = one.members && Object.fromEntries(Object.entries(one.members).map(([name, m]) => [name, normalized(m)]));
  return withoutUndefined({
    ...one,
    min: one.min === 0 ? undefined : one.min,
    pattern: one.pattern?.replaceAll('\\/', '/'),
    members,
    items: one.items && normalized(one.items),
  });
}

/** The constraints that differ from the model on purpose. */
const STRICTER: Record<string, string> = {
  nextToken: 'a token has no white space',
};

function withoutStricter({ members, ...others }: Constraint): Constraint {
  if (!members) return others;
  const kept = Object.entries(members).map(([name, one]) => [name, name in STRICTER ? { type: one.type } : one]);
  return { ...others, members: Object.fromEntries(kept) };
}

const names = Object.keys(OPERATIONS).filter((name) => !(name in UNSUPPORTED));

test.each(names)('%s has the constraints of the model', (name) => {
  const schema = z.toJSONSchema(OPERATIONS[name]?.input as z.ZodType, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
  const expected = (model as unknown as Record<string, Constraint>)[name] as Constraint;
  expect(withoutStricter(normalized(constraintsOf(schema)))).toEqual(withoutStricter(normalized(expected)));
});

test('every row is an operation of the model', () => {
  expect(Object.keys(model)).toEqual(expect.arrayContaining(Object.keys(OPERATIONS)));
});
