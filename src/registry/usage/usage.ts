/** What namespaces store, as it was last counted: by the collector for all of them, and by each push where there is a limit. */
import type { Database } from '../../events/batch.ts';
import { type Page, pageOf } from '../../oci/page.ts';
import { COUNTED, reaches, repositoriesOf } from './counting.ts';
import { stagedOf } from './staged.ts';

export interface Usage {
  /** `acme` of `acme/api`; empty for names without a slash. */
  namespace: string;
  bytes: number;
  blobs: number;
  /** Bytes of unfinished uploads. */
  staged: number;
  /** `null`: no limit. */
  maxBytes: number | null;
  warnPercent: number;
  /** Seconds since the epoch. */
  countedAt: number;
}

const STILL_WARNED = `(warned AND max_bytes IS NOT NULL AND ${reaches('excluded.bytes')})`;

/**
 * Counts everything anew, in one statement: no push falls between. Writes the rows that differ, and the one of the names without
 * a namespace, which says when it was.
 */
export async function recountUsage(env: Database): Promise<void> {
  await env.DB.prepare(
    `WITH own AS MATERIALIZED (${repositoriesOf('all')}),
       unfinished AS MATERIALIZED (${stagedOf('all')}),
       counted AS (${COUNTED} UNION ALL SELECT namespace, 0, 0 FROM (SELECT namespace FROM usage UNION SELECT namespace FROM unfinished)
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

/** By name, in bytewise order. @param after `null` for the first page, which begins with the empty name */
export async function listUsage(env: Database, after: string | null, limit: number): Promise<Page<Usage>> {
  const { results } = await env.DB.prepare(
    `SELECT namespace, bytes, blobs, staged, max_bytes AS maxBytes, warn_percent AS warnPercent,
       max(counted_at, coalesce((SELECT counted_at FROM usage WHERE namespace = ''), 0)) AS countedAt
     FROM usage WHERE namespace >= ?1 ORDER BY namespace LIMIT ?2`,
  )
    // Nothing that a name may hold is smaller than this character.
    .bind(after === null ? '' : `${after}\u0001`, limit + 1)
    .all<Usage>();
  return pageOf(results, limit);
}
