/**
 * The three key ranges of the bucket whose objects are named by rows. Each has its prefix, the rows for a part of the range, and a
 * way to mark rows whose object is missing or damaged. Keys and rows have the same order, so the scrub compares both side by side.
 */
import type { Batch, Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import { DIGESTS_PREFIX, digestOfKey, endOfKeys, MANIFESTS_PREFIX, STREAMS_PREFIX } from '../../storage/keys.ts';
import { type Fault, markBlobs, markManifests } from '../faults.ts';

/** A row that names an object. */
export interface StoredRow {
  digest: Digest;
  size: number;
  object_key: string;
}

export interface KeyRange {
  prefix: string;
  kind: 'blob' | 'manifest';
  /**
   * Rows with keys after `after` and up to `end`, without those already known to be missing. If there are too many, the returned `end`
   * is smaller.
   */
  rows(env: Database, after: string, end: string): Promise<{ rows: StoredRow[]; end: string }>;
  /** Marks the content as absent, so that the next push uploads it again. */
  mark(batch: Batch, faults: Fault[]): void;
}

/** Rows that are read at once. */
const ROWS = 600;

interface BlobRow extends StoredRow {
  missing_since: number | null;
}

/** Blobs whose key begins with their digest. Rows of streamed blobs lie between them and are skipped. */
const digests: KeyRange = {
  prefix: DIGESTS_PREFIX,
  kind: 'blob',
  async rows(env, after, end) {
    const { results } = await prepare(
      env,
      `SELECT digest, size, object_key, missing_since FROM blobs
       WHERE digest >= :first AND digest <= :last ORDER BY digest LIMIT ${ROWS}`,
      { first: digestOfKey(after) ?? '', last: digestOfKey(end) ?? '~' },
    ).all<BlobRow>();
    const last = results.length === ROWS ? results.at(-1) : undefined;
    const reached = last && endOfKeys(last.digest) < end ? endOfKeys(last.digest) : end;
    const isInside = ({ object_key }: StoredRow) => object_key > after && object_key <= reached && object_key < STREAMS_PREFIX;
    return { rows: results.filter((row) => row.missing_since === null && isInside(row)), end: reached };
  },
  mark: markBlobs,
};

const streams: KeyRange = {
  prefix: STREAMS_PREFIX,
  kind: 'blob',
  async rows(env, after, end) {
    const { results } = await prepare(
      env,
      `SELECT digest, size, object_key, missing_since FROM blobs INDEXED BY blobs_streamed
       WHERE (object_key, digest) > (:after, '~') AND object_key <= :end
         AND object_key >= 'blobs/stream/' AND object_key < 'blobs/stream0'
       ORDER BY object_key LIMIT ${ROWS}`,
      { after, end },
    ).all<BlobRow>();
    return { rows: results.filter((row) => row.missing_since === null), end: reachedBy(results, end) };
  },
  mark: markBlobs,
};

const documents: KeyRange = {
  prefix: MANIFESTS_PREFIX,
  kind: 'manifest',
  async rows(env, after, end) {
    const stored = (table: string) => `SELECT * FROM (SELECT digest, size, object_key FROM ${table}
      WHERE object_key > :after AND object_key <= :end ORDER BY object_key LIMIT ${ROWS})`;
    const { results } = await prepare(
      env,
      `${stored('manifests')} UNION ALL ${stored('trashed_manifests')} ORDER BY object_key LIMIT ${ROWS}`,
      { after, end },
    ).all<StoredRow>();
    return { rows: results, end: reachedBy(results, end) };
  },
  mark: markManifests,
};

/** By the phase of the scrub. */
export const KEY_RANGES: Record<string, KeyRange> = { digests, streams, manifests: documents };

function reachedBy(rows: StoredRow[], end: string): string {
  return rows.length === ROWS ? (rows.at(-1)?.object_key ?? end) : end;
}
