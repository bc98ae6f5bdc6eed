/**
 * The three parts of the bucket that rows name: where their keys are, which rows belong to a stretch of them, and how a row is
 * marked whose object is not what it says. Keys and rows come in one order, so that both are gone through together.
 */
import type { Database } from '../../events/batch.ts';
import type { Digest } from '../../oci/digest.ts';
import { DIGESTS_PREFIX, digestOfKey, endOfKeys, MANIFESTS_PREFIX, STREAMS_PREFIX } from '../../storage/keys.ts';
import { type Fault, markBlobs, markManifests } from '../faults.ts';

export interface Row {
  digest: Digest;
  size: number;
  object_key: string;
}

export interface Shelf {
  prefix: string;
  what: 'blob' | 'manifest';
  /** Rows of keys after `after` and up to `end`. Where they are too many the answer's `end` is nearer. Not those known to be missing. */
  rows(env: Database, after: string, end: string): Promise<{ rows: Row[]; end: string }>;
  /** From then on they count as absent, so that the next push brings them again. The last statement answers those it changed. */
  mark(env: Database, faults: Fault[]): D1PreparedStatement[];
}

/** Rows that are read at once. */
const ROWS = 600;

/** By the digest, with which the key begins: rows of streamed blobs lie between them. */
const digests: Shelf = {
  prefix: DIGESTS_PREFIX,
  what: 'blob',
  async rows(env, after, end) {
    const { results } = await env.DB.prepare(
      `SELECT digest, size, object_key, missing_since FROM blobs WHERE digest >= ?1 AND digest <= ?2 ORDER BY digest LIMIT ${ROWS}`,
    )
      .bind(digestOfKey(after) ?? '', digestOfKey(end) ?? '~')
      .all<Row & { missing_since: number | null }>();
    const last = results.length === ROWS ? results.at(-1) : undefined;
    const nearer = last && endOfKeys(last.digest) < end ? endOfKeys(last.digest) : end;
    const between = ({ object_key }: Row) => object_key > after && object_key <= nearer && object_key < STREAMS_PREFIX;
    return { rows: results.filter((row) => row.missing_since === null && between(row)), end: nearer };
  },
  mark: markBlobs,
};

const streams: Shelf = {
  prefix: STREAMS_PREFIX,
  what: 'blob',
  async rows(env, after, end) {
    const { results } = await env.DB.prepare(
      `SELECT digest, size, object_key, missing_since FROM blobs INDEXED BY blobs_streamed
       WHERE (object_key, digest) > (?1, '~') AND object_key <= ?2 AND object_key >= 'blobs/stream/' AND object_key < 'blobs/stream0'
       ORDER BY object_key LIMIT ${ROWS}`,
    )
      .bind(after, end)
      .all<Row & { missing_since: number | null }>();
    return { rows: results.filter((row) => row.missing_since === null), end: endOf(results, end) };
  },
  mark: markBlobs,
};

const documents: Shelf = {
  prefix: MANIFESTS_PREFIX,
  what: 'manifest',
  async rows(env, after, end) {
    const stored = (table: string) => `SELECT * FROM (SELECT digest, size, object_key FROM ${table}
      WHERE object_key > ?1 AND object_key <= ?2 ORDER BY object_key LIMIT ${ROWS})`;
    const { results } = await env.DB.prepare(
      `${stored('manifests')} UNION ALL ${stored('trashed_manifests')} ORDER BY object_key LIMIT ${ROWS}`,
    )
      .bind(after, end)
      .all<Row>();
    return { rows: results, end: endOf(results, end) };
  },
  mark: markManifests,
};

export const SHELVES: Record<string, Shelf> = { digests, streams, manifests: documents };

function endOf(rows: Row[], end: string): string {
  return rows.length === ROWS ? (rows.at(-1)?.object_key ?? end) : end;
}
