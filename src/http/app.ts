/** The map of the registry's addresses, and what holds for every one of them. */
import { type Context, Hono } from 'hono';
import { createMiddleware } from 'hono/factory';
import { getPathNoStrict } from 'hono/utils/url';
import { checkSecrets, settings, withBindings } from '../env.ts';
import { isChecked, requireOwnStores, UnusableStoreError } from '../ownership.ts';
import { requireSecret } from '../secrets.ts';
import { countedStores, logsEverything, report } from '../telemetry.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { LOOP_HEADER } from '../webhooks/delivery/attempt.ts';
import { api } from './api/all.ts';
import { documentation } from './api/documentation.ts';
import { withAuditAddress } from './audit-address.ts';
import { authenticate, authenticateApi } from './authenticate.ts';
import type { AppEnv } from './context.ts';
import { asRefusal, DoorRefusal, errorResponse } from './errors.ts';
import { join } from './join.ts';
import { logRequest } from './request-log.ts';
import { reviewWebhooks } from './review.ts';
import { ROUTES } from './routes.ts';
import { token } from './token.ts';
import { drainUnread } from './unread.ts';
import { base } from './v2/base.ts';
import { blobs } from './v2/blobs.ts';
import { manifests } from './v2/manifests.ts';
import { referrers } from './v2/referrers.ts';
import { tags } from './v2/tags.ts';
import { uploads } from './v2/uploads.ts';

const headers = createMiddleware<AppEnv>(async function headers(c, next) {
  await next();
  if (c.req.method === 'HEAD') await measure(c);
  // On the answer itself: set on the context now, they would have it made anew.
  c.res.headers.set('docker-distribution-api-version', 'registry/2.0');
  c.res.headers.set('x-content-type-options', 'nosniff');
});

/**
 * Content-Length of the answer to HEAD. Hono runs the GET handler and drops its body; the runtime counts only bodies that are sent.
 * Errors have theirs already.
 */
async function measure(c: Context<AppEnv>): Promise<void> {
  const { status, headers, body } = c.res;
  if (!body || !c.res.ok || headers.has('content-length')) return;
  const bytes = await c.res.arrayBuffer();
  headers.set('content-length', String(bytes.byteLength));
  c.res = new Response(bytes, { status, headers });
}

/** A registry without its secret, or with a setting that makes no sense, serves nothing and says what to do. No value of a secret is in that. */
const configured = createMiddleware<AppEnv>(async function configured(c, next) {
  try {
    requireSecret(c.env);
    checkSecrets(c.env);
    settings(c.env);
  } catch (error) {
    throw notSetUp(error as Error);
  }
  await next();
});

function notSetUp({ message }: Error): Refusal {
  report('registry.not-set-up', { message });
  return new Refusal('not-set-up', { message: `this registry is not set up: ${message}` });
}

/** Refuses stores of another registry or an older schema, and counts what the request asks of its own. */
const ownStores = createMiddleware<AppEnv>(async function ownStores(c, next) {
  try {
    if (!isChecked(c.env)) await requireOwnStores(c.env);
  } catch (error) {
    if (!(error instanceof UnusableStoreError)) throw error;
    throw notSetUp(error);
  }
  if (logsEverything()) c.env = withBindings(c.env, countedStores(c.env, c.var.counts));
  await next();
});

/** A registry tells others what happened, and is not told: no event may lead to itself, by whatever way round (RFC 5842, 7.2). */
const noLoop = createMiddleware<AppEnv>(async function noLoop(c, next) {
  if (c.req.header(LOOP_HEADER) !== undefined) {
    throw new Refusal('webhook-loop', { message: 'a webhook may not be sent to a registry' });
  }
  await next();
});

/** One name or address, with or without a port: it ends up in realms and audiences, and the runtime lets anything through. */
const HOST = /^(?:[\w.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i;

const plainHost = createMiddleware<AppEnv>(async function plainHost(c, next) {
  const host = c.req.header('host');
  if (!URL.canParse(c.req.url) || (host !== undefined && !HOST.test(host)))
    throw new Refusal('parameter-invalid', { message: 'the host is no name or address' });
  await next();
});

/**
 * No address of the protocol needs percent-encoding. Refusing it means that routing, authorisation and look-up cannot read
 * one path in different ways: as it was sent, as URL normalises it, or as the router decodes it. The colon of a digest is
 * accepted as %3A, as some clients encode it: a whole digest at the end of a path has one meaning.
 */
const plainPath = createMiddleware<AppEnv>(async function plainPath(c, next) {
  const sent = c.req.url.replace(/^[^/]*\/\/[^/]*/, '').split(/[?#]/, 1)[0] ?? '';
  const paths = [sent, new URL(c.req.url).pathname, c.req.path].map(withPlainDigest);
  if (paths.some((path) => path.includes('%') || path.includes('//'))) {
    throw new Refusal('repository-name-invalid', {
      message: 'the path has percent-encoding, an empty part, or too many parts',
    });
  }
  await next();
});

const ENCODED_DIGEST = /^(\/v2\/.*\/sha(?:256|512))%3a([0-9a-f]{64}|[0-9a-f]{128})(\/?)$/i;

function withPlainDigest(path: string): string {
  return path.replace(ENCODED_DIGEST, '$1:$2$3');
}

/**
 * The management API takes percent-encoding, as generated clients send it: a repository's name with its slashes as %2F, a digest
 * with %3A. `routedPath` has decoded it once; what is encoded twice, or cannot be decoded, is refused.
 */
const plainApiPath = createMiddleware<AppEnv>(async function plainApiPath(c, next) {
  if (/[%\p{Cc}\ufffd]/u.test(c.req.path)) {
    const message = 'the path has percent-encoding that is not UTF-8, is encoded twice, or stands for a control character';
    throw new Refusal('request-invalid', { message });
  }
  if (c.req.path.includes('//')) throw new Refusal('address-unknown');
  await next();
});

/** A name of 255 characters has 128 at most, an address of ours a few more. */
const PATH_MAX_PARTS = 160;

/**
 * The path without a slash at its end. The router's work grows with the square of a path's parts, and is done before anything
 * of ours is asked: one with too many is answered as `plainPath` answers.
 */
function routedPath(request: Request): string {
  const sent = getPathNoStrict(request);
  const path = sent.startsWith('/api/') ? decoded(sent) : withPlainDigest(sent);
  return path.split('/', PATH_MAX_PARTS + 1).length > PATH_MAX_PARTS ? '/v2/%' : path;
}

export const app = new Hono<AppEnv>({ getPath: routedPath });

app.onError((error, c) => refuse(c, asRefusal(error, c.var.requestId)));
app.notFound((c) => refuse(c, new Refusal('address-unknown')));
app.use(logRequest, drainUnread, headers, noLoop, plainHost);
app.use('/v2/*', configured, plainPath, ownStores, authenticate);
app.use('/token', configured, ownStores);
for (const resource of [base, tags, manifests, referrers, uploads, blobs]) mount('/v2', resource);
app.use('/api/*', configured, plainApiPath);
app.use('/api/v1/*', ownStores, withAuditAddress, authenticateApi, reviewWebhooks);
for (const resource of api) mount('/api/v1', resource);
mount('/api', documentation);
mount('/token', token);
mount('/join', join);

function refuse(c: Context<AppEnv>, refusal: Refusal): Response {
  c.set('reason', refusal.reason);
  return errorResponse(refusal, c.req.path);
}

/** As it was sent, where it cannot be decoded. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/**
 * The routes of a resource, and for each of its paths the refusal of other methods. That stands before the next resource:
 * `GET .../blobs/uploads` is no blob with a strange digest.
 */
function mount(prefix: string, resource: Hono<AppEnv>): void {
  app.route(prefix, resource);
  for (const path of new Set(resource.routes.map((route) => `${prefix}${route.path}`.replace(/\/$/, '')))) {
    const methods = Object.keys(ROUTES[path] ?? ROUTES[`${path}/`] ?? {});
    const allow = methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ');
    app.all(path, () => {
      throw new DoorRefusal('method-not-allowed', { headers: { allow } });
    });
  }
}
