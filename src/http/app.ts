/** The map of the registry's addresses, and what holds for every one of them. */
import { Hono } from 'hono';
import { createMiddleware } from 'hono/factory';
import { nothingHere, RegistryError } from '../oci/errors.ts';
import { authenticate } from './authenticate.ts';
import { ROUTES } from './authorize.ts';
import type { AppEnv } from './context.ts';
import { errorResponse } from './errors.ts';
import { token } from './token.ts';
import { base } from './v2/base.ts';
import { blobs } from './v2/blobs.ts';
import { manifests } from './v2/manifests.ts';
import { referrers } from './v2/referrers.ts';
import { tags } from './v2/tags.ts';
import { uploads } from './v2/uploads.ts';

const headers = createMiddleware<AppEnv>(async function headers(c, next) {
  await next();
  c.header('docker-distribution-api-version', 'registry/2.0');
  c.header('x-content-type-options', 'nosniff');
});

/**
 * No address of the protocol needs percent-encoding. Refusing it means that routing, authorisation and look-up cannot read
 * one path in different ways.
 */
const plainPath = createMiddleware<AppEnv>(async function plainPath(c, next) {
  const path = new URL(c.req.url).pathname;
  if (path.includes('%') || path.includes('//')) {
    throw new RegistryError('NAME_INVALID', { message: 'the path has percent-encoding or an empty part' });
  }
  await next();
});

export const app = new Hono<AppEnv>({ strict: false });

app.onError((error, c) => errorResponse(error, c));
app.notFound((c) => errorResponse(nothingHere(), c));
app.use(headers);
app.use('/v2/*', plainPath, authenticate);
for (const resource of [base, tags, manifests, referrers, uploads, blobs]) app.route('/v2', resource);
app.route('/token', token);

for (const [path, methods] of Object.entries(ROUTES)) {
  const allow = Object.keys(methods).flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
  app.all(path, () => {
    throw new RegistryError('UNSUPPORTED', { headers: { allow: allow.join(', ') } });
  });
}
