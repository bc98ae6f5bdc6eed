/** Renders the OpenAPI document as one HTML page. The page has no scripts and loads nothing from other origins. */
import { html, raw } from 'hono/html';
import type { Paths } from './openapi.ts';

interface Schema {
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema | boolean;
  description?: string;
  default?: unknown;
}

interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  description?: string;
  schema: Schema;
}

interface Described {
  operationId: string;
  tags: string[];
  summary: string;
  description: string;
  parameters?: Parameter[];
  requestBody?: { content: Record<string, { schema: Schema }> };
  responses: Record<string, { description?: string; content?: Record<string, { schema: Schema }> }>;
}

interface Entry {
  method: string;
  path: string;
  operation: Described;
}

type Html = ReturnType<typeof html>;

export function referencePage(paths: Paths, origin: string): Html {
  const entries = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): Entry => ({ method, path, operation: operation as Described })),
  );
  const groups = Map.groupBy(inOrder(entries), ({ operation }) => operation.tags[0] ?? '');
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API · Berth</title>
<style>${raw(STYLE)}</style>
</head>
<body>
<header>
<h1>The management API</h1>
<p>It manages people, teams, keys, permissions, repositories and webhooks of <b>${new URL(origin).host}</b>, and reads
its audit log. Programs can read this page as an <a href="/api/openapi.json">OpenAPI 3.1</a> document. There is a
<a href="/api/event.schema.json">JSON schema</a> of what webhooks of the format <code>native</code> are sent.</p>
<p>Send an access key as bearer token, or user name and key as Basic. An error has a <code>code</code>, and a
<code>message</code> that says what is wrong and what to do.</p>
<pre tabindex="0"><code>curl -H "Authorization: Bearer $BERTH_KEY" ${origin}/api/v1/me</code></pre>
<p>To change only what you have read, send its <code>ETag</code> as <code>If-Match</code>: the change is refused (412) if
somebody else was faster. PUT creates or changes what the path names, and can be repeated safely. POST creates keys and
webhooks; with an <code>Idempotency-Key</code> it can be repeated safely, too.</p>
</header>
<nav aria-label="Groups"><ul>
${[...groups.keys()].map((group) => html`<li><a href="#${slug(group)}">${group}</a></li>`)}
</ul></nav>
<main>${[...groups].map(([group, members]) => section(group, members))}</main>
</body>
</html>`;
}

/** Returns the entries in the order of the routes, except that repositories precede the routes below a repository. */
function inOrder(entries: Entry[]): Entry[] {
  const isOf = (group: string) => (entry: Entry) => entry.operation.tags[0] === group;
  const first = entries.findIndex(isOf('Tags'));
  const others = (part: Entry[]) => part.filter((entry) => !isOf('Repositories')(entry));
  return [...others(entries.slice(0, first)), ...entries.filter(isOf('Repositories')), ...others(entries.slice(first))];
}

function section(group: string, entries: Entry[]): Html {
  return html`<section aria-labelledby="${slug(group)}"><h2 id="${slug(group)}">${group}</h2>${entries.map(article)}</section>`;
}

function article({ method, path, operation }: Entry): Html {
  const body = operation.requestBody?.content['application/json']?.schema;
  return html`<details id="${operation.operationId}">
<summary><span class="method ${method}">${method.toUpperCase()}</span> <code>${path}</code>
<span class="what">${operation.summary}</span></summary>
<div class="more">
${operation.description.split('\n\n').map((paragraph) => html`<p>${codes(paragraph)}</p>`)}
${operation.parameters ? table('Parameters', operation.parameters.map(parameterRow)) : ''}
${body ? schemaTable('Body', body) : ''}
${Object.entries(operation.responses).map(([status, { description = 'A refusal', content }]) => {
  const schema = content?.['application/json']?.schema;
  return html`<h3>${status === 'default' ? 'Otherwise' : status}</h3>
<p>${description}</p>${schema ? schemaTable('', schema) : ''}`;
})}
</div></details>`;
}

function parameterRow({ name, in: place, required, description = '', schema }: Parameter): Html {
  return row(name, `${typeOf(schema)}, ${place}${required ? '' : ', optional'}`, description);
}

/** A table with a row for each field. The row of a nested object shows the fields of that object in its type. */
function schemaTable(title: string, schema: Schema): Html {
  const { properties, required = [] } = schema.anyOf?.find((one) => one.properties) ?? schema;
  if (!properties) return html`<p><code>${typeOf(schema)}</code></p>`;
  const rows = Object.entries(properties).map(([name, field]) =>
    row(name, `${typeOf(field)}${required.includes(name) ? '' : ', optional'}`, field.description ?? ''),
  );
  return rows.length > 0 ? table(title, rows) : html``;
}

function table(title: string, rows: Html[]): Html {
  return html`${title ? html`<h3>${title}</h3>` : ''}<table><tbody>${rows}</tbody></table>`;
}

function row(name: string, type: string, description: string): Html {
  return html`<tr><th scope="row"><code>${name}</code></th>
<td><code class="type">${type}</code></td><td>${codes(description)}</td></tr>`;
}

/** The type of a schema in the notation of TypeScript. */
function typeOf({ type, enum: values, const: value, anyOf, items, properties, additionalProperties }: Schema): string {
  if (values) return values.map((one) => JSON.stringify(one)).join(' | ');
  if (value !== undefined) return JSON.stringify(value);
  if (anyOf) return anyOf.map(typeOf).join(' | ');
  if (items) return /[ |]/.test(typeOf(items)) ? `(${typeOf(items)})[]` : `${typeOf(items)}[]`;
  if (properties)
    return `{ ${Object.entries(properties)
      .map(([name, field]) => `${name}: ${typeOf(field)}`)
      .join('; ')} }`;
  if (typeof additionalProperties === 'object') return `{ [name]: ${typeOf(additionalProperties)} }`;
  return Array.isArray(type) ? type.join(' | ') : (type ?? 'any');
}

/** Renders text between backticks as code. Descriptions contain no other Markdown. */
function codes(text: string): (string | Html)[] {
  return text.split(/`([^`]*)`/).map((part, n) => (n % 2 ? html`<code>${part}</code>` : part));
}

function slug(group: string): string {
  return group.toLowerCase().replaceAll(/\W+/g, '-');
}

export const STYLE = `
:root { color-scheme: light dark; --line: light-dark(#d8dee4, #333a44); --soft: light-dark(#f4f6f8, #1a1f26);
  --dim: light-dark(#59636e, #9aa5b1);
  --link: light-dark(#0757b8, #7ab7ff); }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 2rem 1rem 6rem; font: 16px/1.5 system-ui, sans-serif;
  background: light-dark(#fff, #11151a);
  color: light-dark(#1b1f24, #e6eaee); }
h1 { font-size: 1.9rem; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: .95rem; margin: 1rem 0 .25rem; }
p { margin: .5rem 0; max-width: 46rem; } a { color: var(--link); }
code, pre { font: 13.5px/1.5 ui-monospace, monospace; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 6px; padding: .75rem 1rem;
  overflow-x: auto; }
pre:focus-visible { outline: 2px solid var(--link); outline-offset: 1px; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0; list-style: none; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .4rem 0; }
summary { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem .75rem; padding: .5rem .75rem; cursor: pointer; }
summary:hover, details[open] > summary { background: var(--soft); }
summary:focus-visible { outline: 2px solid var(--link); outline-offset: 1px; }
summary code { overflow-wrap: anywhere; } .what { color: var(--dim); margin-left: auto; }
.method { font: 600 12px/1 ui-monospace, monospace; width: 3.8rem; }
.get { color: light-dark(#0a6b2d, #6fd08c); }
.post { color: var(--link); }
.put { color: light-dark(#8a4b00, #f0b060); }
.patch { color: light-dark(#6f42c1, #c3a6ff); }
.delete { color: light-dark(#b42318, #ff8f85); }
.more { padding: .25rem 1rem 1rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; font-weight: 400; padding: .3rem .75rem .3rem 0;
  border-top: 1px solid var(--line); }
.type { color: var(--dim); } td code { overflow-wrap: anywhere; }
@media (max-width: 40rem) { .what { margin-left: 0; width: 100%; } tr { border-top: 1px solid var(--line); padding: .4rem 0; }
  table, tbody, tr, th, td { display: block; } th, td { border: 0; padding: 0; } }
`;
