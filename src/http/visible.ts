/** Lists of repositories as their reader may see them: candidates by index, each judged, until a page is full. */
import type { Authority } from '../auth/authority.ts';
import { withRepositories } from '../auth/lookup.ts';
import { allows } from '../auth/policy.ts';
import type { Sourced } from '../auth/statement.ts';
import { common, liesIn, type Place, pullPatterns, reachOf, repositoriesNaming } from '../auth/visibility.ts';
import { badParameter } from '../oci/errors.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Page, PageQuery } from '../oci/page.ts';
import { listRepositories } from '../registry/repositories/repositories.ts';
import type { RequestContext } from './context.ts';
import { openPlace, sealPlace } from './sealed-place.ts';

/**
 * Goes, and candidates of the second; each after it takes twice as many, up to a limit. It is what one request may cost where
 * most are denied by their own policies: three statements a go, of which an invocation has 50.
 */
const ROUNDS = 12;
const CHUNK = 1000;
const CHUNK_MAX = 4000;

/** As places in it are sealed for it. */
const LIST = 'repositories';

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

export interface VisiblePage extends Page<RepositoryName> {
  /** What the next page begins after: the last item, or a place that is sealed, as it may be that of what is hidden. `null`: the end. */
  next: string | null;
}

/**
 * What the caller may pull, in bytewise order. A page may be short, or empty, where it took too long to fill, and says then that
 * there is more: what was looked at and is hidden is not named.
 * @throws UNSUPPORTED (400) where it is to begin at a place that is none of ours
 */
export async function visibleRepositories(
  c: RequestContext,
  authority: Authority,
  { after, limit }: PageQuery,
  filter: Filter = {},
): Promise<VisiblePage> {
  const place: string | null = await openPlace(c.env, LIST, after);
  if (place === null) throw badParameter('"last" is no place in this list: begin anew');
  const limits = limitsOf(authority, filter);
  const reach = limits.reduce(common, reachOf(pullPatterns(authority)));
  // `0` is what comes after the slash.
  const [start, end] = filter.namespace === undefined ? ['', undefined] : [`${filter.namespace}/`, `${filter.namespace}0`];
  const found: RepositoryName[] = [];
  let from = place > start ? place : start;
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
    if (found.length > limit) return { items: found.slice(0, limit), more: true, next: found[limit - 1] ?? null };
    if (done) return { items: found, more: false, next: null };
    from = horizon;
  }
  return { items: found, more: true, next: await sealPlace(c.env, LIST, from) };
}
