/**
 * The usage of all namespaces. The collector counts every namespace; pushes update the count of namespaces that have a limit.
 */
import type { Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import { type Page, pageOf } from '../../oci/page.ts';
import { COUNTED, reaches, repositoriesOf } from './counting.ts';
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
  /** The time of the count, in seconds since the epoch. */
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

/**
 * Returns a page of usage in bytewise order of the namespaces.
 * @param after the namespace after which the page begins. `null` for the first page, which begins with the empty namespace
 */
export async function listUsage(env: Database, after: string | null, limit: number): Promise<Page<Usage>> {
  const { results } = await prepare(
    env,
    `SELECT namespace, bytes, blobs, staged, max_bytes AS maxBytes, warn_percent AS warnPercent,
       max(counted_at, coalesce((SELECT counted_at FROM usage WHERE namespace = ''), 0)) AS countedAt
     FROM usage WHERE namespace >= :start ORDER BY namespace LIMIT :rows`,
    // The character \u0001 sorts before every character of a name.
    { start: after === null ? '' : `${after}\u0001`, rows: limit + 1 },
  ).all<Usage>();
  return pageOf(results, limit);
}
