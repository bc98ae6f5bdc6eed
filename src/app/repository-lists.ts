/**
 * Lists of repositories that their reader may pull. The index yields candidates, and the policy engine decides about each of
 * them, until a page is full.
 */
import type { Authority } from '../auth/authority.ts';
import {
  common,
  type Judge,
  judgeOf,
  type Place,
  placeTest,
  pullPatterns,
  pullsSaid,
  reachOf,
  repositoriesNaming,
  type Said,
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
  /** The name of an organization or user. */
  namespace?: string | undefined;
  /** Part of the name or of the description. */
  search?: string | undefined;
}

/**
 * A page in byte order. It may be short, or empty, before the end: then it took too long to fill.
 * @returns next the cursor behind the page, encrypted if it is a name that the caller may not see; `null` at the end of the
 *   list
 */
interface ListPage<T> {
  items: T[];
  next: string | null;
}

/** For everybody, anonymous callers included. @throws parameter-invalid for a cursor of another list */
export async function listRepositories(
  call: Call,
  page: PageQuery,
  { namespace, search }: RepositoryFilter,
): Promise<ListPage<ListedRepository>> {
  const { items, next } = await visibleRepositories(call, page, {
    // Lowers ASCII letters only, like SQLite's lower(), which is applied to the other side.
    search: search?.replaceAll(/[A-Z]+/g, (text) => text.toLowerCase()) ?? '',
    namespace: namespace ? parseName(namespace) : undefined,
  });
  const visibility = new Map(items.map((item) => [item.name, item.isPublic ? ('public' as const) : ('private' as const)]));
  const summaries = await describeRepositories(
    call.env,
    items.map(({ name }) => name),
  );
  return { items: summaries.map((one) => ({ ...one, visibility: visibility.get(one.name) ?? 'private' })), next };
}

/** `_catalog`: names only. @throws unauthenticated; parameter-invalid for a cursor of another list */
export async function listCatalog(call: Call, page: PageQuery): Promise<ListPage<RepositoryName>> {
  requireLogin(call);
  const { items, next } = await visibleRepositories(call, page, { search: '', namespace: undefined });
  return { items: items.map(({ name }) => name), next };
}

/**
 * Limits of one request, for a caller to whom most candidates are denied: rounds, each of three statements (an invocation has
 * 50), and the candidates of the second round. Each further round takes twice as many, up to the maximum.
 */
const ROUNDS = 12;
const CANDIDATES = 1000;
const CANDIDATES_MAX = 4000;

/** Encrypted cursors are bound to this name. */
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
  // `0` is the character after the slash.
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

/** The first round is enough for most callers: it takes one candidate more than a page has. */
function sizeOf(round: number, limit: number): number {
  return round === 0 ? limit + 1 : Math.max(limit, Math.min(CANDIDATES * 2 ** (round - 1), CANDIDATES_MAX));
}

/** A filter for candidates, and the ranges of the index that can contain them. */
interface Search {
  text: string;
  reach: Place;
  /** The index finds these names by their prefixes. */
  hasPrefix: (name: string) => boolean;
  isWithin: (name: string) => boolean;
}

function searchFor(authority: Authority, { search, namespace }: Wanted): Search {
  const bounds = authority.bounds.map((statements) => reachOf(pullPatterns({ statements })));
  const limits = namespace === undefined ? bounds : [{ prefixes: [`${namespace}/`], names: [] }, ...bounds];
  const reach = limits.reduce(common, reachOf(pullPatterns(authority)));
  const tests = limits.map(placeTest);
  return {
    text: search,
    reach,
    hasPrefix: placeTest({ ...reach, names: [] }),
    isWithin: (name) => tests.every((test) => test(name)),
  };
}

interface Candidates {
  candidates: RepositoryName[];
  /** For each candidate, the rule about pulling in its own policy. */
  said: Map<string, Said>;
  /** The candidates are complete up to this name; `null`: there are no more. */
  horizon: string | null;
}

/** Candidates come from the caller's own policies, and from policies of repositories that name the caller. */
async function candidatesAfter(
  env: Call['env'],
  authority: Authority,
  { text, reach, hasPrefix, isWithin }: Search,
  page: PageQuery,
): Promise<Candidates> {
  const naming = await repositoriesNaming(env, authority, page);
  const own = nextOf(reach.names, page);
  const names = [...own.items, ...naming.filter((name) => !hasPrefix(name) && isWithin(name))];
  const { items, more } = await listCandidates(env, page, { prefixes: reach.prefixes, names, search: text });
  const ends = [naming.length < page.limit ? null : naming.at(-1), more ? items.at(-1) : null, own.cut];
  // The list that was cut off first decides how far all of them are complete.
  const horizon = ends.filter((end) => end != null).sort()[0] ?? null;
  const candidates = items.filter((name) => horizon === null || name <= horizon);
  const named = new Set(naming);
  const said = await pullsSaid(
    env,
    authority.principals,
    candidates.filter((name) => named.has(name)),
  );
  return { candidates, said, horizon };
}

/** The next names of a sorted list. `cut`: the last of them if there are more. */
function nextOf(names: readonly string[], { after, limit }: PageQuery): { items: string[]; cut: string | null } {
  const rest = names.filter((name) => name > after);
  const items = rest.slice(0, limit);
  return { items, cut: rest.length > limit ? (items.at(-1) ?? null) : null };
}

/**
 * Decides about each candidate by the caller's own statements and the repository's policy.
 * @returns stoppedAt the last candidate that was decided if the request has used up its comparisons; otherwise `null`
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
