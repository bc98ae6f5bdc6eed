/** The example of an operation on the reference page: a curl command and the answer. */
import type { JsonSchema } from './json-schema.ts';

export interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  description?: string;
  schema: JsonSchema;
  example?: string;
}

type Content = Record<string, { schema: JsonSchema; example?: unknown }>;

/** An operation of the OpenAPI document, with the fields that the page shows. */
export interface Described {
  operationId: string;
  tags: string[];
  summary: string;
  description: string;
  security?: [];
  parameters?: Parameter[];
  requestBody?: { content: Content };
  responses: Record<string, { description: string; content?: Content }>;
}

/** The maximum number of characters of JSON that stays on one line. */
const WIDTH = 62;

/** Returns a command that works in bash and zsh. @param origin the origin of the registry */
export function curlOf(method: string, path: string, operation: Described, origin: string): string {
  const body = operation.requestBody?.content['application/json']?.example;
  const url = `${origin}${filled(path, operation)}${queryOf(operation)}`;
  const parts = [
    `curl${method === 'get' || (method === 'post' && body !== undefined) ? '' : ` -X ${method.toUpperCase()}`} ${quoted(url)}`,
    ...(operation.security ? [] : ['-H "Authorization: Bearer $KEY"']),
    ...(body === undefined ? [] : ["-H 'Content-Type: application/json'", `-d ${quoted(pretty(body), true)}`]),
  ];
  return parts.join(' \\\n  ');
}

function filled(path: string, { parameters = [] }: Described): string {
  return path.replaceAll(/\{(\w+)\}/g, (_, name) => `${parameters.find((one) => one.name === name)?.example}`);
}

function queryOf({ parameters = [] }: Described): string {
  const sent = parameters.flatMap(({ in: place, name, example }) =>
    place === 'query' && example !== undefined ? [`${name}=${encodeURI(String(example))}`] : [],
  );
  return sent.length > 0 ? `?${sent.join('&')}` : '';
}

/** Quotes a word for the shell. A word without special characters needs no quotes. */
function quoted(text: string, always = false): string {
  return !always && /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Formats JSON on few lines: a value that fits into a line is not broken. */
export function pretty(value: unknown, indent = ''): string {
  const line = inOneLine(value);
  if (indent.length + line.length <= WIDTH || typeof value !== 'object' || value === null) return line;
  const deeper = `${indent}  `;
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  const members = Array.isArray(value)
    ? value.map((one) => pretty(one, deeper))
    : Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${pretty(one, deeper)}`);
  return `${open}\n${members.map((member) => `${deeper}${member}`).join(',\n')}\n${indent}${close}`;
}

function inOneLine(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(inOneLine).join(', ')}]`;
  const members = Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${inOneLine(one)}`);
  return members.length === 0 ? '{}' : `{ ${members.join(', ')} }`;
}
