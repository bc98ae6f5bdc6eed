/** Lists of repositories as their reader may see them: candidates by index, each judged, until a page is full. */
import type { Authority } from '../auth/authority.ts';
import { withRepositories } from '../auth/lookup.ts';
import { allows } from '../auth/policy.ts';
import type { Sourced } from '../auth/statement.ts';
import { common, liesIn, type Place, pullPatterns, reachOf, repositoriesNaming } from '../auth/visibility.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Page, PageQuery } from '../oci/page.ts';
import { listRepositories } from '../registry/repositories/repositories.ts';
import type { RequestContext } from './context.ts';

/**
 * Goes, and candidates of the second; each after it takes twice as many, up to a limit. It is what one request may cost where
 * most are denied by their own policies: three statements a go, of which an invocation has 50.
 */
const ROUNDS = 12;
const CHUNK = 1000;
const CHUNK_MAX = 4000;

export interface Filter {
  /** Only `acme/...`. */
  namespace?: string | undefined;
  /** Part of the name or of the description. */
  search?: string | undefined;
}

/** Outside of any of these is nothing to be found: the namespace that is asked for, and what the credential is narrowed to. */
function limitsOf({ bounds }: Authority, { namespace }: Filter): Place[] {
  const narrowed = bounds.map((statements) => reachOf(pullPatterns({ statements })));
  return namespace === undefined ? narrowed : [{ prefixes: [`${namespace}/`], names: [] }, ...narrowed];
}

/** How far a round has seen everything there is: the end of the list that ended first, `undefined` where none was cut off. */
function earlier(one: string | undefined, other: string | undefined): string | undefined {
  return one === undefined || other === undefined ? (one ?? other) : one < other ? one : other;
}

/** Each by the caller's own statements and its own: the others' are about none but themselves. */
async function mayPull(c: RequestContext, authority: Authority, names: RepositoryName[]): Promise<RepositoryName[]> {
  const { statements } = await withRepositories(c.env, authority, names);
  const from = new Map<string, Sourced[]>();
  for (const statement of statements) from.set(statement.from, [...(from.get(statement.from) ?? []), statement]);
  const own = statements.filter((statement) => !statement.from.startsWith('repository:'));
  return names.filter((name) =>
    allows({ ...authority, statements: [...own, ...(from.get(`repository:${name}`) ?? [])] }, 'pull', name),
  );
}

/**
 * What the caller may pull, in bytewise order. A page may be short where it took too long to fill, and says then that there is
 * more, after the last that it shows: what was looked at and is hidden is not named.
 */
export async function visibleRepositories(
  c: RequestContext,
  authority: Authority,
  { after, limit }: PageQuery,
  filter: Filter = {},
): Promise<Page<RepositoryName>> {
  const limits = limitsOf(authority, filter);
  const reach = limits.reduce(common, reachOf(pullPatterns(authority)));
  // `0` is what comes after the slash.
  const [start, end] = filter.namespace === undefined ? ['', undefined] : [`${filter.namespace}/`, `${filter.namespace}0`];
  const found: RepositoryName[] = [];
  let from = after > start ? after : start;
  for (let round = 0; round < ROUNDS; round++) {
    const size = round === 0 ? limit + 1 : Math.max(limit, Math.min(CHUNK * 2 ** (round - 1), CHUNK_MAX));
    const page = { after: from, limit: size };
    const named = await repositoriesNaming(c.env, authority, page);
    const names = [...reach.names, ...named.filter((name) => limits.every((place) => liesIn(place, name)))];
    const candidates = await listRepositories(c.env, page, { prefixes: reach.prefixes, names, search: filter.search ?? '' });
    const horizon = earlier(
      named.length < page.limit ? undefined : named.at(-1),
      candidates.more ? candidates.items.at(-1) : undefined,
    );
    const known = candidates.items.filter((name) => horizon === undefined || name <= horizon);
    found.push(...(await mayPull(c, authority, known)));
    const done = horizon === undefined || (end !== undefined && horizon >= end);
    if (found.length > limit || done) return { items: found.slice(0, limit), more: found.length > limit };
    from = horizon;
  }
  return { items: found.slice(0, limit), more: true };
}
