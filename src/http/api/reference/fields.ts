/**
 * Renders fields of requests and answers on the reference page: the description, type, limits and default of each. The page has
 * some thousand fields, so they are built as strings, which is much faster than templates. Every text is escaped here.
 */
import { raw } from 'hono/html';
import { type JsonSchema, sentences } from './json-schema.ts';

type Html = ReturnType<typeof raw>;

/** The rendered fields of requests and of answers, by schema. Operations share schemas and parts of them. */
const rendered = { input: new WeakMap<JsonSchema, string>(), output: new WeakMap<JsonSchema, string>() };

/**
 * Renders the fields of an object, or the type of another value. @param isInput true for fields of a request, which are marked
 * if they are required
 */
export function fieldsOf(schema: JsonSchema, isInput: boolean): Html {
  return raw(fieldsText(schema, isInput));
}

/** Renders a field. @param note a text beside the type */
export function fieldOf(name: string, schema: JsonSchema, about: { isRequired: boolean; note: string }): Html {
  return raw(fieldText(name, schema, { ...about, isInput: true }));
}

/** Renders `code`, which is the only Markdown in paragraphs of API descriptions. */
export function codes(text: string): Html {
  return raw(codesText(text));
}

function fieldsText(schema: JsonSchema, isInput: boolean): string {
  const known = rendered[isInput ? 'input' : 'output'];
  const text = known.get(schema) ?? objectsText(schema, isInput);
  known.set(schema, text);
  return text;
}

function objectsText(schema: JsonSchema, isInput: boolean): string {
  const objects = alternatives(schema).filter((one) => one.properties);
  if (objects.length === 0) return `<p><code>${escaped(typeOf(schema))}</code></p>`;
  const lists = objects.map((one) => listText(one, isInput));
  return lists.length === 1
    ? lists.join('')
    : lists.map((list, n) => `<p class="or">${n ? 'Or' : 'Either'}</p>${list}`).join('');
}

function listText({ properties = {}, required = [] }: JsonSchema, isInput: boolean): string {
  const fields = Object.entries(properties).map(([name, field]) =>
    fieldText(name, field, { isRequired: required.includes(name), isInput }),
  );
  return fields.length === 0 ? '<p>No fields.</p>' : `<dl>${fields.join('')}</dl>`;
}

interface About {
  isRequired: boolean;
  isInput: boolean;
  note?: string;
}

function fieldText(name: string, schema: JsonSchema, { isRequired, isInput, note = '' }: About): string {
  const type = [typeOf(schema), note].filter(Boolean).join(', ');
  const flag = isInput === isRequired ? (isRequired ? 'required' : 'optional') : '';
  const said = sentences([schema.description, ...limitsOf(schema)]);
  const inner = nested(schema);
  const head = `<code>${escaped(name)}</code> <span class="type">${escaped(type)}</span>`;
  const body = `${said && codesText(`${said}.`)}${inner ? fieldsText(inner, isInput) : ''}`;
  return `<dt>${head}${flag && ` <span class="${flag}">${flag}</span>`}</dt><dd>${body}</dd>`;
}

/** Returns the object, or the choice of objects, that a field contains, directly or in a list. */
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
  if (typeof additionalProperties === 'object' && Object.keys(additionalProperties).length > 0)
    return `object of ${pluralOf(typeOf(additionalProperties))}`;
  if (format && FORMATS[format]) return FORMATS[format];
  return Array.isArray(type) ? type.join(' or ') : (type ?? 'any value');
}

/** The maximum number of values of an enumeration that is shown beside the field. Longer ones are listed below the field. */
const SHORT_ENUM = 3;

function pluralOf(type: string): string {
  return /^(?:string|object|integer|number|boolean|URL|date)$/.test(type) ? `${type}s` : type;
}

/** Returns the limits and the default of a field as text. */
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
  const of = (count: number) => [grouped(count), count === 1 ? unit : many].filter(Boolean).join(' ');
  if (least !== undefined && most !== undefined && least !== 0) return [`${grouped(least)} to ${of(most)}`];
  if (most !== undefined) return [unit ? `Up to ${of(most)}` : `0 to ${of(most)}`];
  return least === undefined || least === 0 ? [] : [`At least ${of(least)}`];
}

/** Formats a number with separators, as `1,000`. `toLocaleString` is too slow for a page of this size. */
function grouped(count: number): string {
  return String(count).replace(/\B(?=(?:\d{3})+$)/g, ',');
}

function lowered(text: string): string {
  return `${text[0]?.toLowerCase()}${text.slice(1)}`;
}

function codesText(text: string): string {
  const parts = escaped(text).split(/`([^`]*)`/);
  return parts.map((part, n) => (n % 2 ? `<code>${part}</code>` : part)).join('');
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (sign) => ENTITIES[sign] ?? sign);
}
