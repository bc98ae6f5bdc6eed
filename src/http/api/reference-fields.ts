/** Fields of requests and answers on the reference page: what each is, its type, its limits and its default. */
import { html } from 'hono/html';
import { type JsonSchema, sentences } from './schemas.ts';

export type Html = ReturnType<typeof html>;

/**
 * Renders the fields of an object, or the type of another value.
 * @param isInput whether these are fields of a request, which say if they are required
 */
export function fieldsOf(schema: JsonSchema, isInput: boolean): Html {
  const objects = alternatives(schema).filter((one) => one.properties);
  if (objects.length === 0) return html`<p><code>${typeOf(schema)}</code></p>`;
  if (objects.length > 1)
    return html`${objects.map((one, n) => html`<p class="or">${n ? 'Or' : 'Either'}</p>${list(one, isInput)}`)}`;
  return list(objects[0] ?? {}, isInput);
}

function list({ properties = {}, required = [] }: JsonSchema, isInput: boolean): Html {
  const fields = Object.entries(properties).map(([name, field]) =>
    fieldOf(name, field, { isRequired: required.includes(name), isInput }),
  );
  return fields.length === 0 ? html`<p>No fields.</p>` : html`<dl>${fields}</dl>`;
}

export function fieldOf(name: string, schema: JsonSchema, { isRequired = false, isInput = true, note = '' }): Html {
  const flag = isInput === isRequired ? (isRequired ? 'required' : 'optional') : '';
  const said = sentences([schema.description, ...limitsOf(schema)]);
  const inner = nested(schema);
  return html`<dt><code>${name}</code> <span class="type">${[typeOf(schema), note].filter(Boolean).join(', ')}</span>${
    flag && html` <span class="${flag}">${flag}</span>`
  }</dt><dd>${said && codes(`${said}.`)}${inner && fieldsOf(inner, isInput)}</dd>`;
}

/** The object, or the choice of objects, that a field holds, directly or in a list. */
function nested(schema: JsonSchema): JsonSchema | null {
  for (const one of alternatives(schema)) {
    if (one.properties) return schema;
    if (one.items) return nested(one.items);
    if (typeof one.additionalProperties === 'object') return nested(one.additionalProperties);
  }
  return null;
}

function alternatives(schema: JsonSchema): JsonSchema[] {
  return schema.anyOf ? schema.anyOf.flatMap(alternatives) : [schema];
}

const FORMATS: Record<string, string> = { 'date-time': 'time (RFC 3339)', date: 'date', uri: 'URL' };

function typeOf(schema: JsonSchema): string {
  const { type, enum: values, const: value, items, format, additionalProperties } = schema;
  if (schema.anyOf) return [...new Set(alternatives(schema).map(typeOf))].join(' or ');
  if (value !== undefined) return JSON.stringify(value);
  if (values) return values.length > SHORT_ENUM ? 'string' : values.map((one) => JSON.stringify(one)).join(' or ');
  if (items) return `list of ${pluralOf(typeOf(items))}`;
  if (typeof additionalProperties === 'object') return `object of ${pluralOf(typeOf(additionalProperties))}`;
  if (format && FORMATS[format]) return FORMATS[format];
  return Array.isArray(type) ? type.join(' or ') : (type ?? 'any value');
}

/** Longer enumerations are listed below the field. */
const SHORT_ENUM = 3;

function pluralOf(type: string): string {
  return /^(?:string|object|integer|number|boolean|URL|date)$/.test(type) ? `${type}s` : type;
}

/** Limits and default in words. */
function limitsOf(schema: JsonSchema): string[] {
  const own = alternatives(schema).flatMap((one) => [
    ...(one.enum && one.enum.length > SHORT_ENUM ? [`One of ${one.enum.map((value) => `\`${value}\``).join(', ')}`] : []),
    ...spanOf(one.minLength, one.maxLength, 'character'),
    ...spanOf(one.minItems, one.maxItems, 'entry'),
    ...spanOf(one.minimum, one.maximum, ''),
    ...(one.items ? ofEntries(one.items) : []),
  ]);
  return [...own, ...(schema.default === undefined ? [] : [`Default: \`${JSON.stringify(schema.default)}\``])];
}

function ofEntries(items: JsonSchema): string[] {
  const about = items.properties || !items.description ? [] : [items.description];
  return [...about, ...limitsOf(items)].map((text) => `Each entry: ${lowered(text)}`);
}

function spanOf(least: number | undefined, most: number | undefined, unit: string): string[] {
  const many = unit === 'entry' ? 'entries' : unit && `${unit}s`;
  const of = (count: number) => [count.toLocaleString('en'), count === 1 ? unit : many].filter(Boolean).join(' ');
  if (least !== undefined && most !== undefined && least !== 0) return [`${least.toLocaleString('en')} to ${of(most)}`];
  if (most !== undefined) return [unit ? `Up to ${of(most)}` : `0 to ${of(most)}`];
  return least === undefined || (least === 0 && unit !== '') ? [] : [`At least ${of(least)}`];
}

function lowered(text: string): string {
  return `${text[0]?.toLowerCase()}${text.slice(1)}`;
}

/** Renders `code`, the only Markdown within a paragraph of our texts. */
export function codes(text: string): (string | Html)[] {
  return text.split(/`([^`]*)`/).map((part, n) => (n % 2 ? html`<code>${part}</code>` : part));
}
