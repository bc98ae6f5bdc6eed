/** Renders the OpenAPI document as one HTML page. The page has no scripts and loads nothing from other origins. */
import { html, raw } from 'hono/html';
import { curlOf, type Described, type Parameter, pretty } from './example.ts';
import { codes, fieldOf, fieldsOf } from './fields.ts';
import type { Paths } from './openapi.ts';
import { STYLE } from './style.ts';

type Html = ReturnType<typeof html>;

interface Entry {
  method: string;
  path: string;
  operation: Described;
}

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
<nav aria-label="Groups"><ul>
${[...groups.keys()].map((group) => html`<li><a href="#${slug(group)}">${group}</a></li>`)}
</ul></nav>
<main>${introduction(origin)}${[...groups].map(([group, members]) => section(group, members, origin))}</main>
</body>
</html>`;
}

function introduction(origin: string): Html {
  return html`<header>
<h1>The management API</h1>
<p>It manages people, teams, keys, permissions, repositories and webhooks of <b>${new URL(origin).host}</b>, and reads
its audit log. Programs can read this page as an <a href="/api/openapi.json">OpenAPI 3.1</a> document. There is a
<a href="/api/event.schema.json">JSON schema</a> of what webhooks of the format <code>native</code> are sent.</p>
<pre tabindex="0"><code>${`curl ${origin}/api/v1/me -H "Authorization: Bearer $KEY"`}</code></pre>
<dl>
<dt>Credentials</dt><dd>Send an access key as bearer token, or user name and key as Basic. A key with statements of its own
is <i>narrowed</i>: it may do less than its owner.</dd>
<dt>Errors</dt><dd>Each has a <code>code</code> for programs, and a <code>message</code> that says what is wrong, what stays
unchanged, and what to do: <code>{"errors":[{"code":"NOT_FOUND","message":"…"}]}</code>. After a 429 or 503,
<code>Retry-After</code> says in how many seconds to try again.</dd>
<dt>Lists</dt><dd>They come in pages. Send <code>next</code> of a page as <code>last</code> to get the next one.
At the end it is <code>null</code>.</dd>
<dt>Changes</dt><dd>To change only what you have read, send its <code>ETag</code> as <code>If-Match</code>: the change is
refused (412) if somebody else was faster. PUT creates or changes what the path names, and can be repeated safely. POST
creates keys and webhooks; with an <code>Idempotency-Key</code> it can be repeated safely, too.</dd>
</dl>
</header>`;
}

/**
 * Sorts operations in the order in which their routes are tried, but with repositories before the routes below a repository.
 */
function inOrder(entries: Entry[]): Entry[] {
  const isOf = (group: string) => (entry: Entry) => entry.operation.tags[0] === group;
  const first = entries.findIndex(isOf('Tags'));
  const others = (part: Entry[]) => part.filter((entry) => !isOf('Repositories')(entry));
  return [...others(entries.slice(0, first)), ...entries.filter(isOf('Repositories')), ...others(entries.slice(first))];
}

function section(group: string, entries: Entry[], origin: string): Html {
  return html`<section aria-labelledby="${slug(group)}"><h2 id="${slug(group)}">${group}</h2>${entries.map((entry) =>
    article(entry, origin),
  )}</section>`;
}

/** The id is inside the details element, so a browser that follows a link to it opens the element. */
function article(entry: Entry, origin: string): Html {
  const { method, path, operation } = entry;
  return html`<details>
<summary><span class="method ${method}">${method.toUpperCase()}</span> <code>${path.replace('/api/v1', '')}</code>
<span class="what">${operation.summary}</span></summary>
<div class="more" id="${operation.operationId}"><div class="text">${paragraphs(operation.description)}</div>
<div class="example"><div>${example(entry, origin)}</div></div><div class="fields">${fields(operation)}</div></div>
</details>`;
}

function fields({ parameters, requestBody, responses }: Described): Html {
  const body = requestBody?.content['application/json']?.schema;
  const successes = Object.entries(responses).filter(([status]) => Number(status) < 400);
  const errors = Object.entries(responses).filter(([status]) => Number(status) >= 400);
  return html`${parameters ? html`<h3>Parameters</h3><dl>${parameters.map(parameterOf)}</dl>` : ''}
${body ? html`<h3>Body</h3>${fieldsOf(body, true)}` : ''}
${[...Map.groupBy(successes, schemaText).values()].map(answersOf)}
<h3>Errors</h3><dl class="errors">${errors.map(errorOf)}</dl>`;
}

type Answer = [status: string, response: Described['responses'][string]];

function schemaText([, { content }]: Answer): string {
  return JSON.stringify(content?.['application/json']?.schema ?? null);
}

/** Renders answers that have the same fields. */
function answersOf(answers: Answer[]): Html {
  const schema = answers[0]?.[1].content?.['application/json']?.schema;
  return html`${answers.map(
    ([status, { description }]) => html`<h3>Answer ${status}</h3><p>${codes(description)}.</p>`,
  )}${schema ? fieldsOf(schema, false) : ''}`;
}

/** Renders the errors of a status. In its description, each paragraph is a code and the condition under which it is sent. */
function errorOf([status, { description: text }]: [string, { description: string }]): Html {
  const errors = text.split('\n\n').map((one) => /^`(\w+)`: (.*)$/s.exec(one) ?? [one, '', one]);
  const byCode = Map.groupBy(errors, ([, code]) => code);
  return html`${[...byCode].map(
    ([code, cases]) =>
      html`<dt>${status} <code>${code}</code></dt>${cases.map(([, , when]) => html`<dd>${codes(`${when}.`)}</dd>`)}`,
  )}`;
}

function example({ method, path, operation }: Entry, origin: string): Html {
  const [status, answer] = exampleAnswer(operation);
  return html`<h3>Example</h3>${code(curlOf(method, path, operation, origin))}
<p class="status">${status}</p>${answer === undefined ? '' : code(pretty(answer))}`;
}

function exampleAnswer({ responses }: Described): [status: string, answer?: unknown] {
  const successes = Object.entries(responses).filter(([status]) => Number(status) < 400);
  const answers = successes.map(([status, { content }]): [string, unknown] => [status, content?.['application/json']?.example]);
  return answers.find(([, shown]) => shown !== undefined) ?? answers[0] ?? ['200'];
}

function code(text: string): Html {
  return html`<pre tabindex="0"><code>${text}</code></pre>`;
}

/** Renders paragraphs, and lists with a dash before each entry. */
function paragraphs(text: string): Html[] {
  return text.split('\n\n').map((one) => {
    const [, ...entries] = `\n${one}`.split('\n- ');
    if (entries.length === 0) return html`<p>${codes(one)}</p>`;
    return html`<ul>${entries.map((entry) => html`<li>${codes(entry)}</li>`)}</ul>`;
  });
}

function parameterOf({ name, in: place, required = false, description: text, schema }: Parameter): Html {
  return fieldOf(name, { ...schema, ...(text ? { description: text } : {}) }, { isRequired: required, note: `in ${place}` });
}

function slug(group: string): string {
  return group.toLowerCase().replaceAll(/\W+/g, '-');
}
