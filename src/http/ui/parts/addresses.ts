/** The addresses of the console's pages. They equal those of the management API without `/api/v1`. */

export type Query = Record<string, string | number | null | undefined>;

/** Adds a query to a path. Empty values are left out. */
export function withQuery(path: string, query: Query): string {
  const entries = Object.entries(query).flatMap(([key, value]) =>
    value == null || value === '' ? [] : [[key, String(value)]],
  );
  return entries.length === 0 ? path : `${path}?${new URLSearchParams(entries)}`;
}

export function repositoryAt(name: string, below = ''): string {
  return `/repositories/${name}${below === '' ? '' : `/-/${below}`}`;
}

export function tagAt(name: string, tag: string): string {
  return repositoryAt(name, `tags/${tag}`);
}

export function imageAt(name: string, digest: string): string {
  return repositoryAt(name, `images/${digest}`);
}

export function organizationAt(name: string, below = ''): string {
  return `/organizations/${name}${below === '' ? '' : `/${below}`}`;
}

export function webhookAt(id: string, below = ''): string {
  return `/webhooks/${id}${below === '' ? '' : `/${below}`}`;
}

export function userAt(name: string, below = ''): string {
  return `/users/${name}${below === '' ? '' : `/${below}`}`;
}

export function keyAt(id: string, below = ''): string {
  return `/keys/${id}${below === '' ? '' : `/${below}`}`;
}

/** Returns the path of the sign-in page. After signing in, the reader gets to the given path of the console. */
export function signInAt(next: string): string {
  return next === '/' ? '/sign-in' : withQuery('/sign-in', { next });
}

/**
 * Returns the path and query of an address of this console, or `/` for any other address. A browser is sent there after a
 * sign-in, so an address of another origin must not pass, however it is written.
 */
export function ownPath(next: string | null | undefined, origin: string): string {
  if (!next?.startsWith('/') || !URL.canParse(next, origin)) return '/';
  const url = new URL(next, origin);
  if (url.origin !== origin || `${url.pathname}${url.search}` !== next || next.startsWith('//')) return '/';
  return next;
}
