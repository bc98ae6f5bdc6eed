/**
 * Lists the repositories from which the caller may pull. First an index yields candidates: all these repositories and maybe
 * others. Then the policy engine decides about each candidate, until a page is full.
 */
import type { Authority } from '../auth/authority.ts';
import { namesNaming, repositoriesNaming } from '../auth/naming.ts';
import {
  common,
  type Judge,
  judgeOf,
  type Place,
  placeTest,
  pullPatterns,
  pullsSaid,
  reachOf,
  type Said,
  saidBy,
} from '../auth/visibility.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { PageQuery } from '../oci/page.ts';
import { describeRepositories } from '../registry/repositories/descriptions.ts';
import { listRepositories as listCandidates } from '../registry/repositories/repositories.ts';
import { parseName } from '../vocabulary/names.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { requireLogin } from './access.ts';
import type { Call } from './call.ts';
import type { ListedRepository } from './repositories.ts';
import { openCursor, sealCursor } from './sealed-cursor.ts';

interface RepositoryFilter {
  /** The name of the organization or user to which the repositories belong. */
  namespace?: string | undefined;
  /** A text that the name or the description must contain. */
  search?: string | undefined;
  /**
   * Leaves out repositories with the other visibility. The page is not filled up with further repositories, so that the filter
   * causes no additional reads.
   */
  visibility?: 'public' | 'private' | undefined;
}

/**
 * A page of a list, in byte order of the names. It can be short or empty although more pages follow, because the work of one
 * request is limited. `next` is the cursor of the next page, or `null` at the end. The cursor is the name after which the next
 * page begins; it is encrypted if the caller may not see that name.
 */
interface ListPage<T> {
  items: T[];
  next: string | null;
}

/**
 * Lists repositories. Anonymous callers get the public ones. @throws parameter-invalid if the cursor belongs to another list
 */
export async function listRepositories(
  call: Call,
  page: PageQuery,
  { namespace, search, visibility: wanted }: RepositoryFilter,
): Promise<ListPage<ListedRepository>> {
  const { items: all, next } = await visibleRepositories(call, page, {
    // Lowers ASCII letters only, because SQLite's lower() does the same to the names and descriptions in the query.
    search: search?.replaceAll(/[A-Z]+/g, (text) => text.toLowerCase()) ?? '',
    namespace: namespace ? parseName(namespace) : undefined,
  });
  const items = all.filter(({ isPublic }) => wanted === undefined || isPublic === (wanted === 'public'));
  const visibility = new Map(items.map((item) => [item.name, item.isPublic ? ('public' as const) : ('private' as const)]));
  const summaries = await describeRepositories(
    call.env,
    items.map(({ name }) => name),
  );
  return { items: summaries.map((one) => ({ ...one, visibility: visibility.get(one.name) ?? 'private' })), next };
}

/**
 * Lists only names, for the endpoint `_catalog`. @throws unauthenticated; parameter-invalid if the cursor belongs to another
 * list
 */
export async function listCatalog(call: Call, page: PageQuery): Promise<ListPage<RepositoryName>> {
  requireLogin(call);
  const { items, next } = await visibleRepositories(call, page, { search: '', namespace: undefined });
  return { items: items.map(({ name }) => name), next };
}

/**
 * The maximum number of rounds in one request. A second round is needed only if the caller may not see most candidates. Each
 * round runs two statements, and an invocation may run 50.
 */
const ROUNDS = 12;
/** The number of candidates of the second round. Each further round reads twice as many, up to the maximum. */
const CANDIDATES = 1000;
const CANDIDATES_MAX = 4000;

/** The name of this list in encrypted cursors. An encrypted cursor is valid only for the list for which it was made. */
const LIST = 'repositories';

interface Visible {
  name: RepositoryName;
  isPublic: boolean;
}

interface Wanted {
  search: string;
  namespace: string | undefined;
}

async function visibleRepositories(
  { env, authority }: Call,
  { after, limit }: PageQuery,
  wanted: Wanted,
): Promise<ListPage<Visible>> {
  const cursor = await openCursor(env, LIST, after);
  if (cursor === null) {
    throw new Refusal('parameter-invalid', { message: '`last` is not a valid cursor; start from the first page' });
  }
  const { namespace } = wanted;
  // The character `0` follows the slash in byte order, so this range contains all names that begin with the namespace.
  const [start, end] = namespace === undefined ? ['', null] : [`${namespace}/`, `${namespace}0`];
  const judge = judgeOf(authority, 'pull');
  const search = searchFor(authority, wanted);
  const found: Visible[] = [];
  let from = start;
  if (cursor > start) from = cursor;
  for (let round = 0; round < ROUNDS; round++) {
    const { candidates, said, horizon } = await candidatesAfter(env, authority, search, {
      after: from,
      limit: sizeOf(round, limit),
    });
    const { visible, stoppedAt } = judged(judge, said, candidates, from);
    found.push(...visible);
    if (found.length > limit) return { items: found.slice(0, limit), next: found[limit - 1]?.name ?? null };
    if (stoppedAt !== null) return { items: found, next: await sealCursor(env, LIST, stoppedAt) };
    if (horizon === null || (end !== null && horizon >= end)) return { items: found, next: null };
    from = horizon;
  }
  return { items: found, next: await sealCursor(env, LIST, from) };
}

/**
 * Returns the number of candidates to read in a round. The first round reads one more than a page has, which is enough for most
 * callers.
 */
function sizeOf(round: number, limit: number): number {
  return round === 0 ? limit + 1 : Math.max(limit, Math.min(CANDIDATES * 2 ** (round - 1), CANDIDATES_MAX));
}

/**
 * What a search looks for. The index of names yields candidates within `reach`, and the two functions filter the candidates.
 */
interface Search {
  text: string;
  reach: Place;
  /** True if all names that the search may find have one of the prefixes of `reach`. */
  isWhole: boolean;
  /** Returns true for a name that has one of the prefixes of `reach`. */
  hasPrefix: (name: string) => boolean;
  /** Returns true for a name in the namespace and within the limits of the credential. */
  isWithin: (name: string) => boolean;
}

function searchFor(authority: Authority, { search, namespace }: Wanted): Search {
  const bounds = authority.bounds.map((statements) => reachOf(pullPatterns({ statements })));
  const limits = namespace === undefined ? bounds : [{ prefixes: [`${namespace}/`], names: [] }, ...bounds];
  const reach = limits.reduce(common, reachOf(pullPatterns(authority)));
  const tests = limits.map(placeTest);
  const hasPrefix = placeTest({ ...reach, names: [] });
  return {
    text: search,
    reach,
    isWhole: hasPrefix(namespace === undefined ? '' : `${namespace}/`),
    hasPrefix,
    isWithin: (name) => tests.every((test) => test(name)),
  };
}

interface Candidates {
  candidates: RepositoryName[];
  /** What the policies of candidates say about pulling, by repository. Contains only policies that name the caller. */
  said: Map<string, Said>;
  /** The name up to which the list of candidates is complete. `null` means that no further candidates follow. */
  horizon: string | null;
}

/**
 * Returns the next candidates. A repository is a candidate if the caller's own policies can allow the pull, or if the
 * repository's policy names the caller.
 */
async function candidatesAfter(
  env: Call['env'],
  authority: Authority,
  { text, reach, isWhole, hasPrefix, isWithin }: Search,
  page: PageQuery,
): Promise<Candidates> {
  const { prefixes } = reach;
  const own = nextOf(reach.names, page);
  const candidatesUpTo = (names: string[], until?: string) =>
    listCandidates(env, page, { prefixes, names, search: text, until });
  // If the caller's own rights reach all names, the policies of repositories add none, so the two lists are read at once. A
  // search is not: it would read names beyond the end of the other list, and the next round would read them again.
  const all = isWhole && text === '' ? candidatesUpTo(own.items) : null;
  // A search reads what policies say only for the few repositories that match it.
  const [rows, found, listed] = await Promise.all([
    text === '' ? repositoriesNaming(env, authority, page) : null,
    text === '' ? [] : namesNaming(env, authority, page),
    all,
  ]);
  const named = rows ? [...new Set(rows.map(({ repository }) => repository))] : found;
  // If the list of repositories that name the caller is cut off, names after its last one are left for the next round.
  const until = named.length < page.limit ? undefined : named.at(-1);
  const { items, more } =
    listed ?? (await candidatesUpTo([...own.items, ...named.filter((name) => !hasPrefix(name) && isWithin(name))], until));
  const ends = [until, more ? items.at(-1) : null, own.cut];
  // Each of the three lists is complete up to its last name, or complete if nothing follows. The candidates are complete up to
  // the smallest of these names.
  const horizon = ends.filter((end) => end != null).sort()[0] ?? null;
  const candidates = items.filter((name) => horizon === null || name <= horizon);
  const wanted = new Set<string>(candidates);
  const said = rows
    ? await saidBy(
        env,
        authority,
        rows.filter(({ repository }) => wanted.has(repository)),
      )
    : await pullsSaid(
        env,
        authority,
        named.filter((name) => wanted.has(name)),
      );
  return { candidates, said, horizon };
}

/** Returns the next names of a sorted list. `cut` is the last returned name if more names follow, otherwise `null`. */
function nextOf(names: readonly string[], { after, limit }: PageQuery): { items: string[]; cut: string | null } {
  const rest = names.filter((name) => name > after);
  const items = rest.slice(0, limit);
  return { items, cut: rest.length > limit ? (items.at(-1) ?? null) : null };
}

/**
 * Decides about each candidate, by the caller's own statements and the repository's policy.
 * @returns the repositories that the caller may see. `stoppedAt` is the last decided name if the request has used up its
 * pattern comparisons, otherwise `null`
 */
function judged(
  judge: Judge,
  said: Map<string, Said>,
  names: RepositoryName[],
  from: string,
): { visible: Visible[]; stoppedAt: string | null } {
  const visible: Visible[] = [];
  for (const [n, name] of names.entries()) {
    const mayPull = judge(name, said.get(name));
    if (mayPull === null) return { visible, stoppedAt: names[n - 1] ?? from };
    if (mayPull) visible.push({ name, isPublic: said.get(name)?.isPublic ?? false });
  }
  return { visible, stoppedAt: null };
}
