/** Sets the storage limit of an organization or a user. */
import type { Batch, Handle } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { changesIn, recordEvent } from '../../events/outbox.ts';
import { type FieldError, requireNoErrors } from '../../vocabulary/refusal.ts';
import { COUNTED, repositoriesOf, WARN_PERCENT } from './counting.ts';
import { stagedOf } from './staged.ts';

export interface Quota {
  /** The maximum number of bytes, or `null` for no limit. */
  maxBytes: number | null;
  warnPercent: number;
  version: number;
}

/** SQL condition on a row of `usage`, or on NULLs if there is no row: the new limit differs from the present one. */
const DIFFERS = `(max_bytes IS NOT :maxBytes
  OR coalesce(warn_percent, ${WARN_PERCENT}) <> coalesce(:warnPercent, warn_percent, ${WARN_PERCENT}))`;

const CHANGES = changesIn([
  ['maxBytes', 'max_bytes', ':maxBytes'],
  ['warnPercent', `coalesce(warn_percent, ${WARN_PERCENT})`, `coalesce(:warnPercent, warn_percent, ${WARN_PERCENT})`],
]);

function errorsIn({ maxBytes, warnPercent }: { maxBytes: number | null; warnPercent: number | null }): FieldError[] {
  const isBytes = maxBytes === null || (Number.isSafeInteger(maxBytes) && maxBytes >= 0);
  const isPercent = warnPercent === null || (Number.isInteger(warnPercent) && warnPercent >= 1 && warnPercent <= 100);
  return [
    ...(isBytes ? [] : [{ at: 'maxBytes', message: 'must be a whole number from 0' }]),
    ...(isPercent ? [] : [{ at: 'warnPercent', message: 'must be a whole number from 1 to 100' }]),
  ];
}

/**
 * Adds statements to the batch that set the storage limit of a namespace and count what it stores, so that later pushes start
 * from the right number. If the stored content exceeds the new limit, it is kept. The batch fails with `version-mismatch` if
 * the limit has another version.
 * @param quota.warnPercent the warning threshold in percent, or `null` to keep the present one
 * @param ifVersion the version that the limit must have, or `null` for any version. A limit that was never set has version 1
 * @returns a handle of the new limit
 * @throws request-invalid
 */
export function setQuota(
  batch: Batch,
  { namespace, kind }: { namespace: string; kind: 'organization' | 'user' },
  { maxBytes, warnPercent }: { maxBytes: number | null; warnPercent: number | null },
  { ifVersion, by }: { ifVersion: number | null; by: Actor },
): Handle<Quota> {
  requireNoErrors(errorsIn({ maxBytes, warnPercent }));
  const parameters = { namespace, kind, maxBytes, warnPercent };
  if (ifVersion !== null) {
    const version = 'coalesce((SELECT version FROM usage WHERE namespace = :namespace), 1)';
    batch.require('version-mismatch', `${version} = :ifVersion`, { namespace, ifVersion });
  }
  recordEvent(batch, {
    about: kind === 'organization' ? `organization:${namespace}` : '',
    by,
    select: `SELECT 'quota.saved' AS type, json_patch(
          json_object('maxBytes', :maxBytes, 'warnPercent', coalesce(:warnPercent, warn_percent, ${WARN_PERCENT})),
          iif(:kind = 'user', json_object('user', :namespace), '{}')) AS target,
        ${CHANGES} AS changes
      FROM (SELECT 1) LEFT JOIN usage ON namespace = :namespace WHERE ${DIFFERS}`,
    parameters,
    hasChanges: true,
  });
  batch.run(
    `WITH own AS MATERIALIZED (${repositoriesOf('namespace')}), counted AS (${COUNTED} UNION ALL SELECT :namespace, 0, 0)
     INSERT INTO usage (namespace, bytes, blobs, counted_at, max_bytes, warn_percent, version, staged, kind)
     SELECT :namespace, sum(bytes), sum(blobs), unixepoch(), :maxBytes, coalesce(:warnPercent, ${WARN_PERCENT}), 2,
       coalesce((SELECT staged FROM (${stagedOf('namespace')}) WHERE namespace = :namespace), 0), :kind FROM counted WHERE TRUE
     ON CONFLICT DO UPDATE SET bytes = excluded.bytes, blobs = excluded.blobs, counted_at = excluded.counted_at,
       staged = excluded.staged, leading = NULL, kind = excluded.kind,
       max_bytes = :maxBytes, warn_percent = coalesce(:warnPercent, warn_percent), warned = iif(${DIFFERS}, 0, warned),
       version = version + ${DIFFERS}`,
    parameters,
  );
  return batch.query<Quota>(
    'SELECT max_bytes AS maxBytes, warn_percent AS warnPercent, version FROM usage WHERE namespace = :namespace',
    { namespace },
  );
}
