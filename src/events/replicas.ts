/**
 * Reads rows about a digest from the nearest read replica of D1 (setting `D1_REPLICAS`). A digest always names the same
 * content, so a replica that lags behind can be wrong in only two ways. It may lack content that was stored a moment ago; the
 * primary is then queried. It may still have content that was deleted a moment ago; so an answer counts only if the replica has
 * all changes up to some time within the last `BLOB_CACHE_SECONDS`. D1 itself sets no limit to the lag (D1 docs, "Replica lag
 * and consistency model").
 *
 * For this check, the isolate keeps bookmarks of the primary with their times. A replica whose bookmark is not smaller than
 * such a bookmark has all changes up to that time. Bookmarks compare as text (D1 docs, "Time Travel and backups").
 */
import { type Env, settings, type Vars } from '../env.ts';
import { perDatabase, report } from '../telemetry.ts';
import { type Parameters, prepare } from './sql.ts';

type Source = Pick<Env, 'DB'> & Vars;

export interface Found<Row> {
  /** `null` if the primary has no such row. */
  row: Row | null;
  /** The row is current as of this time or later, in milliseconds since the epoch. */
  asOf: number;
  fromReplica: boolean;
}

interface Mark {
  bookmark: string;
  /** The primary had this bookmark at this time or later, in milliseconds since the epoch. */
  at: number;
}

interface Memory {
  /** Bookmarks of the primary, the oldest first. */
  marks: Mark[];
  /** The number of deletions by this isolate up to now. */
  deletions: number;
}

const memoryOf = perDatabase((): Memory => ({ marks: [], deletions: 0 }));

/**
 * The approximate number of bookmarks that an isolate keeps, spread over the time for which they are valid. With the newest one
 * alone, a replica that is a second behind would rarely be current enough.
 */
const MARKS = 4;

/** Reads one row from the primary database. @param now the time of the request, in milliseconds since the epoch */
export async function firstFromPrimary<Row>(
  env: Source,
  sql: string,
  parameters: Parameters,
  now: number,
): Promise<Found<Row>> {
  if (!settings(env).d1Replicas) {
    return { row: await prepare(env, sql, parameters).first<Row>(), asOf: now, fromReplica: false };
  }
  const remember = beginMark(env, now);
  const session = env.DB.withSession('first-primary');
  const row = await prepare({ DB: session }, sql, parameters).first<Row>();
  remember(session.getBookmark());
  return { row, asOf: now, fromReplica: false };
}

/**
 * Reads one row about a digest. Uses the answer of the nearest replica if the replica is current enough, otherwise queries the
 * primary.
 * @param now the time of the request, in milliseconds since the epoch
 */
export async function firstFromNearest<Row>(
  env: Source,
  sql: string,
  parameters: Parameters,
  now: number,
): Promise<Found<Row>> {
  const near = settings(env).d1Replicas ? await firstFromReplica<Row>(env, sql, parameters, now) : null;
  return near ?? firstFromPrimary(env, sql, parameters, now);
}

/** Reads one row from the nearest replica. @returns `null` if the primary must be queried */
async function firstFromReplica<Row>(
  env: Source,
  sql: string,
  parameters: Parameters,
  now: number,
): Promise<Found<Row> | null> {
  if (marksOf(env, now).length === 0) return null;
  const remember = beginMark(env, now);
  const session = env.DB.withSession('first-unconstrained');
  const answer = await prepare({ DB: session }, sql, parameters)
    .all<Row>()
    // A replica can fail where the primary would not, for example because it lacks a table that a migration has just created.
    .catch((error: unknown) => report('replica.not-read', { error }));
  if (!answer) return null;
  const [row = null] = answer.results;
  const bookmark = session.getBookmark();
  if (answer.meta.served_by_primary === true) {
    remember(bookmark);
    return { row, asOf: now, fromReplica: false };
  }
  const mark = marksOf(env, now).findLast((known) => bookmark !== null && known.bookmark <= bookmark);
  return row === null || !mark ? null : { row, asOf: mark.at, fromReplica: true };
}

/**
 * Must be called after each deletion of content. From then on, the answer of a replica counts only if the replica has all
 * changes up to the present time.
 */
export function distrustReplicas(env: Pick<Env, 'DB'>): void {
  const memory = memoryOf(env);
  memory.deletions++;
  memory.marks = [];
}

/** Returns the bookmarks that are still valid, the oldest first. */
function marksOf(env: Source, now: number): Mark[] {
  const since = now - lifetimeOf(env);
  return memoryOf(env).marks.filter(({ at }) => at > since);
}

function lifetimeOf(env: Vars): number {
  return settings(env).blobCacheSeconds * 1000;
}

/**
 * Must be called before a query of the primary. Returns a function that stores the bookmark after the query, unless this
 * isolate deleted content in between.
 */
function beginMark(env: Source, now: number): (bookmark: string | null) => void {
  const memory = memoryOf(env);
  const { deletions } = memory;
  return (bookmark) => {
    const newest = memory.marks.at(-1)?.at ?? -Infinity;
    if (bookmark === null || memory.deletions !== deletions || now < newest + lifetimeOf(env) / MARKS) return;
    memory.marks = [...marksOf(env, now), { bookmark, at: now }];
  };
}
