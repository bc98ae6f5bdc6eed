/** The OpenAPI document of the management API and a page on which to read it, and the schema of what webhooks are sent. */
import { Hono } from 'hono';
import { NATIVE_SCHEMA } from '../../webhooks/formats/native-schema.ts';
import { type AppEnv, originOf } from '../context.ts';
import { api } from './all.ts';
import { openApiDocument, type Paths, pathsOf } from './openapi.ts';
import { referencePage } from './reference-page.ts';

const routes = api.flatMap((resource) => resource.routes.map((route) => ({ ...route, path: `/api/v1${route.path}` })));

/** Seconds. Only a new version of the registry changes it. */
const SCHEMA_MAX_AGE = 60 * 60;

/** Made when it is first asked for, and once: not at the start of every isolate, nor for every reader. */
let made: Paths | undefined;

function paths(): Paths {
  made ??= pathsOf(routes);
  return made;
}

export const documentation = new Hono<AppEnv>({ strict: false })
  .get('/openapi.json', (c) => c.json(openApiDocument(paths(), originOf(c))))

  .get('/event.schema.json', (c) =>
    c.body(JSON.stringify(NATIVE_SCHEMA), 200, {
      'content-type': 'application/schema+json',
      'cache-control': `public, max-age=${SCHEMA_MAX_AGE}`,
    }),
  )

  .get('/', (c) => {
    const nonce = crypto.randomUUID();
    return c.html(referencePage(paths(), originOf(c), nonce), 200, {
      'content-security-policy': `default-src 'none'; style-src 'nonce-${nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-cache',
    });
  });
