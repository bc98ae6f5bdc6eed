/**
 * Uploads of a blob: append, finish, cancel, expire. A row is a session that has received something; before that, and for
 * an upload that comes in one request, there is none: who holds its signed location holds a fresh upload.
 *
 * Bytes are written first, under keys of the request's own, and the row is changed after them by compare-and-swap on
 * `version` (invariant 5). Of two requests at once one wins; the other's bytes are discarded, and it is told where the
 * upload really stands. States: open -> committed (finished) or closed (cancelled, or its content was not what it claimed).
 */
import { type Env, settings, type Vars } from '../env.ts';
import type { Digest, DigestAlgorithm } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { ByteRange } from '../oci/range.ts';
import { blobKey, UPLOADS_PREFIX, uploadIdOf, uploadPrefix } from '../storage/keys.ts';
import { deleteObjects, listKeys, putVerified } from '../storage/objects.ts';
import { append, assemble, discard, NOTHING_STAGED, type Staged, stagedSize } from '../storage/staging.ts';
import type { Incoming } from '../storage/streams.ts';
import { type Background, refuseUnless, tryBatch } from './batch.ts';
import { publishBlob } from './blobs.ts';

type Stores = Pick<Env, 'DB' | 'BLOBS'> & Vars;

/** What a signed location says of itself. */
export interface Upload {
  id: string;
  repository: RepositoryName;
  /** What the client will digest with; a hint, so that the hash can be taken while the bytes come. */
  algorithm: DigestAlgorithm;
}

export interface Chunk {
  body: Incoming;
  /** The bytes it claims to be, `null` where it does not say. */
  range: ByteRange | null;
}

/** Seconds an upload lives after it last received something; a signed location lives as long. */
export const UPLOAD_LIFETIME = 24 * 60 * 60;

/** Begins with its time, so that ids, rows and keys of old uploads sort before those of new ones. `now` in milliseconds. */
export function newUploadId(now: number): string {
  return `${uploadIdAt(now)}${crypto.randomUUID().replaceAll('-', '')}`;
}

/** Sorts before every upload that began at `time` or later. */
export function uploadIdAt(time: number): string {
  return time.toString(36).padStart(9, '0');
}

interface Session {
  state: 'open' | 'committed' | 'closed';
  /** 0: there is no row yet. */
  version: number;
  staged: Staged;
  digest: string | null;
}

const FRESH: Session = { state: 'open', version: 0, staged: NOTHING_STAGED, digest: null };

async function load(env: Stores, { id }: Upload): Promise<Session> {
  const row = await env.DB.prepare(
    'SELECT state, version, staged, digest, expires_at <= unixepoch() AS expired FROM uploads WHERE id = ?1',
  )
    .bind(id)
    .first<{ state: Session['state']; version: number; staged: string; digest: string | null; expired: number }>();
  if (!row) return FRESH;
  if (row.expired) throw new RegistryError('BLOB_UPLOAD_UNKNOWN');
  return { ...row, staged: JSON.parse(row.staged) as Staged };
}

function open(session: Session): Staged {
  if (session.state !== 'open') throw new RegistryError('BLOB_UPLOAD_UNKNOWN');
  return session.staged;
}

/** end-13: bytes received so far. @throws BLOB_UPLOAD_UNKNOWN */
export async function uploadOffset(env: Stores, upload: Upload): Promise<number> {
  return stagedSize(open(await load(env, upload)));
}

/**
 * end-5. Returns the upload's new offset.
 * @throws BLOB_UPLOAD_UNKNOWN, BLOB_UPLOAD_INVALID (416, `detail.offset` says where to go on), SIZE_INVALID
 */
export async function appendToUpload(env: Stores, upload: Upload, chunk: Chunk, work: Background): Promise<number> {
  const session = await load(env, upload);
  const appended = await receive(env, upload, open(session), chunk);
  const { staged, written, superseded, interrupted } = appended;
  if (written !== NOTHING_STAGED) {
    if (!(await save(env, upload, session, staged))) {
      work.waitUntil(discard(env, written));
      throw outOfStep(await uploadOffset(env, upload));
    }
    work.waitUntil(discard(env, superseded));
  }
  if (interrupted) throw new RegistryError('UNAVAILABLE', { message: 'the connection broke', cause: interrupted });
  return stagedSize(staged);
}

/** Writes the chunk's bytes behind what is staged. The row does not know of them yet. */
async function receive(env: Stores, upload: Upload, staged: Staged, { body, range }: Chunk) {
  const offset = stagedSize(staged);
  if (range && range.offset !== offset) throw outOfStep(offset);
  if (range && body.length !== null && body.length !== range.length) throw lengthMismatch();
  const appended = await append(env, upload.id, staged, body, settings(env), upload.algorithm);
  if (range && !appended.interrupted && stagedSize(appended.staged) !== offset + range.length) {
    await discard(env, appended.written);
    throw lengthMismatch();
  }
  return appended;
}

function outOfStep(offset: number): RegistryError {
  return new RegistryError('BLOB_UPLOAD_INVALID', {
    message: `the upload stands at ${offset} bytes: go on from there`,
    detail: { offset },
  });
}

function lengthMismatch(): RegistryError {
  return new RegistryError('SIZE_INVALID', { message: 'Content-Range and the length of the body differ' });
}

/** Compare-and-swap: `false` where another request changed the upload since `session` was read. */
async function save(env: Stores, { id, repository }: Upload, session: Session, staged: Staged): Promise<boolean> {
  const saved = await env.DB.prepare(
    `INSERT INTO uploads (id, repository, state, version, size, staged, expires_at)
     SELECT ?1, ?2, 'open', ?3 + 1, ?4, ?5, unixepoch() + ${UPLOAD_LIFETIME}
     WHERE ?3 = 0 OR EXISTS (SELECT 1 FROM uploads WHERE id = ?1)
     ON CONFLICT (id) DO UPDATE SET version = ?3 + 1, size = ?4, staged = ?5, expires_at = excluded.expires_at
     WHERE version = ?3 AND state = 'open'
     RETURNING id`,
  )
    .bind(id, repository, session.version, stagedSize(staged), JSON.stringify(staged))
    .first();
  return saved !== null;
}

/**
 * end-6, and end-4b with an upload nobody has seen yet. Verifies, then publishes (invariant 1). Asked again for a digest
 * it has committed, it says yes again: the first answer may have been lost.
 * @throws DIGEST_INVALID and closes the upload; BLOB_UPLOAD_UNKNOWN, BLOB_UPLOAD_INVALID, SIZE_INVALID
 */
export async function finishUpload(env: Stores, upload: Upload, digest: Digest, chunk: Chunk, work: Background): Promise<void> {
  const session = await load(env, upload);
  if (session.state === 'committed' && session.digest === digest) return;
  const before = open(session);
  let staged: Staged = before;
  let loose: Staged = NOTHING_STAGED;
  let objectKey: string;
  let size: number;
  try {
    if (isWhole(env, session, chunk)) {
      size = chunk.body.length ?? 0;
      objectKey = await putWhole(env, digest, chunk);
    } else {
      const appended = await receive(env, upload, before, chunk);
      loose = appended.written;
      staged = appended.staged;
      if (appended.interrupted) throw new RegistryError('UNAVAILABLE', { cause: appended.interrupted });
      size = stagedSize(staged);
      objectKey = await assemble(env, staged, digest, settings(env));
    }
  } catch (error) {
    work.waitUntil(discard(env, loose));
    if (error instanceof RegistryError && error.code === 'DIGEST_INVALID') await close(env, upload, session);
    throw error;
  }
  if (await commit(env, upload, session, { digest, size, objectKey }, work)) {
    work.waitUntil(discard(env, { ...staged, multipart: null, pieces: [...before.pieces, ...loose.pieces] }));
    return;
  }
  await settle(env, upload, digest);
}

/** The direct lane: the whole blob in one request of known length, for an upload that has received nothing. */
function isWhole(env: Stores, session: Session, { body }: Chunk): boolean {
  if (session.version > 0) return false;
  return !body.stream || (body.length !== null && body.length <= settings(env).maxPutBytes);
}

async function putWhole(env: Stores, digest: Digest, { body, range }: Chunk): Promise<string> {
  if (range && range.offset !== 0) throw outOfStep(0);
  if (range && range.length !== (body.length ?? 0)) throw lengthMismatch();
  const objectKey = blobKey(digest);
  await putVerified(env, objectKey, body.stream ?? '', digest);
  return objectKey;
}

/** `false` where the upload is no longer as `session` knew it; then nothing was written. */
async function commit(
  env: Stores,
  { id, repository }: Upload,
  session: Session,
  blob: { digest: Digest; size: number; objectKey: string },
  work: Background,
): Promise<boolean> {
  const unchanged =
    session.version === 0
      ? 'NOT EXISTS (SELECT 1 FROM uploads WHERE id = ?1 AND ?2 = 0)'
      : `EXISTS (SELECT 1 FROM uploads WHERE id = ?1 AND version = ?2 AND state = 'open')`;
  const results = await tryBatch(env, [
    refuseUnless(env, unchanged, id, session.version),
    env.DB.prepare(
      `UPDATE uploads SET state = 'committed', version = version + 1, digest = ?2, expires_at = unixepoch() + ${UPLOAD_LIFETIME}
       WHERE id = ?1`,
    ).bind(id, blob.digest),
    ...publishBlob(env, repository, blob),
  ]);
  const kept = results?.at(-1)?.results[0] as { object_key: string } | undefined;
  if (kept?.object_key !== blob.objectKey) work.waitUntil(discardUnpublished(env, blob.objectKey, results === null));
  return results !== null;
}

/**
 * Bytes that no row names. After a refused commit the key of a multipart upload may be published by the request that won,
 * so only keys made for this request alone are deleted; what is left is the collector's.
 */
async function discardUnpublished(env: Stores, objectKey: string, refused: boolean): Promise<void> {
  if (refused && objectKey.startsWith('blobs/stream/')) return;
  await deleteObjects(env, [objectKey]);
}

/** Another request was faster: fine if it committed the same content. */
async function settle(env: Stores, upload: Upload, digest: Digest): Promise<void> {
  const session = await load(env, upload);
  if (session.state === 'committed' && session.digest === digest) return;
  throw outOfStep(stagedSize(open(session)));
}

/** end-14. @throws BLOB_UPLOAD_UNKNOWN */
export async function cancelUpload(env: Stores, upload: Upload, work: Background): Promise<void> {
  const session = await load(env, upload);
  open(session);
  if (await close(env, upload, session)) return work.waitUntil(discard(env, session.staged));
  throw outOfStep(await uploadOffset(env, upload));
}

/** Ends the upload for good; `false` where it has changed meanwhile. Its multipart object, if complete, goes to the collector. */
async function close(env: Stores, { id, repository }: Upload, session: Session): Promise<boolean> {
  const streamed = session.staged.multipart?.key ?? null;
  const [closed] = await env.DB.batch([
    env.DB.prepare(
      `INSERT INTO uploads (id, repository, state, version, size, staged, expires_at)
       SELECT ?1, ?2, 'closed', 1, 0, ?4, unixepoch() + ${UPLOAD_LIFETIME}
       WHERE ?3 = 0 OR EXISTS (SELECT 1 FROM uploads WHERE id = ?1)
       ON CONFLICT (id) DO UPDATE SET state = 'closed', version = version + 1 WHERE version = ?3 AND state = 'open'
       RETURNING id`,
    ).bind(id, repository, session.version, JSON.stringify(NOTHING_STAGED)),
    env.DB.prepare(
      `INSERT INTO tombstones (object_key, made_at) SELECT ?2, unixepoch()
       WHERE ?2 IS NOT NULL AND EXISTS (SELECT 1 FROM uploads WHERE id = ?1 AND state = 'closed') ON CONFLICT DO NOTHING`,
    ).bind(id, streamed),
  ]);
  return (closed?.results.length ?? 0) > 0;
}

/**
 * Uploads whose time is up: their bytes go, then their rows. Returns how many; called again while there are any.
 * @param before ids of uploads begun later than this cannot have expired, and are not looked at
 */
export async function expireUploads(env: Stores, before: string, limit: number): Promise<number> {
  const { results } = await env.DB.prepare(
    'SELECT id, state, staged FROM uploads WHERE id < ?1 AND expires_at <= unixepoch() LIMIT ?2',
  )
    .bind(before, limit)
    .all<{ id: string; state: Session['state']; staged: string }>();
  for (const { id, state, staged } of results) {
    if (state === 'open') await discard(env, JSON.parse(staged) as Staged);
    await deleteObjects(env, await listKeys(env, uploadPrefix(id)));
    await env.DB.prepare('DELETE FROM uploads WHERE id = ?1 AND expires_at <= unixepoch()').bind(id).run();
  }
  return results.length;
}

/**
 * Pieces that no row knows of, left by a request that died before its row was written. Looks at one page of old uploads
 * after `startAfter`; returns the key to go on from, `null` at the end.
 * @param before ids of uploads begun later than this are left alone
 */
export async function sweepPieces(env: Stores, before: string, startAfter: string | undefined): Promise<string | null> {
  const keys = (await listKeys(env, UPLOADS_PREFIX, startAfter)).filter((key) => uploadIdOf(key) < before);
  if (keys.length === 0) return null;
  const ids = [...new Set(keys.map(uploadIdOf))];
  const known = await env.DB.prepare('SELECT id FROM uploads WHERE id IN (SELECT value FROM json_each(?1))')
    .bind(JSON.stringify(ids))
    .all<{ id: string }>();
  const alive = new Set(known.results.map((row) => row.id));
  await deleteObjects(
    env,
    keys.filter((key) => !alive.has(uploadIdOf(key))),
  );
  return keys.at(-1) ?? null;
}
