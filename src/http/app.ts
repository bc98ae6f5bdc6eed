/** The Hono application: registers all routes of the registry and the middleware that they share. */
import type { Context, MiddlewareHandler } from 'hono';
import { createMiddleware } from 'hono/factory';
import { TrieRouter } from 'hono/router/trie-router';
import { getPathNoStrict } from 'hono/utils/url';
import { requireSettings, requireStores } from '../app/setup.ts';
import { withBindings } from '../env.ts';
import { countedStores, logsEverything } from '../telemetry.ts';
import type { Reason } from '../vocabulary/reasons.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { LOOP_HEADER } from '../vocabulary/webhooks.ts';
import { withAuditAddress } from './address.ts';
import { api } from './api/all.ts';
import { documentation } from './api/documentation.ts';
import { authenticate, authenticateApi, challengeHeaders } from './authenticate.ts';
import { type AppEnv, isEcr } from './context.ts';
import { answerEcr, refuseEcr } from './ecr/door.ts';
import { asRefusal, DoorRefusal, errorResponse } from './errors.ts';
import { guardOf } from './guard.ts';
import { Hono } from './hono.ts';
import { join } from './join.ts';
import { layers } from './layers.ts';
import { logRequest } from './request-log.ts';
import { addressMeant, methodsOf, requirementOf } from './routes.ts';
import { token } from './token.ts';
import { accountPages } from './ui/account/pages.ts';
import { activityConsolePages } from './ui/activity/pages.ts';
import { ownForms } from './ui/forms.ts';
import { homePages } from './ui/home/pages.ts';
import { imagesPages } from './ui/images/pages.ts';
import { layerPages } from './ui/layers/pages.ts';
import { lifecycleConsolePages } from './ui/lifecycle/pages.ts';
import { organizationPages } from './ui/organizations/pages.ts';
import { seeOther } from './ui/page.tsx';
import { pageOfReference } from './ui/pasted.ts';
import { permissionPages } from './ui/permissions/pages.ts';
import { refusedPage } from './ui/refused.tsx';
import { repositoryPages } from './ui/repositories/pages.ts';
import { authenticatePage } from './ui/session.ts';
import { trashPages } from './ui/trash/pages.ts';
import { upkeepPages } from './ui/upkeep/pages.ts';
import { usagePages } from './ui/usage/pages.ts';
import { peoplePages } from './ui/users/pages.ts';
import { webhookConsolePages } from './ui/webhooks/pages.ts';
import { drainUnread } from './unread.ts';
import { base } from './v2/base.ts';
import { blobs } from './v2/blobs.ts';
import { manifests } from './v2/manifests.ts';
import { referrers } from './v2/referrers.ts';
import { tags } from './v2/tags.ts';
import { uploads } from './v2/uploads.ts';

/** Completes the headers of every answer, and reads what the client still sends. */
const finish = createMiddleware<AppEnv>(async function finish(c, next) {
  await next();
  if (c.req.method === 'HEAD') await measure(c);
  // The headers are set on the response itself, because Hono's `c.header` would build a new response.
  c.res.headers.set('docker-distribution-api-version', 'registry/2.0');
  c.res.headers.set('x-content-type-options', 'nosniff');
  await drainUnread(c);
});

/**
 * Sets Content-Length on the answer to HEAD. Hono runs the GET handler and drops its body, and the runtime sets the length only
 * for bodies that are sent. Answers with errors already have a Content-Length.
 */
async function measure(c: Context<AppEnv>): Promise<void> {
  const { status, headers, body } = c.res;
  if (!body || !c.res.ok || headers.has('content-length')) return;
  const bytes = await c.res.arrayBuffer();
  headers.set('content-length', String(bytes.byteLength));
  c.res = new Response(bytes, { status, headers });
}

/** A check or preparation of a request. It throws a refusal. */
type Step = (c: Context<AppEnv>) => void | Promise<void>;

/** Makes one middleware of several steps, because each middleware takes CPU time of its own. */
function before(...steps: Step[]): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    for (const step of steps) {
      const running = step(c);
      if (running) await running;
    }
    await next();
  };
}

/** Refuses every request if a secret or a setting is invalid. */
const configured: Step = (c) => requireSettings(c.env);

/**
 * Refuses every request if the database or the bucket belongs to another registry, or the schema is older than this build. If
 * requests are logged, also wraps D1 and R2 to count the operations of the request.
 */
const ownStores: Step = async (c) => {
  await requireStores(c.env);
  if (logsEverything()) c.env = withBindings(c.env, countedStores(c.env, c.get('counts')));
};

/**
 * Refuses requests that a registry's webhook sent. Otherwise a webhook could cause an endless loop of events (RFC 5842, 7.2:
 * loop detected).
 */
const noLoop: Step = (c) => {
  if (c.req.header(LOOP_HEADER) !== undefined) throw new Refusal('webhook-loop');
};

/**
 * The grammar of a host name or IP address, with or without a port. The Host header is checked because it becomes part of
 * challenges and tokens, and because the runtime does not check it.
 */
const HOST = /^(?:[\w.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i;

const plainHost: Step = (c) => {
  const host = c.req.header('host');
  if (!URL.canParse(c.req.url) || (host !== undefined && !HOST.test(host)))
    throw new Refusal('parameter-invalid', { message: 'the host of the request is not a valid name or address' });
};

/**
 * Refuses paths with percent-encoding, so that routing, authorization and handlers all read the same path. No path of the
 * protocol needs percent-encoding. The only exception is `%3A` for the colon of a digest at the end of a path, which some
 * clients send.
 */
const plainPath: Step = (c) => {
  const sent = c.req.url.replace(/^[^/]*\/\/[^/]*/, '').split(/[?#]/, 1)[0] ?? '';
  const paths = [sent, new URL(c.req.url).pathname, c.req.path].map(withPlainDigest);
  if (paths.some((path) => path.includes('%') || path.includes('//'))) {
    throw new Refusal('repository-name-invalid', {
      message: 'the path is not valid: it has percent-encoding, an empty part, or too many parts',
    });
  }
};

const ENCODED_DIGEST = /^(\/v2\/.*\/sha(?:256|512))%3a([0-9a-f]{64}|[0-9a-f]{128})(\/?)$/i;

function withPlainDigest(path: string): string {
  return path.includes('%') ? path.replace(ENCODED_DIGEST, '$1:$2$3') : path;
}

/**
 * Refuses paths of the management API that are encoded twice or cannot be decoded. Percent-encoding itself is accepted, because
 * generated clients use it: `%2F` in the name of a repository, `%3A` in a digest. `routedPath` has already decoded the path
 * once.
 */
const plainApiPath: Step = (c) => {
  if (/[%\p{Cc}\ufffd]/u.test(c.req.path)) {
    const message = 'the path is not valid: its percent-encoding is not UTF-8, is done twice, or contains a control character';
    throw new Refusal('request-invalid', { message });
  }
  if (c.req.path.includes('//')) throw new Refusal('address-unknown');
};

/** Refuses paths of the web console with percent-encoding or an empty part. No address of a page has them. */
const plainPagePath: Step = (c) => {
  if (/%|\/\//.test(new URL(c.req.url).pathname)) throw new Refusal('address-unknown');
};

/** The maximum number of parts of a path. A repository name of 255 characters has at most 128 parts, and routes add a few. */
const PATH_MAX_PARTS = 160;

/**
 * Returns the path that the router reads: the path of the request without a slash at its end. The work of the router grows with
 * the square of the number of parts, and the router runs before any middleware. So a path with too many parts is replaced by a
 * path that `plainPath` refuses.
 */
function routedPath(request: Request): string {
  const sent = getPathNoStrict(request);
  const path = sent.startsWith('/api/') ? decoded(sent) : withPlainDigest(sent);
  return path.split('/', PATH_MAX_PARTS + 1).length > PATH_MAX_PARTS ? '/v2/%' : path;
}

/** The middleware of every page of the web console. */
const CONSOLE = [before(configured, plainPagePath, ownStores, withAuditAddress), authenticatePage, ownForms];

export const app = new Hono<AppEnv>({ getPath: routedPath, router: new TrieRouter() });

app.onError((error, c) => refuse(c, asRefusal(error, c.var.requestId)));
app.notFound((c) => {
  const page = isForPeople(c) && c.req.method === 'GET' ? pageOfReference(c.req.path.slice(1)) : null;
  return page === null ? refuse(c, new Refusal('address-unknown')) : seeOther(page);
});
app.use(logRequest, finish, before(noLoop, plainHost));
app.use('/v2/*', before(configured, plainPath, ownStores, authenticate));
app.use('/token', before(configured, ownStores));
app.use('/layers/*', before(configured, plainPath, ownStores));
for (const resource of [base, tags, manifests, referrers, uploads, blobs]) mount('/v2', resource);
app.use('/api/*', before(configured, plainApiPath));
app.use('/api/v1/*', before(ownStores, withAuditAddress, authenticateApi));
for (const resource of api) mount('/api/v1', resource);
mount('/api', documentation);
mount('/token', token);
// The web console has a GET route with the same path. It refuses all other methods, so this route must come first.
app.post('/', before(configured, ownStores), answerEcr);
mount('/layers', layers);
mount('/join', join);
app.get('/assets/*', staticFile);
for (const door of ['/v2/*', '/api/*', '/token/*', '/layers/*', '/join/*'])
  app.all(door, () => Promise.reject(new Refusal('address-unknown')));
const pages = [
  // Pages with fixed addresses come before the page of a repository, whose address can be any path.
  ...homePages,
  ...accountPages,
  ...imagesPages,
  ...organizationPages,
  ...peoplePages,
  ...webhookConsolePages,
  ...activityConsolePages,
  ...permissionPages,
  ...lifecycleConsolePages,
  ...layerPages,
  ...trashPages,
  ...usagePages,
  ...upkeepPages,
  ...repositoryPages,
];
for (const resource of pages) mount('', resource, CONSOLE);

/** Answers with a static file of the web console. Called only if Cloudflare has not served the file before. */
async function staticFile(c: Context<AppEnv>): Promise<Response> {
  const file = await c.env.ASSETS?.fetch(c.req.url);
  if (!file?.ok) throw new Refusal('address-unknown');
  return new Response(file.body as ReadableStream, { headers: new Headers([...file.headers]) });
}

/** Matches the paths that programs use, not people. */
const FOR_PROGRAMS = /^\/(?:v2|api|token|layers|assets)(?:\/|$)/;

/** Returns true if a browser asks for a page of the web console. The answer is then a page, and not JSON. */
function isForPeople(c: Context<AppEnv>): boolean {
  return !FOR_PROGRAMS.test(c.req.path) && (c.req.header('accept')?.includes('text/html') ?? false);
}

function refuse(c: Context<AppEnv>, refusal: Refusal): Response {
  c.set('reason', refusal.reason);
  if (isEcr(c)) return refuseEcr(c, refusal);
  if (isForPeople(c) && !(refusal instanceof DoorRefusal)) return refusedPage(c, refusal);
  return errorResponse(refusal, c.req.path, { headers: challengeHeaders(c, refusal), hint: hintOf(c, refusal) });
}

/** The reasons of refusals that a wrong path can cause. */
const MISSES: readonly Reason[] = ['method-not-allowed', 'not-found', 'repository-unknown', 'request-invalid'];

/** Returns the end of the message if the path is probably wrong. */
function hintOf(c: Context<AppEnv>, { reason }: Refusal): string {
  const { method, path, url } = c.req;
  const meant = MISSES.includes(reason) ? addressMeant(method, path) : null;
  if (meant !== null) return `. Below the name of a repository comes /-/: try ${meant}`;
  const isUnknown = reason === 'address-unknown' || reason === 'method-not-allowed';
  return isUnknown && EMPTY_PART.test(new URL(url).pathname) ? '. A part of the path is empty: is a variable empty?' : '';
}

/** Matches a path of the management API with an empty part. Scripts send such a path if a variable is empty. */
const EMPTY_PART = /^\/api\/v1\/.*\/(?:\/|$)/;

/** Returns the decoded path. A path that cannot be decoded is returned as it was sent. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/**
 * Adds the routes of a resource, each behind its guard, and refuses all other methods on the same paths. That refusal is
 * registered before the routes of the next resource, so that `GET .../blobs/uploads` is not read as a blob with an invalid
 * digest.
 * @param before middleware that runs before the guards
 * @throws Error if no table has a row for a route
 */
function mount(prefix: string, resource: Hono<AppEnv>, before: readonly MiddlewareHandler<AppEnv>[] = []): void {
  const guarded = new Set<string>();
  for (const { method, path: own, handler } of resource.routes) {
    const path = pathOf(prefix, own);
    const requirement = requirementOf(method, path);
    const isFirst = !guarded.has(`${method} ${path}`);
    if (isFirst) for (const middleware of before) app.on(method, path, middleware);
    if (isFirst && requirement !== 'anyone') app.on(method, path, guardOf(path, requirement));
    guarded.add(`${method} ${path}`);
    app.on(method, path, handler);
  }
  for (const path of new Set(resource.routes.map((route) => pathOf(prefix, route.path)))) {
    const methods = Object.keys(methodsOf(path));
    const allow = methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ');
    app.all(path, () => {
      throw new DoorRefusal('method-not-allowed', { headers: { allow } });
    });
  }
}

function pathOf(prefix: string, path: string): string {
  return `${prefix}${path}`.replace(/(.)\/$/, '$1');
}
