/**
 * Bytes of unfinished uploads. Batches that change the row of an upload count them for namespaces with a limit. Together they must
 * fit beside what is stored, with one exception: the upload that came first (`leading`) may fill all free space by itself, so that of
 * many concurrent uploads one always finishes. So stored and staged bytes together stay below twice the limit.
 */
import type { Batch } from '../../events/batch.ts';
import type { Parameters } from '../../events/sql.ts';
import type { Particulars } from '../../vocabulary/refusal.ts';
import { namespaceOf, within } from './counting.ts';

/** The growth of an upload by one chunk. */
interface Growth {
  namespace: string;
  /** The upload. */
  id: string;
  /** Bytes that it has staged so far. */
  before: number;
  /** Bytes that it will have staged. */
  after: number;
}

/**
 * SQL on a row of `usage`: the staged bytes of other uploads, which leave less room for the upload `id`. 0 while that one leads, or
 * none does. @param id SQL; NULL for content that stages nothing. @param own SQL: the bytes that it has staged itself
 */
export const othersStaged = (id: string, own: string, usage = '') =>
  `iif(coalesce(${usage}leading, ${id}) = ${id}, 0, max(0, ${usage}staged - ${own}))`;

/** Refuses the batch with `quota-exceeded` if the namespace has no room for the upload. */
export function requireRoomForStaged(
  batch: Batch,
  { namespace, id, before, after }: Growth,
  says: () => Promise<Particulars | null>,
): void {
  if (namespace === '' || after <= before) return;
  batch.require(
    'quota-exceeded',
    `NOT EXISTS (SELECT 1 FROM usage WHERE namespace = :namespace AND max_bytes IS NOT NULL
      AND bytes + :after + ${othersStaged(':id', ':before')} > max_bytes)`,
    { namespace, id, before, after },
    says,
  );
}

/** Adds the step that counts the growth. The batch requires that the upload is as it was read. */
export function countStaged(batch: Batch, { namespace, id, before, after }: Growth): void {
  if (namespace === '') return;
  batch.run(
    `UPDATE usage SET staged = staged + :growth, leading = coalesce(leading, :id)
     WHERE namespace = :namespace AND max_bytes IS NOT NULL`,
    { namespace, id, growth: after - before },
  );
}

/**
 * Adds the step that releases the bytes of an open upload, before its row changes.
 * @param condition SQL condition that the row must meet, in terms of `parameters`
 */
export function releaseStaged(batch: Batch, id: string, condition = 'TRUE', parameters: Parameters = {}): void {
  batch.run(
    `UPDATE usage SET staged = max(0, usage.staged - s.size), leading = iif(leading = s.id, NULL, leading)
     FROM (SELECT id, size, ${namespaceOf('repository')} AS namespace FROM uploads
       WHERE id = :id AND state = 'open' AND ${condition}) AS s
     WHERE usage.namespace = s.namespace AND s.namespace <> '' AND usage.max_bytes IS NOT NULL`,
    { ...parameters, id },
  );
}

/** SQL: the staged bytes of each namespace, or of `:namespace` alone. */
export const stagedOf = (scope: 'all' | 'namespace') => `SELECT ${namespaceOf('repository')} AS namespace, sum(size) AS staged
  FROM uploads WHERE state = 'open' AND ${within(scope, 'repository')} GROUP BY 1`;
