/** The space that a limit leaves, and the refusal of content that does not fit: it says what takes the space and how to free some. */
import type { Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { repositoriesOf } from './counting.ts';

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
    const added = adds === null ? `there is room for ${sizeText(roomIn(limit))}` : `this would add ${sizeText(adds)}`;
    super('quota-exceeded', {
      message: `${namespace} may store ${sizeText(maxBytes)} and stores ${sizeText(bytes)}${inTrash}${unfinished}, ${added}: ${remedies(trashed, staged)}`,
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
         SELECT child FROM (SELECT x.child FROM trashed_references x WHERE x.repository_id IN (SELECT id FROM own) LIMIT ${REFERENCES_MAX})
         UNION SELECT child FROM (SELECT f.child FROM own CROSS JOIN manifest_references f ON f.repository_id = own.id
           WHERE own.trashed LIMIT ${REFERENCES_MAX}))
     SELECT coalesce((SELECT sum(b.size) FROM gone CROSS JOIN blobs b ON b.digest = gone.child WHERE NOT EXISTS (
         SELECT 1 FROM repository_blobs l WHERE l.digest = gone.child AND l.repository_id IN (SELECT id FROM own WHERE NOT trashed)
           AND (NOT EXISTS (SELECT 1 FROM trashed_references x WHERE x.child = l.digest AND x.repository_id = l.repository_id)
             OR EXISTS (SELECT 1 FROM manifest_references f WHERE f.repository_id = l.repository_id AND f.child = l.digest)))), 0)
       + coalesce((SELECT sum(m.size) FROM own CROSS JOIN trashed_manifests m ON m.repository_id = own.id), 0)
       + coalesce((SELECT sum(m.size) FROM own CROSS JOIN manifests m ON m.repository_id = own.id WHERE own.trashed), 0) AS bytes`,
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
