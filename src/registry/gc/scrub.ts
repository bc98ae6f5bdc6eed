/**
 * The scrub job compares the R2 objects in the bucket with the D1 rows that name them. R2 keys and rows are read in the same
 * order, page by page. Content counts as absent if its object is missing or has another size, another checksum or, with
 * `SCRUB=hash`, other bytes. An object that no row names is deleted once it is so old that no request can still write a row for
 * it. A slice lists the bucket only a few times, because listing is a paid R2 operation.
 */
import { settings } from '../../env.ts';
import { type Batch, type Database, newBatch } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import { algorithmOf, type Digest } from '../../oci/digest.ts';
import { DIGESTS_PREFIX, digestOfKey, endOfKeys, MANIFESTS_PREFIX, STREAMS_PREFIX } from '../../storage/keys.ts';
import { deleteObjects, hashObject, listObjects, type StoredObject, statObject } from '../../storage/objects.ts';
import { type Fault, markBlobs, markManifests } from '../faults.ts';
import { UPLOAD_LIFETIME } from '../uploads/sessions.ts';
import { type Cursor, messageOf, noteProblem, openPass, type Stores, savePass } from './passes.ts';
import { isNamed } from './tombstones.ts';

export interface ScrubReport {
  /** The number of objects without a fault that a row names. */
  objects: number;
  /** The number of objects whose bytes were read and hashed, and their total size in bytes. */
  hashed: number;
  bytes: number;
  missing: number;
  damaged: number;
  /** The number of objects that the scrub deleted because no row names them. */
  orphans: number;
  problems: string[];
}

const NOTHING_FOUND: ScrubReport = { objects: 0, hashed: 0, bytes: 0, missing: 0, damaged: 0, orphans: 0, problems: [] };

/** The maximum number of objects in a page, by the value of the setting `SCRUB`. Hashing takes one subrequest per object. */
const PAGE = { checksums: 500, hash: 25 };
/** The maximum number of suspects (objects that seem to be missing or damaged) that are checked again in a page. */
const SUSPECTS_MAX = 50;
/** The number of objects after which a slice ends. The last page of a key range is short, so a slice may have several pages. */
const SLICE = { checksums: 250, hash: 50 };
/** The number of hashed bytes after which a page reads no further object. A slice ends after twice as many bytes. */
const HASHED_MAX = 64 * 1024 * 1024;
/** The maximum number of seconds between a request's upload to R2 and its write of the row. */
const PUBLISHED_WITHIN = 60 * 60;
/**
 * A safety limit. If no row names most of the objects of a page, and they are more than this number, none of them is deleted.
 * Probably the binding of the bucket or of the database is wrong.
 */
const MOSTLY_ORPHANS_MAX = 10;
/** A string that sorts after every key of the bucket. */
const END = '~';

interface Scrubbed {
  ended: boolean;
  report: ScrubReport;
}

/** Runs one slice of the running pass, or starts a new pass. @param now milliseconds since the epoch */
export async function scrubSlice(env: Stores, now: number): Promise<Scrubbed> {
  const pass = await openPass<ScrubReport>(env, 'scrub', beginning(0) as Cursor, NOTHING_FOUND);
  const { report } = pass;
  const { scrub } = settings(env);
  const enough = { objects: checkedIn(report) + SLICE[scrub], bytes: report.bytes + 2 * HASHED_MAX };
  let cursor: Cursor | null = pass.cursor;
  let continues = true;
  while (cursor && continues) {
    cursor = await scrubStep(env, cursor, report, now);
    const isShort = cursor?.after[0] === '' || scrub === 'hash';
    continues = isShort && checkedIn(report) < enough.objects && report.bytes < enough.bytes;
    if (!(await savePass(env, pass, cursor))) break;
  }
  return { ended: cursor === null, report };
}

/** Returns the number of objects that were compared with their rows up to now. */
function checkedIn({ objects, missing, damaged }: ScrubReport): number {
  return objects + missing + damaged;
}

/** Scrubs one page of a key range. Returns the cursor of the next page, or the end of the pass after the last range. */
async function scrubStep(env: Stores, { phase, after }: Cursor, report: ScrubReport, now: number): Promise<Cursor | null> {
  const range = KEY_RANGES[phase];
  const end = range ? await scrubPage(env, range, String(after[0]), report, now) : END;
  return end === END ? beginning(Object.keys(KEY_RANGES).indexOf(phase) + 1) : { phase, after: [end] };
}

function beginning(at: number): Cursor | null {
  const phase = Object.keys(KEY_RANGES)[at];
  return phase === undefined ? null : { phase, after: [''] };
}

/**
 * Scrubs one page and returns the key of the last object that was compared. The rows are read after the objects are listed, so
 * a listed object that was published meanwhile has its row.
 */
async function scrubPage(env: Stores, range: KeyRange, after: string, report: ScrubReport, now: number): Promise<string> {
  const { objects, more } = await listObjects(env, range.prefix, after, PAGE[settings(env).scrub]);
  const listed = await range.rows(env, after, (more && objects.at(-1)?.key) || END);
  const suspects = suspectsOf(listed.rows, objects);
  const lastChecked = suspects[SUSPECTS_MAX - 1];
  let end = suspects.length > SUSPECTS_MAX && lastChecked ? lastChecked.object_key : listed.end;
  const { faults, sound } = await checkSuspects(
    env,
    listed.rows.filter(({ object_key }) => object_key <= end),
    suspects,
  );
  if (settings(env).scrub === 'hash') end = await hashAll(env, sound, faults, report, end);
  const within = <T extends { key: string }>(of: T[]) => of.filter(({ key }) => key <= end);
  report.objects += sound.filter(({ object_key: key }) => key <= end && !faults.some((fault) => fault.key === key)).length;
  await mark(env, range, within(faults), report);
  const named = new Set(listed.rows.map(({ object_key }) => object_key));
  const unnamed = within(objects).filter(({ key }) => !named.has(key));
  await deleteOrphans(env, unnamed, within(objects).length, report, now);
  return end;
}

/**
 * Compares an object with its row. Returns the fault, or `null`. R2 has no whole-object checksum after a multipart upload, so
 * only the size of such an object is compared.
 */
function faultOf({ digest, size, object_key: key }: StoredRow, object: StoredObject | null | undefined): Fault | null {
  if (!object) return { key, digest, reason: 'missing' };
  const differs =
    object.size !== size || (object.digest && algorithmOf(object.digest) === algorithmOf(digest) && object.digest !== digest);
  return differs ? { key, digest, reason: 'damaged' } : null;
}

/** Returns the rows whose object is not in the listing or differs from the row. */
function suspectsOf(rows: StoredRow[], objects: StoredObject[]): StoredRow[] {
  const byKey = new Map(objects.map((object) => [object.key, object]));
  return rows.filter((row) => faultOf(row, byKey.get(row.object_key)) !== null);
}

/** Reads the metadata of each suspect again, because an object that was stored after the listing is not in the listing. */
async function checkSuspects(
  env: Stores,
  rows: StoredRow[],
  suspects: StoredRow[],
): Promise<{ faults: Fault[]; sound: StoredRow[] }> {
  const faults: Fault[] = [];
  const suspected = new Set(suspects);
  for (const row of rows.filter((one) => suspected.has(one))) {
    const fault = faultOf(row, await statObject(env, row.object_key));
    if (fault) faults.push(fault);
  }
  const faulty = new Set(faults.map(({ key }) => key));
  return { faults, sound: rows.filter(({ object_key }) => !faulty.has(object_key)) };
}

/**
 * Reads and hashes objects until the page reaches `HASHED_MAX` bytes. An object that cannot be read is reported as a problem.
 * @returns the key of the last object that was hashed, or `end` if all were
 */
async function hashAll(env: Stores, rows: StoredRow[], faults: Fault[], report: ScrubReport, end: string): Promise<string> {
  let bytes = 0;
  for (const { digest, size, object_key: key } of rows) {
    try {
      const found = await hashObject(env, key, algorithmOf(digest));
      if (found !== digest) faults.push({ key, digest, reason: found ? 'damaged' : 'missing' });
      report.hashed += found ? 1 : 0;
      report.bytes += found ? size : 0;
    } catch (error) {
      noteProblem(report, `${key} could not be read: ${messageOf(error)}`);
    }
    bytes += size;
    if (bytes >= HASHED_MAX) return key;
  }
  return end;
}

async function mark(env: Stores, range: KeyRange, faults: Fault[], report: ScrubReport): Promise<void> {
  if (faults.length === 0) return;
  for (const { key, digest, reason } of faults) {
    report[reason] += 1;
    noteProblem(report, `${range.kind} ${digest}: the object ${key} is ${reason}`);
  }
  const batch = newBatch(env);
  range.mark(batch, faults);
  await batch.commit();
}

/**
 * Deletes objects that are old enough and that no row names. A request that stores an object by a single put writes its row
 * within `PUBLISHED_WITHIN`. A multipart upload can be finished until the upload expires, so its object is kept longer.
 * @param objects the number of objects on the page
 */
async function deleteOrphans(
  env: Stores,
  unnamed: StoredObject[],
  objects: number,
  report: ScrubReport,
  now: number,
): Promise<void> {
  const { graceSeconds } = settings(env);
  const keptFor = (key: string) =>
    Math.max(graceSeconds, key.startsWith(STREAMS_PREFIX) ? 2 * UPLOAD_LIFETIME : PUBLISHED_WITHIN);
  const old = unnamed.filter(({ key, uploadedAt }) => uploadedAt < now - keptFor(key) * 1000).map(({ key }) => key);
  if (old.length === 0) return;
  const { results } = await prepare(
    env,
    `SELECT k.value AS key FROM json_each(:keys) k WHERE NOT ${isNamed('k.value')}
       AND NOT EXISTS (SELECT 1 FROM tombstones WHERE object_key = k.value)
       AND k.value NOT IN (SELECT staged ->> '$.multipart.key' FROM uploads
         WHERE state = 'open' AND staged ->> '$.multipart.key' IS NOT NULL)`,
    { keys: old },
  ).all<{ key: string }>();
  const orphans = results.map(({ key }) => key);
  if (orphans.length > MOSTLY_ORPHANS_MAX && orphans.length > objects / 2) {
    const many = `no row names ${orphans.length} of ${objects} objects from ${orphans[0]} on`;
    return noteProblem(report, `${many}: nothing is deleted, because the database may not belong to this bucket`);
  }
  await deleteObjects(env, orphans);
  report.orphans += orphans.length;
}

/** A D1 row that names an R2 object. */
interface StoredRow {
  digest: Digest;
  size: number;
  object_key: string;
}

interface KeyRange {
  prefix: string;
  kind: 'blob' | 'manifest';
  /**
   * Reads the rows whose R2 keys are after `after` and up to `end`, without content that is already marked as missing. If there
   * are too many rows, the returned `end` is a smaller key.
   */
  rows(env: Database, after: string, end: string): Promise<{ rows: StoredRow[]; end: string }>;
  /** Adds statements to the batch that mark the content as missing, so that clients upload it again at the next push. */
  mark(batch: Batch, faults: Fault[]): void;
}

/** The maximum number of rows that one query of a key range reads. */
const ROWS = 600;

interface BlobRow extends StoredRow {
  missing_since: number | null;
}

/** The blobs whose R2 key begins with their digest. Other blobs that the query yields are skipped here. */
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

/** The key ranges of the bucket, by the name of the phase that scrubs the range. */
const KEY_RANGES: Record<string, KeyRange> = { digests, streams, manifests: documents };

function reachedBy(rows: StoredRow[], end: string): string {
  return rows.length === ROWS ? (rows.at(-1)?.object_key ?? end) : end;
}
