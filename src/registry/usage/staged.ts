/**
 * Bytes of unfinished uploads, as limited namespaces count them: by the batches that change the row of an upload. The sum of all of
 * them fits beside what is stored; but the upload that came first may fill the whole room by itself (`leading`), so that of many
 * at once one always comes to its end. So published and staged bytes together stay below twice the limit.
 */
import { type Database, refuseUnless } from '../../events/batch.ts';
import { isIn, namespaceOf } from './counting.ts';

export interface Growth {
  namespace: string;
  /** Of the upload. */
  id: string;
  /** Its bytes so far, and those that it is about to have. */
  before: number;
  after: number;
}

/**
 * SQL of a row of `usage`: the staged bytes that leave less room for the upload `id`, which has staged `own` by itself. None while it
 * leads, or nobody does. `id` is NULL for what stages nothing.
 */
export const othersStaged = (id: string, own: string, usage = '') =>
  `iif(coalesce(${usage}leading, ${id}) = ${id}, 0, max(0, ${usage}staged - ${own}))`;

/** Refuses the batch where the upload would not fit. */
export function guardStaged(env: Database, { namespace, id, before, after }: Growth): D1PreparedStatement[] {
  if (namespace === '' || after <= before) return [];
  return [
    refuseUnless(
      env,
      `NOT EXISTS (SELECT 1 FROM usage WHERE namespace = ?1 AND max_bytes IS NOT NULL
        AND bytes + ?4 + ${othersStaged('?2', '?3')} > max_bytes)`,
      namespace,
      id,
      before,
      after,
    ),
  ];
}

/** For the batch that has saved the upload. @param staged where its bytes are, by which its row is known as the one of this batch */
export function countStaged(env: Database, { namespace, id, before, after }: Growth, staged: string): D1PreparedStatement[] {
  if (namespace === '') return [];
  return [
    env.DB.prepare(
      `UPDATE usage SET staged = staged + ?3, leading = coalesce(leading, ?2) WHERE namespace = ?1 AND max_bytes IS NOT NULL
         AND EXISTS (SELECT 1 FROM uploads WHERE id = ?2 AND staged = ?4)`,
    ).bind(namespace, id, after - before, staged),
  ];
}

/** For the batch that ends an open upload, before its row changes. @param condition SQL that it meets, with parameters from ?2 on */
export function releaseStaged(env: Database, id: string, condition = 'TRUE', ...parameters: unknown[]): D1PreparedStatement {
  return env.DB.prepare(
    `UPDATE usage SET staged = max(0, usage.staged - s.size), leading = iif(leading = s.id, NULL, leading)
     FROM (SELECT id, size, ${namespaceOf('repository')} AS namespace FROM uploads
       WHERE id = ?1 AND state = 'open' AND ${condition}) AS s
     WHERE usage.namespace = s.namespace AND s.namespace <> '' AND usage.max_bytes IS NOT NULL`,
  ).bind(id, ...parameters);
}

/** SQL: what namespaces have staged; of all, or of ?1. */
export const stagedOf = (namespaces: 'all' | '?1') => `SELECT ${namespaceOf('repository')} AS namespace, sum(size) AS staged
  FROM uploads WHERE state = 'open' ${namespaces === 'all' ? '' : `AND ${isIn('repository', '?1')}`} GROUP BY 1`;
