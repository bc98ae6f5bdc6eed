/**
 * Routes of the documentation: the OpenAPI document of the management API, the same document as an HTML page, and the JSON
 * schema of events. An isolate builds each document on the first request for it, and keeps it. Each document has an ETag.
 */
import { Hono } from 'hono';
import { EVENT_SCHEMA } from '../../contract/event-schema.ts';
import { type AppEnv, originOf } from '../context.ts';
import { answerFixed, once, pageHeaders, styleSource } from '../page.ts';
import { api } from './all.ts';
import { openApiDocument, type Paths, pathsOf } from './openapi.ts';
import { referencePage } from './reference-page.ts';
import { STYLE } from './reference-style.ts';
import { SAMPLE_ORIGIN } from './samples.ts';

const routes = api.flatMap((resource) => resource.routes.map((route) => ({ ...route, path: `/api/v1${route.path}` })));

/** The time for which clients may cache the schema of events, in seconds. Only a new version of Berth changes the schema. */
const SCHEMA_MAX_AGE = 60 * 60;

let made: Paths | undefined;

function paths(): Paths {
  made ??= pathsOf(routes);
  return made;
}

/** Examples name this registry. */
function withOwnHost(document: string, origin: string): string {
  return document.replaceAll(SAMPLE_ORIGIN, origin).replaceAll(new URL(SAMPLE_ORIGIN).host, new URL(origin).host);
}

const revalidated = { 'cache-control': 'no-cache' };

export const documentation = new Hono<AppEnv>({ strict: false })
  .get('/openapi.json', async (c) => {
    const document = await once('openapi', originOf(c), () =>
      withOwnHost(JSON.stringify(openApiDocument(paths(), originOf(c))), originOf(c)),
    );
    return answerFixed(c, document, { 'content-type': 'application/json', ...revalidated });
  })

  .get('/event.schema.json', async (c) => {
    const document = await once('events', '', () => JSON.stringify(EVENT_SCHEMA));
    const cached = { 'cache-control': `public, max-age=${SCHEMA_MAX_AGE}` };
    return answerFixed(c, document, { 'content-type': 'application/schema+json', ...cached });
  })

  .get('/', async (c) => {
    const document = await once('page', originOf(c), async () =>
      withOwnHost(`${await referencePage(paths(), originOf(c))}`, originOf(c)),
    );
    const style = await styleSource(STYLE);
    return answerFixed(c, document, {
      'content-type': 'text/html; charset=UTF-8',
      'content-security-policy': [
        `default-src 'none'; style-src ${style}`,
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      ].join('; '),
      ...pageHeaders(c),
      ...revalidated,
    });
  });
