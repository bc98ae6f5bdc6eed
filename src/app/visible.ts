/** Lists the repositories that the caller may pull: finds candidates by index and checks each, until a page is full. */
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
import type { Database } from '../events/batch.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Page, PageQuery } from '../oci/page.ts';
import { listRepositories } from '../registry/repositories/repositories.ts';
import type { Secrets } from '../secrets.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { openCursor, sealCursor } from './sealed-cursor.ts';

/**
 * Rounds in one request, and candidates of the second round; each later round takes twice as many, up to CHUNK_MAX. A round
 * takes three statements, of which an invocation has 50. All rounds are needed only if most candidates are denied by their own
 * policies.
 */
const ROUNDS = 12;
const CHUNK = 1000;
const CHUNK_MAX = 4000;

/** The name of the list for which cursors are encrypted. */
const LIST = 'repositories';

interface Filter {
  /** Only `acme/...`. */
  namespace?: string | undefined;
  /** Part of the name or of the description. */
  search?: string | undefined;
}

/** Ranges of names that a result must be in: the requested namespace, and what the credential is narrowed to. */
function limitsOf({ bounds }: Authority, { namespace }: Filter): Place[] {
  const narrowed = bounds.map((statements) => reachOf(pullPatterns({ statements })));
  return namespace === undefined ? narrowed : [{ prefixes: [`${namespace}/`], names: [] }, ...narrowed];
}

/** The name up to which a round is complete: the end of the list that was cut off first; `undefined`: none was cut off. */
function earliest(ends: (string | undefined)[]): string | undefined {
  return ends.filter((end) => end !== undefined).sort()[0];
}

/** A repository that the reader may pull, and whether everybody may. */
interface Visible {
  name: RepositoryName;
  isPublic: boolean;
}

interface Judged {
  visible: Visible[];
  /** The last repository that was checked, if one request may not compare more patterns; `undefined`: all were checked. */
  stoppedAt: string | undefined;
}

/**
 * Each by the caller's own statements and what its own policy says: the policies of the others are about none but themselves.
 */
function judged(judge: Judge, said: Map<string, Said>, names: RepositoryName[], from: string): Judged {
  const visible: Visible[] = [];
  for (const [n, name] of names.entries()) {
    const may = judge(name, said.get(name));
    if (may === null) return { visible, stoppedAt: names[n - 1] ?? from };
    if (may) visible.push({ name, isPublic: said.get(name)?.isPublic ?? false });
  }
  return { visible, stoppedAt: undefined };
}

/** The next names of a sorted list. `cut`: the last of them, if there are more. */
function nextOf(names: readonly string[], { after, limit }: PageQuery): { items: string[]; cut: string | undefined } {
  const rest = names.filter((name) => name > after);
  const items = rest.slice(0, limit);
  return { items, cut: rest.length > limit ? items.at(-1) : undefined };
}

interface VisiblePage extends Page<Visible> {
  /**
   * What the next page begins after: the last item, or a place that is sealed, as it may be that of what is hidden. `null`: the
   * end.
   */
  next: string | null;
}

/**
 * What the caller may pull, in bytewise order. A page may be short, or empty, where it took too long to fill, and says then
 * that there is more: what was looked at and is hidden is not named.
 * @throws parameter-invalid (400) where it is to begin at a place that is none of ours
 */
export async function visibleRepositories(
  { env, authority }: { env: Database & Secrets; authority: Authority },
  { after, limit }: PageQuery,
  filter: Filter = {},
): Promise<VisiblePage> {
  const place: string | null = await openCursor(env, LIST, after);
  if (place === null)
    throw new Refusal('parameter-invalid', { message: '`last` is not a valid cursor; start from the first page' });
  const limits = limitsOf(authority, filter);
  const within = limits.map(placeTest);
  const reach = limits.reduce(common, reachOf(pullPatterns(authority)));
  // The index finds these by prefix, so they are not looked up by name as well.
  const isBehindPrefix = placeTest({ ...reach, names: [] });
  const judge = judgeOf(authority, 'pull');
  // `0` is the character after the slash.
  const [start, end] = filter.namespace === undefined ? ['', undefined] : [`${filter.namespace}/`, `${filter.namespace}0`];
  const found: Visible[] = [];
  let from = place > start ? place : start;
  for (let round = 0; round < ROUNDS; round++) {
    const size = round === 0 ? limit + 1 : Math.max(limit, Math.min(CHUNK * 2 ** (round - 1), CHUNK_MAX));
    const page = { after: from, limit: size };
    const named = await repositoriesNaming(env, authority, page);
    const own = nextOf(reach.names, page);
    const names = [...own.items, ...named.filter((name) => !isBehindPrefix(name) && within.every((test) => test(name)))];
    const candidates = await listRepositories(env, page, { prefixes: reach.prefixes, names, search: filter.search ?? '' });
    const horizon = earliest([
      named.length < page.limit ? undefined : named.at(-1),
      candidates.more ? candidates.items.at(-1) : undefined,
      own.cut,
    ]);
    const known = candidates.items.filter((name) => horizon === undefined || name <= horizon);
    const naming = new Set(named);
    const said = await pullsSaid(
      env,
      authority.principals,
      known.filter((name) => naming.has(name)),
    );
    const { visible, stoppedAt } = judged(judge, said, known, from);
    found.push(...visible);
    if (found.length > limit) return { items: found.slice(0, limit), more: true, next: found[limit - 1]?.name ?? null };
    if (stoppedAt !== undefined) return { items: found, more: true, next: await sealCursor(env, LIST, stoppedAt) };
    if (horizon === undefined || (end !== undefined && horizon >= end)) return { items: found, more: false, next: null };
    from = horizon;
  }
  return { items: found, more: true, next: await sealCursor(env, LIST, from) };
}
