/**
 * The guard of a route: a middleware that checks what `ROUTES` requires for the route. It runs before the body of the request
 * is read. It sets the variables that the handler needs: the caller's rights, and the repository or webhook in the path.
 */
import { createMiddleware } from 'hono/factory';
import { admit, admitToContent, type Named } from '../app/admission.ts';
import { type IncomingBlob, isSmall } from '../app/upload-reads.ts';
import { isDigest } from '../oci/digest.ts';
import { isRepositoryName, parseRepositoryName, type RepositoryName } from '../oci/name.ts';
import { isTag } from '../oci/reference.ts';
import type { ContentRequirement, ManagementRequirement, Requirement } from '../vocabulary/requirements.ts';
import { arrivalOf } from './authenticate.ts';
import type { AppEnv, RequestContext } from './context.ts';
import { limitExpensiveReads, limitWrites } from './limits.ts';
import { contentLength } from './params.ts';

/** The approximate number of D1 rows that one request for each list under /v2 reads. */
const LISTS: Record<string, number> = {
  '/v2/_catalog': 5000,
  '/v2/:name{.+}/tags/list': 500,
  '/v2/:name{.+}/referrers/:digest': 500,
};

const STARTS = '/v2/:name{.+}/blobs/uploads';
const UPLOADS = `${STARTS}/:upload`;
const MANIFEST = '/v2/:name{.+}/manifests/:reference';

/** Returns the guard of a route. @param path the pattern of the route */
export function guardOf(path: string, requirement: Exclude<Requirement, 'anyone'>) {
  const isContent = path === '/v2' || path.startsWith('/v2/');
  const guard = createMiddleware<AppEnv>(async function guard(c, next) {
    const named = namedIn(c);
    if (named.repository !== null) c.set('repository', named.repository);
    if (isContent) {
      const isRead = c.req.method === 'GET' || c.req.method === 'HEAD';
      const incoming = incomingBlob(c, path);
      const request = { named, isRead, incoming, mayAssume: mayAssume(c, path, named, incoming) };
      const admitted = await admitToContent(arrivalOf(c), c.get('caller'), requirement as ContentRequirement, request);
      if (admitted.authority !== null) c.set('authority', admitted.authority);
      if (admitted.uploading !== null) c.set('uploading', admitted.uploading);
      if (admitted.assumed !== null) c.set('assumed', admitted.assumed);
      if (!isRead) await limitWrites(c);
      else if (LISTS[path] !== undefined) await limitExpensiveReads(c, LISTS[path]);
    } else {
      const admitted = await admit(arrivalOf(c), c.get('caller'), requirement as ManagementRequirement, named);
      c.set('authority', admitted.authority);
      if (admitted.webhook !== null) c.set('webhook', admitted.webhook);
      // Requests of the management API charge their reads in `operation`.
      if (!path.startsWith('/api/') && c.req.method === 'GET') await limitExpensiveReads(c);
    }
    await next();
  });
  return Object.assign(guard, { requirement });
}

/** @throws repository-name-invalid */
function namedIn(c: RequestContext): Named {
  const name = c.req.param('name');
  return {
    repository: name === undefined ? null : parseRepositoryName(name),
    source: sourceIn(c),
    tag: tagIn(c),
    organization: c.req.param('organization')?.toLowerCase() ?? '',
    user: c.req.param('user')?.toLowerCase() ?? '',
    webhook: c.req.param('webhook') ?? '',
  };
}

/**
 * Returns the second repository whose policy is loaded: `from` of a mount (end-11), or `repository` in a query of the
 * management API.
 */
function sourceIn(c: RequestContext): RepositoryName | null {
  const isQuery = c.req.path.startsWith('/api/');
  const isMount = !isQuery && c.req.query('mount') !== undefined;
  const source = isQuery ? c.req.query('repository') : isMount ? c.req.query('from') : undefined;
  return source !== undefined && isRepositoryName(source) ? source : null;
}

/**
 * Describes the blob whose bytes the request sends. Returns `null` if the request sends no bytes of a blob, or if its digest is
 * missing or invalid.
 */
function incomingBlob(c: RequestContext, path: string): IncomingBlob | null {
  const { method } = c.req;
  const isUpload = path === STARTS ? method === 'POST' : path === UPLOADS && (method === 'PATCH' || method === 'PUT');
  if (!isUpload) return null;
  const digests = c.req.queries('digest') ?? [];
  const [digest = null] = method === 'PATCH' ? [] : digests.filter(isDigest);
  if (digests.length > 1 || (method === 'PUT' && digest === null)) return null;
  return { location: c.req.param('upload') ?? null, digest, length: contentLength(c) };
}

/** Whether the operation of the route may begin with the rights in this isolate's memory (`ContentRequest.mayAssume`). */
function mayAssume(c: RequestContext, path: string, { source }: Named, incoming: IncomingBlob | null): boolean {
  const { method } = c.req;
  if (method === 'PUT' && path === MANIFEST) return true;
  if (method === 'POST' && path === STARTS && source !== null) return true;
  return incoming !== null && incoming.digest !== null && isSmall(incoming.length);
}

/**
 * Returns the tag in the path. For a manifest that is pushed by its digest, returns the first `tag` parameter. Returns `null`
 * if there is none.
 */
function tagIn(c: RequestContext): string | null {
  const reference = c.req.param('reference');
  if (reference === undefined) return c.req.param('tag') ?? null;
  if (isTag(reference)) return reference;
  return c.req.method === 'PUT' ? (c.req.query('tag') ?? null) : null;
}
