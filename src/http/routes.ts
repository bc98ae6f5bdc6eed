/**
 * Every route of the registry, and what it requires of the caller. The guard of a route reads the row of the route. The Worker
 * does not start if a route has no row.
 */
import type { Requirement } from '../vocabulary/requirements.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** The requirements, by path and method. HEAD requires the same as GET. */
export const ROUTES: Record<string, Partial<Record<Method, Requirement>>> = {
  '/v2': { GET: 'login' },
  '/v2/_catalog': { GET: 'catalog' },
  '/v2/:name{.+}/tags/list': { GET: 'pull' },
  '/v2/:name{.+}/manifests/:reference': { GET: 'pull', PUT: 'push', DELETE: 'delete' },
  '/v2/:name{.+}/referrers/:digest': { GET: 'pull' },
  '/v2/:name{.+}/blobs/uploads': { POST: 'push' },
  '/v2/:name{.+}/blobs/uploads/:upload': { GET: 'push', PATCH: 'push', PUT: 'push', DELETE: 'push' },
  '/v2/:name{.+}/blobs/:digest': { GET: 'pull', DELETE: 'delete' },
  '/token': { GET: 'anyone', POST: 'anyone' },
  // The token in the query names its holder, whose rights the operation reads.
  '/layers/:digest': { GET: 'anyone' },

  '/join': { GET: 'anyone' },
  '/api': { GET: 'anyone' },
  '/api/openapi.json': { GET: 'anyone' },
  '/api/event.schema.json': { GET: 'anyone' },

  '/api/v1/me': { GET: 'login' },
  '/api/v1/me/logins': { DELETE: 'login' },
  '/api/v1/me/invitations': { GET: 'account' },
  '/api/v1/me/invitations/:organization': { DELETE: 'account' },
  '/api/v1/me/invitations/:organization/accept': { POST: 'account' },
  '/api/v1/login-password': { POST: 'login' },
  '/api/v1/explain': { GET: 'login' },

  '/api/v1/users': { GET: 'administrator' },
  '/api/v1/users/:user': { GET: 'login', PUT: 'administrator', PATCH: 'administrator' },
  '/api/v1/users/:user/invitation': { POST: 'administrator' },
  '/api/v1/users/:user/logins': { DELETE: 'administrator' },
  '/api/v1/users/:user/policy': { GET: 'administrator', PUT: 'administrator' },
  '/api/v1/invitations/accept': { POST: 'anyone' },

  '/api/v1/organizations': { GET: 'login' },
  '/api/v1/organizations/:organization': { GET: 'member', PUT: 'administrator', PATCH: 'owner', DELETE: 'administrator' },
  '/api/v1/organizations/:organization/members': { GET: 'member' },
  '/api/v1/organizations/:organization/members/:user': { PUT: 'owner', DELETE: 'owner or self' },
  '/api/v1/organizations/:organization/invitations': { GET: 'owner' },
  '/api/v1/organizations/:organization/invitations/:user': { DELETE: 'owner' },
  '/api/v1/organizations/:organization/teams': { GET: 'member' },
  '/api/v1/organizations/:organization/teams/:team': { GET: 'member', PUT: 'owner', DELETE: 'owner' },
  '/api/v1/organizations/:organization/teams/:team/members': { GET: 'member' },
  '/api/v1/organizations/:organization/teams/:team/members/:user': { PUT: 'owner', DELETE: 'owner or self' },
  '/api/v1/organizations/:organization/teams/:team/policy': { GET: 'owner', PUT: 'owner' },
  '/api/v1/organizations/:organization/robots': { GET: 'owner' },
  '/api/v1/organizations/:organization/robots/:robot': { GET: 'owner', PUT: 'owner', DELETE: 'owner' },
  '/api/v1/organizations/:organization/robots/:robot/keys': { GET: 'owner', POST: 'owner' },
  '/api/v1/organizations/:organization/robots/:robot/policy': { GET: 'owner', PUT: 'owner' },
  '/api/v1/organizations/:organization/trust-rules': { GET: 'owner' },
  '/api/v1/organizations/:organization/trust-rules/:rule': { GET: 'owner', PUT: 'owner', DELETE: 'owner' },
  '/api/v1/trust-rules': { GET: 'administrator' },
  '/api/v1/trust-rules/:rule': { GET: 'administrator', PUT: 'administrator', DELETE: 'administrator' },

  '/api/v1/keys': { GET: 'login', POST: 'account' },
  '/api/v1/keys/:key': { GET: 'login', PATCH: 'account', DELETE: 'login' },
  '/api/v1/keys/:key/rotate': { POST: 'login' },

  '/api/v1/repositories': { GET: 'anyone' },
  '/api/v1/repositories/:name{.+}': { GET: 'pull', PUT: 'create', PATCH: 'admin', DELETE: 'admin' },
  '/api/v1/repositories/:name{.+}/-/policy': { GET: 'admin', PUT: 'admin' },
  '/api/v1/repositories/:name{.+}/-/star': { GET: 'pull', PUT: 'pull', DELETE: 'pull' },
  '/api/v1/repositories/:name{.+}/-/comments': { GET: 'pull', POST: 'pull' },
  '/api/v1/repositories/:name{.+}/-/comments/:comment': { PATCH: 'pull', DELETE: 'pull' },
  '/api/v1/repositories/:name{.+}/-/tags': { GET: 'pull' },
  '/api/v1/repositories/:name{.+}/-/tags/:tag': { DELETE: 'delete' },
  '/api/v1/repositories/:name{.+}/-/images': { GET: 'pull' },
  '/api/v1/repositories/:name{.+}/-/file-changes': { GET: 'pull' },
  '/api/v1/repositories/:name{.+}/-/images/:digest': { GET: 'pull', DELETE: 'delete' },
  '/api/v1/repositories/:name{.+}/-/deletion': { POST: 'delete' },
  '/api/v1/repositories/:name{.+}/-/deletion/preview': { POST: 'delete' },
  '/api/v1/repositories/:name{.+}/-/tags/:tag/history': { GET: 'pull' },
  '/api/v1/repositories/:name{.+}/-/tags/:tag/rollback': { POST: 'push' },
  '/api/v1/repositories/:name{.+}/-/tag-mutability': { GET: 'pull', PUT: 'admin' },
  '/api/v1/repositories/:name{.+}/-/pulls': { GET: 'pull' },
  '/api/v1/repositories/:name{.+}/-/lifecycle': { GET: 'pull', PUT: 'admin', DELETE: 'admin' },
  '/api/v1/repositories/:name{.+}/-/lifecycle/preview': { POST: 'admin' },
  '/api/v1/repositories/:name{.+}/-/lifecycle/run': { POST: 'admin' },
  '/api/v1/repositories/:name{.+}/-/trash': { GET: 'delete' },
  '/api/v1/repositories/:name{.+}/-/trash/tags/:tag': { DELETE: 'admin' },
  '/api/v1/repositories/:name{.+}/-/trash/tags/:tag/restore': { POST: 'delete' },
  '/api/v1/repositories/:name{.+}/-/trash/manifests/:digest': { DELETE: 'admin' },
  '/api/v1/repositories/:name{.+}/-/trash/manifests/:digest/restore': { POST: 'delete' },
  '/api/v1/trash': { GET: 'login' },
  '/api/v1/trash/:entry': { DELETE: 'trash' },
  '/api/v1/trash/:entry/restore': { POST: 'trash' },

  '/api/v1/events': { GET: 'login' },

  '/api/v1/usage': { GET: 'administrator' },
  '/api/v1/organizations/:organization/usage': { GET: 'owner' },
  '/api/v1/organizations/:organization/quota': { PUT: 'administrator' },
  '/api/v1/users/:user/usage': { GET: 'login' },
  '/api/v1/users/:user/quota': { PUT: 'administrator' },
  '/api/v1/gc': { GET: 'administrator', POST: 'administrator' },
  '/api/v1/budget': { GET: 'administrator' },
  '/api/v1/scrub': { POST: 'administrator' },
  '/api/v1/fsck': { GET: 'administrator' },

  '/api/v1/webhooks': { GET: 'administrator', POST: 'administrator' },
  '/api/v1/organizations/:organization/webhooks': { GET: 'owner', POST: 'owner' },
  '/api/v1/repositories/:name{.+}/-/webhooks': { GET: 'admin', POST: 'admin' },
  '/api/v1/webhooks/:webhook': { GET: 'webhook', PATCH: 'webhook', DELETE: 'webhook' },
  '/api/v1/webhooks/:webhook/rotate': { POST: 'webhook' },
  '/api/v1/webhooks/:webhook/test': { POST: 'webhook' },
  '/api/v1/webhooks/:webhook/deliveries': { GET: 'webhook' },
  '/api/v1/webhooks/:webhook/deliveries/:delivery': { GET: 'webhook' },
  '/api/v1/webhooks/:webhook/deliveries/:delivery/replay': { POST: 'webhook' },
  '/api/v1/webhooks/:webhook/replay': { POST: 'webhook' },
};

/** The pages of the web console, and what each requires of its reader. */
export const PAGES: typeof ROUTES = {
  // POST is the ECR API. A header names the operation, which decides what the caller needs (`ecr/operations.ts`).
  '/': { GET: 'anyone', POST: 'anyone' },
  '/assets/*': { GET: 'anyone' },
  '/sign-in': { GET: 'anyone', POST: 'anyone' },
  '/sign-out': { POST: 'login' },
  '/sign-in/access': { GET: 'anyone' },
  '/sign-in/provider': { GET: 'anyone' },
  '/sign-in/provider/callback': { GET: 'anyone' },
  '/account/identities': { GET: 'account', POST: 'account' },
  '/account/identities/access': { GET: 'account' },
  '/account/identities/link': { GET: 'account' },
  '/account/identities/remove': { POST: 'account' },

  '/account': { GET: 'login' },
  '/account/appearance': { POST: 'login' },
  '/account/invitations/:organization': { POST: 'account' },
  '/account/keys': { GET: 'login' },
  '/account/keys/-/new': { GET: 'account', POST: 'account' },
  '/account/keys/-/new/provider': { GET: 'account' },
  '/account/logins': { GET: 'login', POST: 'login' },
  '/keys/:key': { GET: 'login', POST: 'account' },
  '/keys/:key/rotation': { POST: 'login' },
  '/keys/:key/revocation': { POST: 'login' },

  '/organizations': { GET: 'login' },
  '/organizations/-/new': { GET: 'administrator', POST: 'administrator' },
  '/organizations/:organization': { GET: 'member' },
  '/organizations/:organization/members': { GET: 'member', POST: 'owner' },
  '/organizations/:organization/members/:user': { POST: 'owner' },
  '/organizations/:organization/members/:user/removal': { GET: 'owner or self', POST: 'owner or self' },
  '/organizations/:organization/invitations/:user/withdrawal': { POST: 'owner' },
  '/organizations/:organization/teams': { GET: 'member', POST: 'owner' },
  '/organizations/:organization/teams/:team': { GET: 'member', POST: 'owner' },
  '/organizations/:organization/teams/:team/members': { POST: 'owner' },
  '/organizations/:organization/teams/:team/members/:user/removal': { POST: 'owner or self' },
  '/organizations/:organization/teams/:team/policy': { POST: 'owner' },
  '/organizations/:organization/teams/:team/deletion': { POST: 'owner' },
  '/organizations/:organization/robots': { GET: 'owner', POST: 'owner' },
  '/organizations/:organization/robots/:robot': { GET: 'owner', POST: 'owner' },
  '/organizations/:organization/robots/:robot/keys': { POST: 'owner' },
  '/organizations/:organization/robots/:robot/policy': { POST: 'owner' },
  '/organizations/:organization/robots/:robot/deletion': { POST: 'owner' },
  '/organizations/:organization/trust-rules': { GET: 'owner' },
  '/organizations/:organization/trust-rules/-/new': { GET: 'owner', POST: 'owner' },
  '/organizations/:organization/trust-rules/:rule': { GET: 'owner', POST: 'owner' },
  '/organizations/:organization/trust-rules/:rule/deletion': { POST: 'owner' },
  '/organizations/:organization/settings': { GET: 'owner', POST: 'owner' },
  '/organizations/:organization/settings/deletion': { POST: 'administrator' },
  '/trust-rules': { GET: 'administrator' },
  '/trust-rules/-/new': { GET: 'administrator', POST: 'administrator' },
  '/trust-rules/:rule': { GET: 'administrator', POST: 'administrator' },
  '/trust-rules/:rule/deletion': { POST: 'administrator' },
  '/webhooks': { GET: 'administrator' },
  '/webhooks/new': { GET: 'administrator', POST: 'administrator' },
  '/organizations/:organization/webhooks': { GET: 'owner' },
  '/organizations/:organization/webhooks/new': { GET: 'owner', POST: 'owner' },
  '/repositories/:name{.+}/-/webhooks': { GET: 'admin' },
  '/repositories/:name{.+}/-/webhooks/new': { GET: 'admin', POST: 'admin' },
  '/webhooks/:webhook': { GET: 'webhook', POST: 'webhook' },
  '/webhooks/:webhook/state': { POST: 'webhook' },
  '/webhooks/:webhook/test': { POST: 'webhook' },
  '/webhooks/:webhook/replay': { POST: 'webhook' },
  '/webhooks/:webhook/rotate': { POST: 'webhook' },
  '/webhooks/:webhook/delete': { POST: 'webhook' },
  '/webhooks/:webhook/deliveries/:delivery': { GET: 'webhook' },
  '/webhooks/:webhook/deliveries/:delivery/replay': { POST: 'webhook' },
  '/activity': { GET: 'login' },
  '/organizations/:organization/activity': { GET: 'owner' },
  '/repositories/:name{.+}/-/activity': { GET: 'admin' },
  '/repositories/:name{.+}/-/lifecycle': { GET: 'pull', POST: 'admin' },
  '/repositories/:name{.+}/-/lifecycle/preview': { GET: 'admin', POST: 'admin' },
  '/repositories/:name{.+}/-/lifecycle/run': { POST: 'admin' },
  '/repositories/:name{.+}/-/lifecycle/deletion': { POST: 'admin' },
  '/repositories/:name{.+}/-/trash': { GET: 'delete' },
  '/repositories/:name{.+}/-/trash/restore': { POST: 'delete' },
  '/repositories/:name{.+}/-/trash/purge': { GET: 'admin', POST: 'admin' },
  '/usage': { GET: 'administrator' },
  '/organizations/:organization/usage': { GET: 'owner', POST: 'administrator' },
  '/upkeep': { GET: 'administrator' },
  '/upkeep/check': { GET: 'administrator' },
  '/upkeep/collector': { POST: 'administrator' },
  '/upkeep/scrub': { POST: 'administrator' },
  '/trash': { GET: 'login' },
  '/trash/:entry/restore': { POST: 'trash' },
  '/trash/:entry/purge': { GET: 'trash', POST: 'trash' },

  // These pages exist only for administrators: for others, their handlers answer 404 and not 403.
  '/users': { GET: 'login' },
  '/users/-/new': { GET: 'login', POST: 'login' },
  '/users/:user': { GET: 'login', POST: 'login' },
  '/users/:user/invitation': { POST: 'login' },
  '/users/:user/logins': { POST: 'login' },
  '/users/:user/usage': { GET: 'login', POST: 'administrator' },

  '/repositories': { GET: 'anyone' },
  '/repositories/-/new': { GET: 'login', POST: 'login' },
  '/repositories/:name{.+}/-/permissions': { GET: 'admin', POST: 'admin' },
  '/repositories/:name{.+}/-/permissions/explain': { GET: 'admin' },
  '/repositories/:name{.+}/-/about': { GET: 'pull', POST: 'admin' },
  '/repositories/:name{.+}/-/tags/:tag': { GET: 'pull' },
  '/repositories/:name{.+}/-/layers/:digest': { GET: 'pull' },
  '/repositories/:name{.+}/-/tags/:tag/history': { GET: 'pull', POST: 'push' },
  '/repositories/:name{.+}/-/compare': { GET: 'pull' },
  '/repositories/:name{.+}/-/deletion': { GET: 'delete', POST: 'delete' },
  '/repositories/:name{.+}/-/images/:digest': { GET: 'pull' },
  '/repositories/:name{.+}/-/images/:digest/raw': { GET: 'pull' },
  '/repositories/:name{.+}/-/star': { POST: 'pull' },
  '/repositories/:name{.+}/-/comments': { POST: 'pull' },
  '/repositories/:name{.+}/-/comments/:comment': { POST: 'pull' },
  '/repositories/:name{.+}/-/images/:digest/referrers/:referrer': { GET: 'pull' },
  '/repositories/:name{.+}/-/settings': { GET: 'admin', POST: 'admin' },
  '/repositories/:name{.+}': { GET: 'pull' },
};

/** Returns what a route requires. @param path the pattern of the route @throws Error if the table has no row for it */
export function requirementOf(method: string, path: string): Requirement {
  const requirement = methodsOf(path)[method as Method];
  if (requirement === undefined) throw new Error(`routes.ts has no row for ${method} ${path}`);
  return requirement;
}

/** Returns the methods of a path, with their requirements. @param path the pattern of a route */
export function methodsOf(path: string): Partial<Record<Method, Requirement>> {
  return ROUTES[path] ?? PAGES[path] ?? {};
}

const REPOSITORIES = '/api/v1/repositories/';
const BELOW = `${REPOSITORIES}:name{.+}/-/`;

/** For each address below the name of a repository, its parts after `/-/` and its methods. The longest address comes first. */
const below = Object.entries(ROUTES)
  .filter(([path]) => path.startsWith(BELOW))
  .map(([path, row]) => ({ parts: path.slice(BELOW.length).split('/'), methods: Object.keys(row) }))
  .sort((a, b) => b.parts.length - a.parts.length);

/**
 * Returns the address that the client probably meant by a path without `/-/`, such as `/api/v1/repositories/acme/api/tags`.
 * Returns `null` if the path does not look like an address below a repository. Only the path is considered, so the answer does
 * not reveal what exists.
 */
export function addressMeant(method: string, path: string): string | null {
  if (!path.startsWith(REPOSITORIES) || path.includes('/-/')) return null;
  const sent = path.slice(REPOSITORIES.length).split('/');
  const wanted = method === 'HEAD' ? 'GET' : method;
  const found = below.find(({ parts, methods }) => {
    const end = sent.slice(-parts.length);
    const fits = parts.every((part, n) => (part.startsWith(':') ? end[n] !== '' : end[n] === part));
    return sent.length > parts.length && methods.includes(wanted) && fits;
  });
  if (!found) return null;
  const name = sent.slice(0, -found.parts.length);
  return `${REPOSITORIES}${name.join('/')}/-/${sent.slice(name.length).join('/')}`;
}
