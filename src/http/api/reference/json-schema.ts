/** Converts the zod schemas of the management API into JSON Schema, for the OpenAPI document. */
import * as z from 'zod';

/** The keywords of JSON Schema (draft 2020-12) that the converted schemas contain. */
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

/** The keyword under which `jsonSchema` stores the messages of checks, until `tidy` moves them into the description. */
const RULES = 'x-rules';

const made = { input: new WeakMap<z.ZodType, JsonSchema>(), output: new WeakMap<z.ZodType, JsonSchema>() };

/**
 * Returns the JSON schema of a request (`input`) or an answer (`output`). It is built only once per schema, because building it
 * is slow and many operations share a schema.
 */
export function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  const known = made[io].get(schema);
  if (known) return known;
  const json = makeJsonSchema(schema, io);
  made[io].set(schema, json);
  return json;
}

function makeJsonSchema(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    io,
    override({ zodSchema, jsonSchema: json }) {
      const rules = rulesOf(zodSchema);
      if (io === 'input' && rules.length > 0) (json as Record<string, unknown>)[RULES] = rules;
    },
  });
  return tidy(rest as JsonSchema);
}

/**
 * Returns the messages of the checks of a zod schema, such as "must be a tag". JSON Schema has no keywords for these checks.
 */
function rulesOf(schema: unknown): string[] {
  const { checks = [] } = (schema as z.core.$ZodType)._zod.def;
  return checks.flatMap((check) => {
    const message = check._zod.def.error?.({} as never);
    return typeof message === 'string' ? [message] : [];
  });
}

/** Adds the messages of checks to the description, and removes limits that come from zod and not from Berth. */
function tidy(schema: JsonSchema & { [RULES]?: string[] }): JsonSchema {
  const { [RULES]: rules = [], description, pattern, minimum, maximum, ...rest } = schema;
  const { items, anyOf, properties, additionalProperties } = rest;
  const said = sentences([description, ...rules.map((rule) => `${rule[0]?.toUpperCase()}${rule.slice(1)}`)]);
  return {
    ...rest,
    ...(said === '' ? {} : { description: said }),
    // A schema with a `format` needs no `pattern`, because the format describes the same texts.
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

/** Joins texts to sentences. Some of the texts end with a period and others do not. */
export function sentences(texts: (string | undefined)[]): string {
  return texts.flatMap((text) => (text ? [text.replace(/\.$/, '')] : [])).join('. ');
}
