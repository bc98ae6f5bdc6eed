/**
 * Routes of the documentation: the OpenAPI document of the management API, the same document as an HTML page, and the JSON
 * schema of events. `npm run reference` writes these documents (`reference/documents.ts`), and they are stored beside the
 * static files of the web console. An isolate reads each document at the first request for it, and keeps it in memory. Each
 * document has an ETag.
 */

import { Refusal } from '../../vocabulary/refusal.ts';
import { type AppEnv, originOf, type RequestContext } from '../context.ts';
import { Hono } from '../hono.ts';
import { answerFixed, type Fixed, once, pageHeaders, styleSource } from '../page.ts';
import { SAMPLE_ORIGIN } from './samples.ts';

/** The number of seconds for which clients may cache the schema of events. Only a new version of Berth changes the schema. */
const SCHEMA_MAX_AGE = 60 * 60;

/** Matches the registry's address in shell commands. */
const IN_COMMANDS = new RegExp(`(?<=curl (?:-X [A-Z]+ )?)${SAMPLE_ORIGIN}\\S*`, 'g');

/** Characters for which a word in a shell command must be quoted, such as the brackets of an IPv6 address. */
const NEEDS_QUOTES = /[^\w@%+=:,./-]/;

/** Returns a stored document. @throws storage-unavailable */
async function stored(c: RequestContext, name: string): Promise<string> {
  const file = await c.env.ASSETS?.fetch(new URL(`/reference/${name}`, SAMPLE_ORIGIN));
  if (!file?.ok) throw new Refusal('storage-unavailable');
  return file.text();
}

/** Returns a document with the address of this registry in its examples. */
async function ofThisRegistry(c: RequestContext, name: string): Promise<Fixed> {
  const origin = originOf(c);
  return await once(name, origin, async () => {
    const text = await stored(c, name);
    const quoted = NEEDS_QUOTES.test(origin) ? text.replaceAll(IN_COMMANDS, "'$&'") : text;
    return quoted.replaceAll(SAMPLE_ORIGIN, () => origin).replaceAll(new URL(SAMPLE_ORIGIN).host, () => new URL(origin).host);
  });
}

/** The number of bytes at the start of the page that contain its style. */
const HEAD_BYTES = 8192;

/** The source expression of the style of the page. */
function styleOf({ bytes }: Fixed): Promise<string> {
  const head = new TextDecoder().decode(bytes.subarray(0, HEAD_BYTES));
  const [, style = ''] = /<style>(.*?)<\/style>/s.exec(head) ?? [];
  return styleSource(style);
}

const revalidated = { 'cache-control': 'no-cache' };

export const documentation = new Hono<AppEnv>({ strict: false })
  .get('/openapi.json', async (c) => {
    const document = await ofThisRegistry(c, 'openapi.json');
    return answerFixed(c, document, { 'content-type': 'application/json', ...revalidated });
  })

  .get('/event.schema.json', async (c) => {
    const document = await once('events', '', () => stored(c, 'event.schema.json'));
    const cached = { 'cache-control': `public, max-age=${SCHEMA_MAX_AGE}` };
    return answerFixed(c, document, { 'content-type': 'application/schema+json', ...cached });
  })

  .get('/', async (c) => {
    const document = await ofThisRegistry(c, 'page.html');
    return answerFixed(c, document, {
      'content-type': 'text/html; charset=UTF-8',
      'content-security-policy': [
        `default-src 'none'; style-src ${await styleOf(document)}`,
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      ].join('; '),
      ...pageHeaders(c),
      ...revalidated,
    });
  });
