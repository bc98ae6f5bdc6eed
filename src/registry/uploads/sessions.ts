/**
 * Reads and writes the rows of uploads (table `uploads`). An upload has a row once it has received bytes. Its state is `open`,
 * then `committed` (finished) or `closed` (cancelled, or refused for good). `version` grows with each change, and each change
 * requires the version that the request has read (compare-and-swap, invariant 5). No request can change an expired upload, so
 * the scheduled job can delete its bytes safely. The job also deletes staged pieces of uploads that have no row.
 */
import type { Env, Vars } from '../../env.ts';
import { type Batch, newBatch, type Results } from '../../events/batch.ts';
import { organizationAbout } from '../../events/event.ts';
import { type Parameters, prepare } from '../../events/sql.ts';
import type { Digest, DigestAlgorithm } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { UPLOADS_PREFIX, uploadIdOf, uploadPrefix } from '../../storage/keys.ts';
import { deleteObjects, listObjectKeys } from '../../storage/objects.ts';
import { discard, NOTHING_STAGED, type Staged, stagedSize } from '../../storage/staging.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { publishBlob } from '../blobs.ts';
import type { Pusher } from '../repositories/repositories.ts';
import { holds } from '../usage/counting.ts';
import { limitOf, limitParticulars, type Staging } from '../usage/limit.ts';
import { countStaged, type Limit, othersStaged, releaseStaged, requireRoomForStaged } from '../usage/staged.ts';

export type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars;

/** An upload as described by its signed location (the URL in the `Location` header), and the client that sent the request. */
export interface Upload extends Pusher {
  id: string;
  repository: RepositoryName;
  /**
   * The digest algorithm that the client announced when it began the upload. The bytes are hashed with it while they arrive.
   * The final digest may still have another algorithm.
   */
  algorithm: DigestAlgorithm;
  /**
   * The number of received bytes at the time when the location was issued. A chunk without Content-Range begins there. `null`
   * if the location does not contain the number.
   */
  offset: number | null;
  /** The row of the upload, if the caller has read it already in one D1 call together with the rights. */
  session?: Session;
}

/** The number of seconds after the last received bytes when an upload expires. A signed location is valid for the same time. */
export const UPLOAD_LIFETIME = 24 * 60 * 60;

/**
 * Returns a new upload id. Ids begin with the time, so the ids, rows and R2 keys of old uploads sort before those of new ones.
 * @param now milliseconds since the epoch
 */
export function newUploadId(now: number): string {
  return `${uploadIdAt(now)}${crypto.randomUUID().replaceAll('-', '')}`;
}

/**
 * Returns a string that sorts before the id of every upload that began at `time` or later.
 * @param time milliseconds since the epoch
 */
export function uploadIdAt(time: number): string {
  return time.toString(36).padStart(9, '0');
}

export interface Session {
  state: 'open' | 'committed' | 'closed';
  /** The version of the upload's row. 0 if there is no row yet. */
  version: number;
  staged: Staged;
  digest: Digest | null;
  /** The storage limit of the namespace and its usage when the row was read. `null` if no limit applies to this upload. */
  limit: Limit | null;
}

export const FRESH: Session = { state: 'open', version: 0, staged: NOTHING_STAGED, digest: null, limit: null };

interface SessionRow {
  state: Session['state'] | null;
  version: number;
  staged: string;
  digest: Digest | null;
  expired: number;
  bytes: number | null;
  others: number | null;
  max_bytes: number | null;
  kind: Limit['kind'] | null;
}

const SESSION = `SELECT s.state, s.version, s.staged, s.digest, s.expires_at <= unixepoch() AS expired, u.bytes, u.kind,
       ${othersStaged(':id', "iif(s.state = 'open', s.size, 0)", 'u.')} AS others,
       CASE WHEN u.max_bytes IS NULL OR :digest IS NULL THEN u.max_bytes
         WHEN NOT ${holds(':namespace', ':digest')} THEN u.max_bytes END AS max_bytes
     FROM (SELECT 1) LEFT JOIN uploads s ON s.id = :id LEFT JOIN usage u ON u.namespace = :namespace AND :namespace <> ''`;

type Located = Pick<Upload, 'id' | 'repository' | 'offset'>;

function sessionParameters({ id, repository }: Located, digest: Digest | null): Parameters {
  return { id, namespace: organizationAbout(repository), digest };
}

/**
 * Reads an upload and the storage limit of its namespace. An upload without a row is new if its location says that nothing was
 * received. Otherwise it has expired.
 * @param digest the digest of the blob to upload, if known. No limit applies to a blob that the namespace stores already,
 * because it takes no space
 * @throws upload-unknown if the upload has expired
 */
export async function loadSession(env: Stores, upload: Located, digest: Digest | null = null): Promise<Session> {
  return sessionOf(upload, await prepare(env, SESSION, sessionParameters(upload, digest)).first<SessionRow>());
}

/**
 * Adds the query of `loadSession` to a batch.
 * @returns a function that reads the session from the results. It throws upload-unknown, as `loadSession` does
 */
export function querySession(batch: Batch, upload: Located, digest: Digest | null): (results: Results) => Session {
  const row = batch.query<SessionRow>(SESSION, sessionParameters(upload, digest));
  return (results) => sessionOf(upload, results.first(row));
}

function sessionOf({ repository, offset }: Located, row: SessionRow | null): Session {
  const limit = row && limitOf(repository, { ...row, staged: row.others });
  if ((!row || row.state === null) && !offset) return { ...FRESH, limit };
  if (!row || row.state === null || row.expired) throw new Refusal('upload-unknown');
  return { state: row.state, version: row.version, staged: JSON.parse(row.staged) as Staged, digest: row.digest, limit };
}

/**
 * Returns the bytes that an open upload has received.
 * @throws upload-unknown if the upload is not open
 */
export function openStaged(session: Session): Staged {
  if (session.state !== 'open') throw new Refusal('upload-unknown');
  return session.staged;
}

/**
 * Adds a precondition to the batch: the upload is unchanged since `session` was read (compare-and-swap). Otherwise the batch
 * fails with `overtaken`.
 */
function requireSession(batch: Batch, id: string, { version }: Session): void {
  const condition =
    version === 0
      ? 'NOT EXISTS (SELECT 1 FROM uploads WHERE id = :id)'
      : `EXISTS (SELECT 1 FROM uploads WHERE id = :id AND version = :version AND state = 'open' AND expires_at > unixepoch())`;
  batch.require('overtaken', condition, { id, version });
}

/**
 * Saves in the upload's row where its received bytes are staged.
 * @throws overtaken if another request has changed the upload since `session` was read; quota-exceeded
 */
export async function saveSession(env: Stores, { id, repository }: Upload, session: Session, staged: Staged): Promise<void> {
  const namespace = organizationAbout(repository);
  const [before, after] = [stagedSize(session.staged), stagedSize(staged)];
  const growth = { namespace, id, before, after };
  const batch = newBatch(env);
  requireSession(batch, id, session);
  requireRoomForStaged(batch, growth, () =>
    limitParticulars(env, repository, { id, bytes: before }, { sql: ':after', parameters: { after } }),
  );
  batch.run(
    `INSERT INTO uploads (id, repository, state, version, size, staged, expires_at)
     VALUES (:id, :repository, 'open', :version + 1, :size, :staged, unixepoch() + ${UPLOAD_LIFETIME})
     ON CONFLICT (id) DO UPDATE SET version = excluded.version, size = excluded.size,
       staged = json_set(excluded.staged, '$.claimed', uploads.staged ->> '$.claimed'), expires_at = excluded.expires_at`,
    { id, repository, version: session.version, size: after, staged: JSON.stringify(staged) },
  );
  countStaged(batch, growth);
  await batch.commit();
}

/**
 * Publishes the blob and marks the upload as committed. The caller has stored and verified the bytes (invariant 1).
 * @returns the R2 key of the blob. This is not `blob.objectKey` if the registry already had the blob
 * @throws overtaken if another request has changed the upload since `session` was read; quota-exceeded, repository-unknown
 */
export async function commitSession(
  env: Stores,
  { id, repository, ...pusher }: Upload,
  session: Session,
  blob: { digest: Digest; size: number; objectKey: string },
): Promise<string> {
  const batch = newBatch(env);
  pusher.assumed?.addTo(batch);
  requireSession(batch, id, session);
  // The blob is counted before its staged bytes are released. Otherwise another upload could take their space in between.
  publishBlob(batch, env, repository, blob, { ...pusher, staging: stagingOf(id, session) });
  if (session.version > 0) {
    releaseStaged(batch, id);
    batch.run(
      `UPDATE uploads SET state = 'committed', version = version + 1, digest = :digest,
        expires_at = unixepoch() + ${UPLOAD_LIFETIME}
       WHERE id = :id`,
      { id, digest: blob.digest },
    );
  }
  const kept = batch.query<{ object_key: string }>('SELECT object_key FROM blobs WHERE digest = :digest', {
    digest: blob.digest,
  });
  return (await batch.commit()).first(kept)?.object_key ?? blob.objectKey;
}

/**
 * Returns the staged bytes of the upload, which the check of the storage limit must not count twice. `null` if the upload has
 * no row.
 */
function stagingOf(id: string, { version, staged }: Session): Staging | null {
  return version === 0 ? null : { id, bytes: stagedSize(staged) };
}

/**
 * Closes an upload for good. A concurrent finish may still create the object of its multipart upload, so the key of that object
 * gets a tombstone and is deleted later.
 * @param version the version that the upload must have, or `null` for any version
 * @returns the staged bytes, or `null` if the upload had already ended or has another version
 */
export async function closeSession(
  env: Stores,
  { id, repository, offset }: Upload,
  version: number | null,
): Promise<Staged | null> {
  const batch = newBatch(env);
  releaseStaged(batch, id, 'expires_at > unixepoch() AND (:version IS NULL OR version = :version)', { version });
  const closed = batch.query<{ staged: string }>(
    `INSERT INTO uploads (id, repository, state, version, size, staged, expires_at)
     SELECT :id, :repository, 'closed', 1, 0, :nothing, unixepoch() + ${UPLOAD_LIFETIME}
     WHERE (:version IS NULL AND :offset = 0) OR :version = 0 OR EXISTS (SELECT 1 FROM uploads WHERE id = :id)
     ON CONFLICT (id) DO UPDATE SET state = 'closed', version = version + 1
     WHERE state = 'open' AND expires_at > unixepoch() AND (:version IS NULL OR version = :version)
     RETURNING staged`,
    { id, repository, version, offset: offset ?? 0, nothing: JSON.stringify(NOTHING_STAGED) },
  );
  batch.run(
    `INSERT INTO tombstones (object_key, made_at) SELECT staged ->> '$.multipart.key', unixepoch()
     FROM uploads WHERE id = :id AND state = 'closed' AND staged ->> '$.multipart.key' IS NOT NULL ON CONFLICT DO NOTHING`,
    { id },
  );
  const row = (await batch.commit()).first(closed);
  return row ? (JSON.parse(row.staged) as Staged) : null;
}

/** SQL condition: a row of `uploads` has expired. */
const IS_EXPIRED = 'id < :before AND expires_at <= unixepoch()';

/** Returns a SELECT that yields a row if an upload has expired. @param before see `expireUploads` */
export function anyUploadExpired(env: Pick<Stores, 'DB'>, before: string): D1PreparedStatement {
  return prepare(env, `SELECT 1 FROM uploads WHERE ${IS_EXPIRED} LIMIT 1`, { before });
}

/**
 * Deletes the bytes of up to `limit` expired uploads, then their rows. The caller repeats the call until no expired upload is
 * left.
 * @param before an upload id. Uploads with a greater id began too late to have expired, and are not read
 * @returns the number of uploads that were removed
 */
export async function expireUploads(env: Stores, before: string, limit: number): Promise<number> {
  const { results } = await prepare(env, `SELECT id, state, staged FROM uploads WHERE ${IS_EXPIRED} LIMIT :limit`, {
    before,
    limit,
  }).all<{ id: string; state: Session['state']; staged: string }>();
  for (const { id, state, staged } of results) {
    if (state === 'open') await discardOpen(env, JSON.parse(staged) as Staged);
    await deleteObjects(env, await listObjectKeys(env, uploadPrefix(id)));
    const batch = newBatch(env);
    releaseStaged(batch, id, 'expires_at <= unixepoch()');
    batch.run('DELETE FROM uploads WHERE id = :id AND expires_at <= unixepoch()', { id });
    await batch.commit();
  }
  return results.length;
}

/**
 * Deletes the staged bytes of an expired open upload. A finish may have completed the multipart object and died before it wrote
 * the row. No request can publish that object any more, so it is deleted, too.
 */
async function discardOpen(env: Stores, staged: Staged): Promise<void> {
  await discard(env, staged);
  if (staged.multipart) await deleteObjects(env, [staged.multipart.key]);
}

/**
 * Deletes staged pieces whose upload has no row. They are left by requests that died before they wrote the row. Reads up to
 * 1,000 R2 keys.
 * @param before an upload id. Pieces of uploads with a greater id are skipped, because their requests may still run
 * @param startAfter the R2 key after which to begin
 * @returns the R2 key after which the next call begins, or `null` at the end
 */
export async function sweepPieces(env: Stores, before: string, startAfter: string | undefined): Promise<string | null> {
  const keys = (await listObjectKeys(env, UPLOADS_PREFIX, startAfter)).filter((key) => uploadIdOf(key) < before);
  if (keys.length === 0) return null;
  const ids = [...new Set(keys.map(uploadIdOf))];
  const known = await prepare(env, 'SELECT id FROM uploads WHERE id IN (SELECT value FROM json_each(:ids))', { ids }).all<{
    id: string;
  }>();
  const alive = new Set(known.results.map((row) => row.id));
  await deleteObjects(
    env,
    keys.filter((key) => !alive.has(uploadIdOf(key))),
  );
  return keys.at(-1) ?? null;
}
