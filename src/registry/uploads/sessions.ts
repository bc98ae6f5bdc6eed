/**
 * The row of an upload, and the three ways in which it changes. A row exists once the upload has received something. States:
 * open, then committed (finished) or closed (cancelled, or refused for good). `version` grows with each change, and a change
 * requires the version that it was decided on (invariant 5). An expired upload changes no more, so that its bytes can be
 * removed. The schedule removes them, slice by slice, with pieces that no row names.
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

/** The content of a signed location, and the client that has it. */
export interface Upload extends Pusher {
  id: string;
  repository: RepositoryName;
  /** The algorithm that the client announced; a hint, so that bytes can be hashed while they come. */
  algorithm: DigestAlgorithm;
  /** Bytes received when the location was issued: a chunk without Content-Range begins there. `null`: not known. */
  offset: number | null;
  /** The session, if it was read together with the rights. */
  session?: Session;
}

/** Seconds that an upload lives after it last received something. A signed location lives as long. */
export const UPLOAD_LIFETIME = 24 * 60 * 60;

/**
 * Ids begin with their time, so that ids, rows and keys of old uploads sort before those of new ones. @param now in
 * milliseconds
 */
export function newUploadId(now: number): string {
  return `${uploadIdAt(now)}${crypto.randomUUID().replaceAll('-', '')}`;
}

/** Sorts before the id of every upload that began at `time` or later. */
export function uploadIdAt(time: number): string {
  return time.toString(36).padStart(9, '0');
}

export interface Session {
  state: 'open' | 'committed' | 'closed';
  /** 0: there is no row yet. */
  version: number;
  staged: Staged;
  digest: Digest | null;
  /** The namespace's limit when the session was read; `null` if none applies to this upload. */
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
 * Reads an upload and the limit of its namespace. An upload without a row is fresh if its location says that nothing was
 * received; otherwise it has expired.
 * @param digest the blob that the upload will become, if that is known: a blob that the namespace holds already takes no space
 * @throws upload-unknown
 */
export async function loadSession(env: Stores, upload: Located, digest: Digest | null = null): Promise<Session> {
  return sessionOf(upload, await prepare(env, SESSION, sessionParameters(upload, digest)).first<SessionRow>());
}

/** The same as a part of a batch. @returns reads it from the results; throws upload-unknown */
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

/** Returns the bytes that an open upload has received. @throws upload-unknown if the upload has ended */
export function openStaged(session: Session): Staged {
  if (session.state !== 'open') throw new Refusal('upload-unknown');
  return session.staged;
}

/** Refuses the batch as overtaken if the upload has changed since `session` was read (compare-and-swap). */
function requireSession(batch: Batch, id: string, { version }: Session): void {
  const condition =
    version === 0
      ? 'NOT EXISTS (SELECT 1 FROM uploads WHERE id = :id)'
      : `EXISTS (SELECT 1 FROM uploads WHERE id = :id AND version = :version AND state = 'open' AND expires_at > unixepoch())`;
  batch.require('overtaken', condition, { id, version });
}

/**
 * Saves what an upload has staged.
 * @throws overtaken if another request changed the upload since `session` was read; quota-exceeded
 */
export async function saveSession(env: Stores, { id, repository }: Upload, session: Session, staged: Staged): Promise<void> {
  const namespace = organizationAbout(repository);
  const [before, after] = [stagedSize(session.staged), stagedSize(staged)];
  const growth = { namespace, id, before, after };
  const batch = newBatch(env);
  requireSession(batch, id, session);
  requireRoomForStaged(batch, growth, () =>
    limitParticulars(env, namespace, { id, bytes: before }, { sql: ':after', parameters: { after } }),
  );
  batch.run(
    `INSERT INTO uploads (id, repository, state, version, size, staged, expires_at)
     VALUES (:id, :repository, 'open', :version + 1, :size, :staged, unixepoch() + ${UPLOAD_LIFETIME})
     ON CONFLICT (id) DO UPDATE SET version = excluded.version, size = excluded.size, staged = excluded.staged,
       expires_at = excluded.expires_at`,
    { id, repository, version: session.version, size: after, staged: JSON.stringify(staged) },
  );
  countStaged(batch, growth);
  await batch.commit();
}

/**
 * Publishes the blob and ends the upload (invariant 1: its bytes exist and are verified).
 * @returns the key of the blob's object; another one than `blob.objectKey` if the registry had the blob already
 * @throws overtaken if another request changed the upload since `session` was read; quota-exceeded, repository-unknown
 */
export async function commitSession(
  env: Stores,
  { id, repository, ...pusher }: Upload,
  session: Session,
  blob: { digest: Digest; size: number; objectKey: string },
): Promise<string> {
  const batch = newBatch(env);
  requireSession(batch, id, session);
  // The blob is counted before the staged bytes are released, so that no other upload takes their space in between.
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
  const results = await batch.commit();
  return results.first(kept)?.object_key ?? blob.objectKey;
}

/** `null` for an upload that has staged nothing. */
function stagingOf(id: string, { version, staged }: Session): Staging | null {
  return version === 0 ? null : { id, bytes: stagedSize(staged) };
}

/**
 * Ends an upload for good. The object of its multipart upload becomes a tombstone: a concurrent finish may still complete it.
 * @param version the version that the upload must have; `null`: any
 * @returns what the upload had received; `null` if it had ended before, or has another version
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

/** SQL condition on a row of `uploads`. */
const IS_EXPIRED = 'id < :before AND expires_at <= unixepoch()';

/** A statement that yields a row if an upload has expired. @param before as in `expireUploads` */
export function anyUploadExpired(env: Pick<Stores, 'DB'>, before: string): D1PreparedStatement {
  return prepare(env, `SELECT 1 FROM uploads WHERE ${IS_EXPIRED} LIMIT 1`, { before });
}

/**
 * Deletes the bytes of expired uploads, then their rows. Called again while there are any.
 * @param before ids of uploads that began later than this cannot have expired, and are not looked at
 * @returns how many uploads it removed
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
 * Also deletes a completed multipart object: a finish may have died before it wrote the row, and nobody can publish the object
 * now.
 */
async function discardOpen(env: Stores, staged: Staged): Promise<void> {
  await discard(env, staged);
  if (staged.multipart) await deleteObjects(env, [staged.multipart.key]);
}

/**
 * Deletes pieces that no row names, left by requests that died before they wrote their row. Looks at up to 1,000 keys.
 * @param before ids of uploads that began later than this are skipped
 * @param startAfter the key after which to begin
 * @returns the key after which to continue; `null` at the end
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
