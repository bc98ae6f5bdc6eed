/** Setting what an organization or a user may store. */
import { type Database, refuseUnless, tryBatch } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { changesIn, record } from '../../events/outbox.ts';
import { type FieldError, requireNoErrors } from '../../vocabulary/refusal.ts';
import { COUNTED, repositoriesOf, WARN_PERCENT } from './counting.ts';
import { stagedOf } from './staged.ts';

export interface Quota {
  /** `null`: no limit. */
  maxBytes: number | null;
  warnPercent: number;
  version: number;
}

/** SQL: what is wanted differs from the row, or from no limit, where there is none. */
const differs = (maxBytes: string, warnPercent: string) =>
  `(max_bytes IS NOT ${maxBytes} OR coalesce(warn_percent, ${WARN_PERCENT}) <> coalesce(${warnPercent}, warn_percent, ${WARN_PERCENT}))`;

const CHANGES = changesIn([
  ['maxBytes', 'max_bytes', '?4'],
  ['warnPercent', `coalesce(warn_percent, ${WARN_PERCENT})`, `coalesce(?5, warn_percent, ${WARN_PERCENT})`],
]);

function errorsIn({ maxBytes, warnPercent }: { maxBytes: number | null; warnPercent: number | null }): FieldError[] {
  const isBytes = maxBytes === null || (Number.isSafeInteger(maxBytes) && maxBytes >= 0);
  const isPercent = warnPercent === null || (Number.isInteger(warnPercent) && warnPercent >= 1 && warnPercent <= 100);
  return [
    ...(isBytes ? [] : [{ at: 'maxBytes', message: 'is a whole number from 0' }]),
    ...(isPercent ? [] : [{ at: 'warnPercent', message: 'is a whole number from 1 to 100' }]),
  ];
}

/**
 * Sets the limit and counts the namespace, so that from here on its pushes are counted from the right number. What is over a new
 * limit stays. `null` where it was refused: the version is another, or a guard did not hold.
 * @param quota.warnPercent `null`: as it is
 * @param ifVersion the version it is expected to have, `null` for any; 1 of a limit that was never set
 */
export async function setQuota(
  env: Database,
  { namespace, kind }: { namespace: string; kind: 'organization' | 'user' },
  quota: { maxBytes: number | null; warnPercent: number | null },
  { ifVersion, by, guard }: { ifVersion: number | null; by: Actor; guard: D1PreparedStatement[] },
): Promise<Quota | null> {
  const { maxBytes, warnPercent } = quota;
  requireNoErrors(errorsIn(quota));
  const set = await tryBatch(env, [
    ...guard,
    refuseUnless(env, `?2 IS NULL OR coalesce((SELECT version FROM usage WHERE namespace = ?1), 1) = ?2`, namespace, ifVersion),
    record(env, {
      about: kind === 'organization' ? `organization:${namespace}` : '',
      by,
      select: `SELECT 'quota.saved' AS type,
          json_patch(json_object('maxBytes', ?4, 'warnPercent', coalesce(?5, warn_percent, ${WARN_PERCENT})), ?6) AS target,
          ${CHANGES} AS changes
        FROM (SELECT 1) LEFT JOIN usage ON namespace = ?3 WHERE ${differs('?4', '?5')}`,
      parameters: [namespace, maxBytes, warnPercent, JSON.stringify(kind === 'user' ? { user: namespace } : {})],
      hasChanges: true,
    }),
    env.DB.prepare(
      `WITH own AS MATERIALIZED (${repositoriesOf('?1')}), counted AS (${COUNTED} UNION ALL SELECT ?1, 0, 0)
       INSERT INTO usage (namespace, bytes, blobs, counted_at, max_bytes, warn_percent, version, staged, kind)
       SELECT ?1, sum(bytes), sum(blobs), unixepoch(), ?2, coalesce(?3, ${WARN_PERCENT}), 2,
         coalesce((SELECT staged FROM (${stagedOf('?1')}) WHERE namespace = ?1), 0), ?4 FROM counted WHERE TRUE
       ON CONFLICT DO UPDATE SET bytes = excluded.bytes, blobs = excluded.blobs, counted_at = excluded.counted_at,
         staged = excluded.staged, leading = NULL, kind = excluded.kind,
         max_bytes = ?2, warn_percent = coalesce(?3, warn_percent), warned = iif(${differs('?2', '?3')}, 0, warned),
         version = version + ${differs('?2', '?3')}`,
    ).bind(namespace, maxBytes, warnPercent, kind),
    env.DB.prepare('SELECT max_bytes AS maxBytes, warn_percent AS warnPercent, version FROM usage WHERE namespace = ?1').bind(
      namespace,
    ),
  ]);
  return (set?.at(-1)?.results[0] as Quota | undefined) ?? null;
}
