/** The OpenAPI document of the management API, and a page on which to read it. */
import { Hono } from 'hono';
import { type AppEnv, originOf } from '../context.ts';
import { api } from './all.ts';
import { openApiDocument } from './openapi.ts';
import { referencePage } from './reference-page.ts';

const routes = api.flatMap((resource) => resource.routes.map((route) => ({ ...route, path: `/api/v1${route.path}` })));

export const documentation = new Hono<AppEnv>({ strict: false })
  .get('/openapi.json', (c) => c.json(openApiDocument(routes, originOf(c))))

  .get('/', (c) => {
    const nonce = crypto.randomUUID();
    const { paths } = openApiDocument(routes, originOf(c));
    return c.html(referencePage(paths, originOf(c), nonce), 200, {
      'content-security-policy': `default-src 'none'; style-src 'nonce-${nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-cache',
    });
  });
