/**
 * The stored usage of namespaces. Each push adds the size of its content. The size of deleted content is subtracted at once in
 * a namespace with a limit; in other namespaces, it is subtracted when the garbage collector counts all namespaces.
 */
import type { Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import { type Page, pageOf } from '../../oci/page.ts';
import { COUNTED, reaches, repositoriesOf, WARN_PERCENT } from './counting.ts';
import { stagedOf } from './staged.ts';

export interface Usage {
  /** The namespace, for example `acme` for the repository `acme/api`. Empty for repositories whose name has no slash. */
  namespace: string;
  bytes: number;
  blobs: number;
  /** The number of bytes in unfinished uploads. */
  staged: number;
  /** The maximum number of bytes, or `null` for no limit. */
  maxBytes: number | null;
  warnPercent: number;
  /** The time of the last full count, in seconds since the epoch. 0 if there was none. Later pushes are included. */
  countedAt: number;
}

const STILL_WARNED = `(warned AND max_bytes IS NOT NULL AND ${reaches('excluded.bytes')})`;

/**
 * Counts all namespaces in one statement, so that no push can happen in between. Writes only the rows whose numbers differ, and
 * the row of the empty namespace, which stores the time of the count.
 */
export async function recountUsage(env: Database): Promise<void> {
  await prepare(
    env,
    `WITH own AS MATERIALIZED (${repositoriesOf('all')}),
       unfinished AS MATERIALIZED (${stagedOf('all')}),
       counted AS (${COUNTED} UNION ALL SELECT namespace, 0, 0 FROM (SELECT namespace FROM usage UNION SELECT namespace
         FROM unfinished)
         UNION ALL SELECT '', 0, 0)
     INSERT INTO usage (namespace, bytes, blobs, counted_at, staged)
     SELECT namespace, sum(bytes), sum(blobs), unixepoch(),
       coalesce((SELECT staged FROM unfinished u WHERE u.namespace = counted.namespace), 0) FROM counted GROUP BY namespace
     ON CONFLICT DO UPDATE SET bytes = excluded.bytes, blobs = excluded.blobs, counted_at = excluded.counted_at,
       staged = excluded.staged, warned = ${STILL_WARNED},
       leading = (SELECT id FROM uploads WHERE id = leading AND state = 'open')
     WHERE namespace = '' OR bytes <> excluded.bytes OR blobs <> excluded.blobs OR warned <> ${STILL_WARNED}
       OR staged <> excluded.staged`,
  ).run();
}

const COUNTED_AT = `coalesce((SELECT counted_at FROM usage WHERE namespace = ''), 0)`;
const USAGE = `namespace, bytes, blobs, staged, max_bytes AS maxBytes, warn_percent AS warnPercent,
  max(counted_at, ${COUNTED_AT}) AS countedAt`;

/** SQL query: the usage of `:namespace` and the version of its limit. It always yields one row. */
export const USAGE_OF_NAMESPACE = `SELECT ${USAGE}, version FROM usage WHERE namespace = :namespace
  UNION ALL SELECT :namespace, 0, 0, 0, NULL, ${WARN_PERCENT}, ${COUNTED_AT}, 1
    WHERE NOT EXISTS (SELECT 1 FROM usage WHERE namespace = :namespace)`;

/** The maximum number of namespaces that one request adds up. */
const NAMESPACES_MAX = 10_000;

export type TotalUsage = Pick<Usage, 'bytes' | 'blobs' | 'staged'>;

/** Returns the total of all namespaces, or `null` if there are too many to add up. */
export async function totalUsage(env: Pick<Database, 'DB'>): Promise<TotalUsage | null> {
  const total = await prepare(
    env,
    `SELECT coalesce(sum(bytes), 0) AS bytes, coalesce(sum(blobs), 0) AS blobs, coalesce(sum(staged), 0) AS staged,
       count(*) AS namespaces FROM (SELECT bytes, blobs, staged FROM usage LIMIT ${NAMESPACES_MAX + 1})`,
  ).first<TotalUsage & { namespaces: number }>();
  if (!total || total.namespaces > NAMESPACES_MAX) return null;
  const { namespaces: _, ...sums } = total;
  return sums;
}

/**
 * Returns a page of usage in bytewise order of the namespaces.
 * @param after the namespace after which the page begins. `null` for the first page, which begins with the empty namespace
 */
export async function listUsage(env: Database, after: string | null, limit: number): Promise<Page<Usage>> {
  const { results } = await prepare(
    env,
    `SELECT ${USAGE} FROM usage WHERE namespace >= :start ORDER BY namespace LIMIT :rows`,
    // The character \u0001 sorts before every character of a name.
    { start: after === null ? '' : `${after}\u0001`, rows: limit + 1 },
  ).all<Usage>();
  return pageOf(results, limit);
}
