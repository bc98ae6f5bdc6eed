/**
 * Counts the bytes of unfinished uploads in namespaces with a storage limit. Each batch that changes the row of an upload
 * updates this count. Stored and staged bytes together must fit into the limit, with one exception: the first upload (column
 * `leading`) may use all free space, as if there were no other uploads. So at least one of many concurrent uploads can finish,
 * and stored and staged bytes together stay below twice the limit. A refusal says what takes the space and how to free some.
 */
import type { Batch, Database } from '../../events/batch.ts';
import { type Parameters, prepare } from '../../events/sql.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { type Particulars, Refusal } from '../../vocabulary/refusal.ts';
import { namespaceSql, repositoriesOf, within } from './counting.ts';

/** The growth of an upload by one chunk. */
interface Growth {
  namespace: string;
  /** The id of the upload. */
  id: string;
  /** The number of bytes that are staged before the chunk. */
  before: number;
  /** The number of bytes that are staged after the chunk. */
  after: number;
}

/**
 * Returns an SQL expression on a row of `usage`: the staged bytes of other uploads, which reduce the space for the upload `id`.
 * The value is 0 if the upload `id` is the leading one, or if there is no leading one.
 * @param id an SQL expression for the id of the upload. NULL for content without an upload, for which all staged bytes count
 * @param own an SQL expression for the bytes that the upload itself has staged
 */
export const othersStaged = (id: string, own: string, usage = '') =>
  `iif(coalesce(${usage}leading, ${id}) = ${id}, 0, max(0, ${usage}staged - ${own}))`;

/**
 * Adds a precondition to the batch: the namespace has space for the growth of the upload. Otherwise the batch fails with
 * `quota-exceeded`.
 */
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

/**
 * Adds a statement to the batch that counts the growth of an upload. The batch must also have a precondition that the upload's
 * row is unchanged since it was read.
 */
export function countStaged(batch: Batch, { namespace, id, before, after }: Growth): void {
  if (namespace === '') return;
  batch.run(
    `UPDATE usage SET staged = staged + :growth, leading = coalesce(leading, :id)
     WHERE namespace = :namespace AND max_bytes IS NOT NULL`,
    { namespace, id, growth: after - before },
  );
}

/**
 * Adds a statement to the batch that subtracts the bytes of an open upload. It must run before the statement that changes the
 * upload's row.
 * @param condition an SQL condition on the upload's row, which uses `parameters`
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

/** Returns an SQL query: the staged bytes of each namespace, or of `:namespace` alone. */
export const stagedOf = (scope: 'all' | 'namespace') => `SELECT ${namespaceSql('repository')} AS namespace, sum(size) AS staged
  FROM uploads WHERE state = 'open' AND ${within(scope, 'repository')} GROUP BY 1`;

export interface Limit {
  namespace: string;
  kind: 'organization' | 'user';
  /** The number of bytes that the namespace stores. */
  bytes: number;
  /** The number of bytes in other unfinished uploads. */
  staged: number;
  maxBytes: number;
}

export function fits(limit: Limit | null, size: number): boolean {
  return limit === null || limit.bytes + limit.staged + size <= limit.maxBytes;
}

/** Returns the number of bytes that can still be added. */
export function roomIn({ bytes, staged, maxBytes }: Limit): number {
  return Math.max(0, maxBytes - bytes - staged);
}

/** Checks that content of `size` bytes fits into the limit. @throws quota-exceeded */
export function requireRoom(limit: Limit | null, size: number): void {
  if (limit !== null && !fits(limit, size)) throw new OverLimit(limit, size);
}

interface Trash {
  bytes: number;
  repository: RepositoryName;
}

/**
 * The refusal `quota-exceeded`. Its message and detail show how much the namespace stores, also to users who may only push to
 * it.
 */
export class OverLimit extends Refusal {
  readonly limit: Limit;
  readonly adds: number | null;

  /**
   * @param adds the number of bytes to add, or `null` if the length is unknown but too large
   * @param trash the number of bytes that only the trash keeps, and the repository of the push
   */
  constructor(limit: Limit, adds: number | null, trash: Trash | null = null) {
    const { namespace, kind, bytes, staged, maxBytes } = limit;
    const trashed = trash?.bytes ?? 0;
    const inTrash = trashed > 0 ? ` (${sizeText(trashed)} of it in the trash)` : '';
    const unfinished = staged > 0 ? ` and ${sizeText(staged)} in unfinished uploads` : '';
    const added = adds ? `this would add ${sizeText(adds)}` : `there is room for ${sizeText(roomIn(limit))}`;
    super('quota-exceeded', {
      message:
        `${namespace} may store ${sizeText(maxBytes)} and stores ${sizeText(bytes)}${inTrash}${unfinished}, ` +
        `${added}. Nothing was stored: ${remedies(trash, staged)}`,
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

function remedies(trash: Trash | null, staged: number): string {
  return [
    ...(trash && trash.bytes > 0
      ? [`purge the trash (it is listed by GET /api/v1/repositories/${trash.repository}/-/trash and GET /api/v1/trash)`]
      : []),
    ...(staged > 0 ? ['finish or cancel uploads, which otherwise end a day after their last chunk'] : []),
    'delete images or ask an administrator for more',
  ].join('; ');
}

/** Adds the number of bytes that only the trash keeps to a refusal `quota-exceeded`. Returns any other error unchanged. */
export async function explained<E>(env: Pick<Database, 'DB'>, repository: RepositoryName, error: E): Promise<E> {
  if (!(error instanceof OverLimit)) return error;
  const bytes = await trashedBytes(env, error.limit.namespace);
  return new OverLimit(error.limit, error.adds, { bytes, repository }) as E;
}

/**
 * The maximum number of references to read. Without a maximum, refused pushes could use up the daily number of rows of the free
 * plan.
 */
const REFERENCES_MAX = 1000;

/**
 * Returns the number of bytes that only the trash of a namespace keeps. The result is a lower bound if the trash has many
 * references.
 */
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

/** Formats a number of bytes with three significant digits for a message. The detail of the refusal has the exact number. */
function sizeText(bytes: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return `${Number((bytes / 1000 ** power).toPrecision(3))} ${UNITS[power]}`;
}
