/**
 * The scrub: goes through the bucket and the rows that name its objects, side by side. What a row says and R2 does not have, or
 * has with another size, checksum or (`SCRUB=hash`) content, counts as absent from then on; what R2 has and nothing names is
 * deleted once no request can be about to name it. A slice is one page of a listing, which is a paid operation.
 */
import { settings } from '../../env.ts';
import { tryBatch } from '../../events/batch.ts';
import { algorithmOf } from '../../oci/digest.ts';
import { STREAMS_PREFIX } from '../../storage/keys.ts';
import { deleteObjects, hashObject, listObjects, type StoredObject, statObject } from '../../storage/objects.ts';
import type { Fault } from '../faults.ts';
import { UPLOAD_LIFETIME } from '../uploads/sessions.ts';
import { type Cursor, messageOf, noteProblem, openPass, savePass } from './passes.ts';
import { type Row, SHELVES, type Shelf } from './shelves.ts';
import type { Stores } from './slice.ts';
import { isNamed } from './tombstones.ts';

export interface ScrubReport {
  /** Objects that rows name, and were found. */
  objects: number;
  /** Of these, those whose content was read and hashed, and their bytes. */
  hashed: number;
  bytes: number;
  missing: number;
  damaged: number;
  /** Objects that nothing named, which were deleted. */
  orphans: number;
  problems: string[];
}

const NOTHING_FOUND: ScrubReport = { objects: 0, hashed: 0, bytes: 0, missing: 0, damaged: 0, orphans: 0, problems: [] };

/** Objects of a slice: comparing them takes CPU, of which the free plan gives 10 ms; reading them takes a subrequest each. */
const PAGE = { checksums: 500, hash: 25 };
/** Objects that are asked for one by one, as they seem to be gone. */
const SUSPECTS_MAX = 50;
/** Objects of a slice, which in the end is several pages. */
const SLICE = { checksums: 250, hash: 50 };
/** Bytes after which a page hashes no further object, and a slice no further page. */
const HASHED_MAX = 64 * 1024 * 1024;
/** Seconds for which a request that has put an object may still be about to name it. */
const PUBLISHED_WITHIN = 60 * 60;
/** Orphans of a slice that are believed, though they are more than half of what there is. A binding is soon mistaken. */
const BELIEVED_MAX = 10;
/** Sorts after every key of the bucket. */
const END = '~';

export interface Scrubbed {
  ended: boolean;
  report: ScrubReport;
}

/** One slice, of several shelves where there is little on them. Begins a pass where none is under way. @param now in milliseconds */
export async function scrubSlice(env: Stores, now: number): Promise<Scrubbed> {
  const pass = await openPass<ScrubReport>(env, 'scrub', beginning(0) as Cursor, NOTHING_FOUND);
  const { report } = pass;
  const { scrub } = settings(env);
  const enough = { objects: report.objects + SLICE[scrub], bytes: report.bytes + 2 * HASHED_MAX };
  let cursor: Cursor | null = pass.cursor;
  let goesOn = true;
  while (cursor && goesOn) {
    cursor = await scrubStep(env, cursor, report, now);
    const isShort = cursor?.after[0] === '' || scrub === 'hash';
    goesOn = isShort && report.objects < enough.objects && report.bytes < enough.bytes;
    if (!(await savePass(env, pass, cursor))) break;
  }
  return { ended: cursor === null, report };
}

/** A page of one shelf; where it ends, the next one begins. */
async function scrubStep(env: Stores, { phase, after }: Cursor, report: ScrubReport, now: number): Promise<Cursor | null> {
  const shelf = SHELVES[phase];
  const end = shelf ? await scrubShelf(env, shelf, String(after[0]), report, now) : END;
  return end === END ? beginning(Object.keys(SHELVES).indexOf(phase) + 1) : { phase, after: [end] };
}

function beginning(at: number): Cursor | null {
  const phase = Object.keys(SHELVES)[at];
  return phase === undefined ? null : { phase, after: [''] };
}

/** Returns up to where it came. Rows are read after the listing: what was published meanwhile is named by one. */
async function scrubShelf(env: Stores, shelf: Shelf, after: string, report: ScrubReport, now: number): Promise<string> {
  const { objects, more } = await listObjects(env, shelf.prefix, after, PAGE[settings(env).scrub]);
  const listed = await shelf.rows(env, after, (more && objects.at(-1)?.key) || END);
  const suspects = suspectsOf(listed.rows, objects);
  const behind = suspects[SUSPECTS_MAX - 1];
  let end = suspects.length > SUSPECTS_MAX && behind ? behind.object_key : listed.end;
  const { faults, sound } = await judge(
    env,
    listed.rows.filter(({ object_key }) => object_key <= end),
    suspects,
  );
  if (settings(env).scrub === 'hash') end = await hashAll(env, sound, faults, report, end);
  const within = <T extends { key: string }>(of: T[]) => of.filter(({ key }) => key <= end);
  report.objects += sound.filter(({ object_key }) => object_key <= end).length;
  await mark(env, shelf, within(faults), report);
  const named = new Set(listed.rows.map(({ object_key }) => object_key));
  const unnamed = within(objects).filter(({ key }) => !named.has(key));
  await deleteOrphans(env, unnamed, within(objects).length, report, now);
  return end;
}

/** Whether R2 has it as the row says. What R2 does not say, as the checksum of one that was put in parts, is no evidence. */
function faultOf({ digest, size, object_key: key }: Row, object: StoredObject | null | undefined): Fault | null {
  if (!object) return { key, digest, reason: 'missing' };
  const differs =
    object.size !== size || (object.digest && algorithmOf(object.digest) === algorithmOf(digest) && object.digest !== digest);
  return differs ? { key, digest, reason: 'damaged' } : null;
}

/** In the order of their keys. */
function suspectsOf(rows: Row[], objects: StoredObject[]): Row[] {
  const byKey = new Map(objects.map((object) => [object.key, object]));
  return rows.filter((row) => faultOf(row, byKey.get(row.object_key)) !== null);
}

/** A row that came after the listing has an object that is not in it: each suspect is asked for once more. */
async function judge(env: Stores, rows: Row[], suspects: Row[]): Promise<{ faults: Fault[]; sound: Row[] }> {
  const faults: Fault[] = [];
  const suspected = new Set(suspects);
  for (const row of rows.filter((one) => suspected.has(one))) {
    const fault = faultOf(row, await statObject(env, row.object_key));
    if (fault) faults.push(fault);
  }
  const faulty = new Set(faults.map(({ key }) => key));
  return { faults, sound: rows.filter(({ object_key }) => !faulty.has(object_key)) };
}

/** Reads and hashes one after the other, as far as a slice goes; returns how far that was. What cannot be read is not judged. */
async function hashAll(env: Stores, rows: Row[], faults: Fault[], report: ScrubReport, end: string): Promise<string> {
  let bytes = 0;
  for (const { digest, size, object_key: key } of rows) {
    try {
      const found = await hashObject(env, key, algorithmOf(digest));
      if (found !== digest) faults.push({ key, digest, reason: found ? 'damaged' : 'missing' });
    } catch (error) {
      noteProblem(report, `${key} could not be read: ${messageOf(error)}`);
    }
    report.hashed += 1;
    report.bytes += size;
    bytes += size;
    if (bytes >= HASHED_MAX) return key;
  }
  return end;
}

async function mark(env: Stores, shelf: Shelf, faults: Fault[], report: ScrubReport): Promise<void> {
  if (faults.length === 0) return;
  for (const { key, digest, reason } of faults) {
    report[reason] += 1;
    noteProblem(report, `${shelf.what} ${digest}: the object ${key} is ${reason}`);
  }
  await tryBatch(env, shelf.mark(env, faults));
}

/**
 * What is put without parts is named within the request that put it; an upload in parts may be finished again for as long as it lives.
 * @param objects how many there are in all
 */
async function deleteOrphans(
  env: Stores,
  unnamed: StoredObject[],
  objects: number,
  report: ScrubReport,
  now: number,
): Promise<void> {
  const { graceSeconds } = settings(env);
  const kept = (key: string) => Math.max(graceSeconds, key.startsWith(STREAMS_PREFIX) ? 2 * UPLOAD_LIFETIME : PUBLISHED_WITHIN);
  const old = unnamed.filter(({ key, uploadedAt }) => uploadedAt < now - kept(key) * 1000).map(({ key }) => key);
  if (old.length === 0) return;
  const { results } = await env.DB.prepare(
    `SELECT k.value AS key FROM json_each(?1) k WHERE NOT ${isNamed('k.value')}
       AND NOT EXISTS (SELECT 1 FROM tombstones WHERE object_key = k.value)
       AND k.value NOT IN (SELECT staged ->> '$.multipart.key' FROM uploads
         WHERE state = 'open' AND staged ->> '$.multipart.key' IS NOT NULL)`,
  )
    .bind(JSON.stringify(old))
    .all<{ key: string }>();
  const orphans = results.map(({ key }) => key);
  if (orphans.length > BELIEVED_MAX && orphans.length > objects / 2) {
    const many = `nothing names ${orphans.length} of ${objects} objects from ${orphans[0]} on`;
    return noteProblem(report, `${many}: they stay, as this may be another database than theirs`);
  }
  await deleteObjects(env, orphans);
  report.orphans += orphans.length;
}
