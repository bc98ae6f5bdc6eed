/** JSON schemas of the management API, made from the schemas that check requests. */
import * as z from 'zod';

/** A part of JSON Schema (draft 2020-12): what zod makes of our schemas. */
export interface JsonSchema {
  type?: string | string[];
  format?: string;
  pattern?: string;
  enum?: unknown[];
  const?: unknown;
  anyOf?: JsonSchema[];
  items?: JsonSchema;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  additionalProperties?: JsonSchema | boolean;
  propertyNames?: JsonSchema;
  description?: string;
  default?: unknown;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
}

/** Holds the messages of checks until the description of a field is complete. */
const RULES = 'x-rules';

export function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  const { $schema: _, ...made } = z.toJSONSchema(schema, {
    io,
    override({ zodSchema, jsonSchema: json }) {
      const rules = rulesOf(zodSchema);
      if (io === 'input' && rules.length > 0) (json as Record<string, unknown>)[RULES] = rules;
    },
  });
  return tidy(made as JsonSchema);
}

/** What a JSON schema cannot say: the messages of the checks of this schema, such as "must be a tag". */
function rulesOf(schema: unknown): string[] {
  const { checks = [] } = (schema as z.core.$ZodType)._zod.def;
  return checks.flatMap((check) => {
    const message = check._zod.def.error?.({} as never);
    return typeof message === 'string' ? [message] : [];
  });
}

/** Says rules in the description, and leaves out what is no limit of ours. */
function tidy(schema: JsonSchema & { [RULES]?: string[] }): JsonSchema {
  const { [RULES]: rules = [], description, pattern, minimum, maximum, ...rest } = schema;
  const { items, anyOf, properties, additionalProperties } = rest;
  const said = [description, ...rules.map((rule) => `${rule[0]?.toUpperCase()}${rule.slice(1)}`)].filter(Boolean).join('. ');
  return {
    ...rest,
    ...(said === '' ? {} : { description: said }),
    // The format says the same.
    ...(pattern === undefined || rest.format ? {} : { pattern }),
    ...(minimum === undefined || minimum === Number.MIN_SAFE_INTEGER ? {} : { minimum }),
    ...(maximum === undefined || maximum === Number.MAX_SAFE_INTEGER ? {} : { maximum }),
    ...(items ? { items: tidy(items) } : {}),
    ...(anyOf ? { anyOf: anyOf.map(tidy) } : {}),
    ...(typeof additionalProperties === 'object' ? { additionalProperties: tidy(additionalProperties) } : {}),
    ...(properties
      ? { properties: Object.fromEntries(Object.entries(properties).map(([name, field]) => [name, tidy(field)])) }
      : {}),
  };
}
