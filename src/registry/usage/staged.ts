/**
 * Bytes of unfinished uploads. Batches that change the row of an upload count them for namespaces with a limit. Together they
 * must fit beside what is stored, with one exception: the upload that came first (`leading`) may fill all free space by itself,
 * so that of many concurrent uploads one always finishes. So stored and staged bytes together stay below twice the limit. The
 * refusal of content that does not fit says what takes the space and how to free some.
 */
import type { Batch, Database } from '../../events/batch.ts';
import { type Parameters, prepare } from '../../events/sql.ts';
import { type Particulars, Refusal } from '../../vocabulary/refusal.ts';
import { namespaceSql, repositoriesOf, within } from './counting.ts';

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
 * SQL on a row of `usage`: the staged bytes of other uploads, which leave less room for the upload `id`. 0 while that one
 * leads, or none does. @param id SQL; NULL for content that stages nothing. @param own SQL: the bytes that it has staged itself
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
     FROM (SELECT id, size, ${namespaceSql('repository')} AS namespace FROM uploads
       WHERE id = :id AND state = 'open' AND ${condition}) AS s
     WHERE usage.namespace = s.namespace AND s.namespace <> '' AND usage.max_bytes IS NOT NULL`,
    { ...parameters, id },
  );
}

/** SQL: the staged bytes of each namespace, or of `:namespace` alone. */
export const stagedOf = (scope: 'all' | 'namespace') => `SELECT ${namespaceSql('repository')} AS namespace, sum(size) AS staged
  FROM uploads WHERE state = 'open' AND ${within(scope, 'repository')} GROUP BY 1`;

export interface Limit {
  namespace: string;
  kind: 'organization' | 'user';
  /** Bytes that the namespace stores. */
  bytes: number;
  /** Bytes of other unfinished uploads. */
  staged: number;
  maxBytes: number;
}

export function fits(limit: Limit | null, size: number): boolean {
  return limit === null || limit.bytes + limit.staged + size <= limit.maxBytes;
}

/** Bytes that can still be added. */
export function roomIn({ bytes, staged, maxBytes }: Limit): number {
  return Math.max(0, maxBytes - bytes - staged);
}

/** @throws quota-exceeded */
export function requireRoom(limit: Limit | null, size: number): void {
  if (limit !== null && !fits(limit, size)) throw new OverLimit(limit, size);
}

/** A refusal for `quota-exceeded`. Everybody who may push to the namespace learns how much it stores. */
export class OverLimit extends Refusal {
  readonly limit: Limit;
  readonly adds: number | null;

  /** @param adds bytes; `null`: not known, but more than fits. @param trashed bytes that only the trash holds */
  constructor(limit: Limit, adds: number | null, trashed = 0) {
    const { namespace, kind, bytes, staged, maxBytes } = limit;
    const inTrash = trashed > 0 ? ` (${sizeText(trashed)} of it in the trash)` : '';
    const unfinished = staged > 0 ? ` and ${sizeText(staged)} in unfinished uploads` : '';
    const added = adds ? `this would add ${sizeText(adds)}` : `there is room for ${sizeText(roomIn(limit))}`;
    super('quota-exceeded', {
      message:
        `${namespace} may store ${sizeText(maxBytes)} and stores ${sizeText(bytes)}${inTrash}${unfinished}, ` +
        `${added}. Nothing was stored: ${remedies(trashed, staged)}`,
      detail: {
        [kind]: namespace,
        bytes,
        maxBytes,
        ...(adds === null ? {} : { adds }),
        ...(staged > 0 ? { staged } : {}),
        ...(trashed > 0 ? { trash: trashed } : {}),
      },
    });
    this.limit = limit;
    this.adds = adds;
  }
}

function remedies(trashed: number, staged: number): string {
  return [
    ...(trashed > 0 ? ['purge the trash (DELETE /api/v1/repositories/<name>/-/trash/..., or /api/v1/trash/<entry>)'] : []),
    ...(staged > 0 ? ['finish or cancel uploads, which otherwise end a day after their last chunk'] : []),
    'delete images or ask an administrator for more',
  ].join('; ');
}

/** Adds to a refusal for the limit how many bytes only the trash holds. Returns any other error as it is. */
export async function explained<E>(env: Pick<Database, 'DB'>, error: E): Promise<E> {
  if (!(error instanceof OverLimit)) return error;
  return new OverLimit(error.limit, error.adds, await trashedBytes(env, error.limit.namespace)) as E;
}

/** References that are read at most: otherwise refused pushes could use up the free plan's rows of a day. */
const REFERENCES_MAX = 1000;

/** Bytes that only the trash of a namespace holds. It is a lower bound if the trash has many references. */
async function trashedBytes(env: Pick<Database, 'DB'>, namespace: string): Promise<number> {
  const row = await prepare(
    env,
    `WITH own AS MATERIALIZED (${repositoriesOf('namespace')}),
       gone AS MATERIALIZED (
         SELECT child FROM (SELECT x.child FROM trashed_references x WHERE x.repository_id IN (SELECT id FROM own)
           LIMIT ${REFERENCES_MAX})
         UNION SELECT child FROM (SELECT f.child FROM own CROSS JOIN manifest_references f ON f.repository_id = own.id
           WHERE own.trashed LIMIT ${REFERENCES_MAX}))
     SELECT coalesce((SELECT sum(b.size) FROM gone CROSS JOIN blobs b ON b.digest = gone.child WHERE NOT EXISTS (
         SELECT 1 FROM repository_blobs l WHERE l.digest = gone.child AND l.repository_id IN (SELECT id FROM own
           WHERE NOT trashed)
           AND (NOT EXISTS (SELECT 1 FROM trashed_references x WHERE x.child = l.digest AND x.repository_id = l.repository_id)
             OR EXISTS (SELECT 1 FROM manifest_references f WHERE f.repository_id = l.repository_id
               AND f.child = l.digest)))), 0)
       + coalesce((SELECT sum(m.size) FROM own CROSS JOIN trashed_manifests m ON m.repository_id = own.id), 0)
       + coalesce((SELECT sum(m.size) FROM own CROSS JOIN manifests m ON m.repository_id = own.id WHERE own.trashed), 0)
         AS bytes`,
    { namespace },
  ).first<{ bytes: number }>();
  return row?.bytes ?? 0;
}

const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** Three digits, for people. The detail of the refusal has the exact number. */
function sizeText(bytes: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return `${Number((bytes / 1000 ** power).toPrecision(3))} ${UNITS[power]}`;
}
