/**
 * The row of an upload: what it says, and the three ways in which it changes. A row is a session that has received
 * something; before that there is none. States: open -> committed (finished) or closed (cancelled, or its content was not
 * what it claimed). `version` grows with each change, and a change asks for the version that it was decided on (invariant 5).
 * One that has expired changes no more, so that its bytes can be removed in peace.
 */
import type { Env, Vars } from '../../env.ts';
import { refuseUnless, tryBatch } from '../../events/batch.ts';
import { organizationAbout } from '../../events/event.ts';
import type { Digest, DigestAlgorithm } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { NOTHING_STAGED, type Staged, stagedSize } from '../../storage/staging.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { publishBlob } from '../blobs.ts';
import type { Pusher } from '../repositories/repositories.ts';
import { holds } from '../usage/counting.ts';
import { limitOf, type Staging } from '../usage/limit.ts';
import type { Limit } from '../usage/room.ts';
import { countStaged, guardStaged, othersStaged, releaseStaged } from '../usage/staged.ts';

export type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars;

/** What a signed location says of itself, and who holds it. */
export interface Upload extends Pusher {
  id: string;
  repository: RepositoryName;
  /** What the client will digest with; a hint, so that the hash can be taken while the bytes come. */
  algorithm: DigestAlgorithm;
  /** Bytes received when the location was given out: a chunk without Content-Range begins there. `null`: not known. */
  offset: number | null;
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

export interface Session {
  state: 'open' | 'committed' | 'closed';
  /** 0: there is no row yet. */
  version: number;
  staged: Staged;
  digest: string | null;
  /** Of what its organization may store, as it stood when the session was read; `null` where nothing limits this upload. */
  limit: Limit | null;
}

export const FRESH: Session = { state: 'open', version: 0, staged: NOTHING_STAGED, digest: null, limit: null };

interface SessionRow {
  state: Session['state'] | null;
  version: number;
  staged: string;
  digest: string | null;
  expired: number;
  bytes: number | null;
  others: number | null;
  max_bytes: number | null;
  kind: Limit['kind'] | null;
}

/**
 * A location that says that something was received belongs to a row: without one the upload has expired.
 * @param bringing what it will turn out to be, where that is known: what the organization holds already needs no room
 * @throws upload-unknown
 */
export async function loadSession(
  env: Stores,
  { id, repository, offset }: Upload,
  bringing: Digest | null = null,
): Promise<Session> {
  const row = await env.DB.prepare(
    `SELECT s.state, s.version, s.staged, s.digest, s.expires_at <= unixepoch() AS expired, u.bytes, u.kind,
       ${othersStaged('?1', "iif(s.state = 'open', s.size, 0)", 'u.')} AS others,
       CASE WHEN u.max_bytes IS NULL OR ?3 IS NULL THEN u.max_bytes WHEN NOT ${holds('?2', '?3')} THEN u.max_bytes END AS max_bytes
     FROM (SELECT 1) LEFT JOIN uploads s ON s.id = ?1 LEFT JOIN usage u ON u.namespace = ?2 AND ?2 <> ''`,
  )
    .bind(id, organizationAbout(repository), bringing)
    .first<SessionRow>();
  const limit = row && limitOf(repository, { ...row, staged: row.others });
  if ((!row || row.state === null) && !offset) return { ...FRESH, limit };
  if (!row || row.state === null || row.expired) throw new Refusal('upload-unknown');
  return { state: row.state, version: row.version, staged: JSON.parse(row.staged) as Staged, digest: row.digest, limit };
}

/** What has been received. @throws upload-unknown for an upload that has ended */
export function openStaged(session: Session): Staged {
  if (session.state !== 'open') throw new Refusal('upload-unknown');
  return session.staged;
}

/**
 * Compare-and-swap: `false` where another request changed the upload since `session` was read, or there is no room any more for what
 * it has staged.
 */
export async function saveSession(env: Stores, { id, repository }: Upload, session: Session, staged: Staged): Promise<boolean> {
  const text = JSON.stringify(staged);
  const growth = {
    namespace: organizationAbout(repository),
    id,
    before: stagedSize(session.staged),
    after: stagedSize(staged),
  };
  const guards = guardStaged(env, growth);
  const results = await tryBatch(env, [
    ...guards,
    env.DB.prepare(
      `INSERT INTO uploads (id, repository, state, version, size, staged, expires_at)
       SELECT ?1, ?2, 'open', ?3 + 1, ?4, ?5, unixepoch() + ${UPLOAD_LIFETIME}
       WHERE ?3 = 0 OR EXISTS (SELECT 1 FROM uploads WHERE id = ?1)
       ON CONFLICT (id) DO UPDATE SET version = ?3 + 1, size = ?4, staged = ?5, expires_at = excluded.expires_at
       WHERE version = ?3 AND state = 'open' AND expires_at > unixepoch()
       RETURNING id`,
    ).bind(id, repository, session.version, growth.after, text),
    ...countStaged(env, growth, text),
  ]);
  return (results?.[guards.length]?.results.length ?? 0) > 0;
}

/** The upload ?1 is still as version ?2 of it was; version 0 is no row at all. */
const UNCHANGED = `CASE ?2 WHEN 0 THEN NOT EXISTS (SELECT 1 FROM uploads WHERE id = ?1)
  ELSE EXISTS (SELECT 1 FROM uploads WHERE id = ?1 AND version = ?2 AND state = 'open' AND expires_at > unixepoch()) END`;

/**
 * Publishes the blob and ends the upload (invariant 1: its bytes are there, verified). Returns the key under which the blob
 * is kept, another one where the registry had it already; `null` where the upload is no longer as `session` knew it or there
 * is no room for the blob, and then nothing was written.
 */
export async function commitSession(
  env: Stores,
  { id, repository, ...pusher }: Upload,
  session: Session,
  blob: { digest: Digest; size: number; objectKey: string },
): Promise<string | null> {
  const results = await tryBatch(env, [
    refuseUnless(env, UNCHANGED, id, session.version),
    // In this order: what it has staged leaves room for what it becomes, and is released once that is counted.
    ...publishBlob(env, repository, blob, { ...pusher, staging: stagingOf(id, session) }),
    ...(session.version === 0 ? [] : [releaseStaged(env, id)]),
    env.DB.prepare(
      `UPDATE uploads SET state = 'committed', version = version + 1, digest = ?2, expires_at = unixepoch() + ${UPLOAD_LIFETIME}
       WHERE id = ?1`,
    ).bind(id, blob.digest),
    env.DB.prepare('SELECT object_key FROM blobs WHERE digest = ?1').bind(blob.digest),
  ]);
  const kept = results?.at(-1)?.results[0] as { object_key: string } | undefined;
  return kept?.object_key ?? null;
}

/** `null` for an upload that has staged nothing. */
export function stagingOf(id: string, { version, staged }: Session): Staging | null {
  return version === 0 ? null : { id, bytes: stagedSize(staged) };
}

/**
 * Ends the upload for good and returns what it had received; `null` where it has ended before, or has changed since
 * `version`, if one is given. The object of its multipart upload goes to the collector: a finish may still complete it.
 */
export async function closeSession(
  env: Stores,
  { id, repository, offset }: Upload,
  version: number | null,
): Promise<Staged | null> {
  const [, closed] = await env.DB.batch<{ staged: string }>([
    releaseStaged(env, id, 'expires_at > unixepoch() AND (?2 IS NULL OR version = ?2)', version),
    env.DB.prepare(
      `INSERT INTO uploads (id, repository, state, version, size, staged, expires_at)
       SELECT ?1, ?2, 'closed', 1, 0, ?4, unixepoch() + ${UPLOAD_LIFETIME}
       WHERE (?3 IS NULL AND ?5 = 0) OR ?3 = 0 OR EXISTS (SELECT 1 FROM uploads WHERE id = ?1)
       ON CONFLICT (id) DO UPDATE SET state = 'closed', version = version + 1
       WHERE state = 'open' AND expires_at > unixepoch() AND (?3 IS NULL OR version = ?3)
       RETURNING staged`,
    ).bind(id, repository, version, JSON.stringify(NOTHING_STAGED), offset ?? 0),
    env.DB.prepare(
      `INSERT INTO tombstones (object_key, made_at) SELECT staged ->> '$.multipart.key', unixepoch()
       FROM uploads WHERE id = ?1 AND state = 'closed' AND staged ->> '$.multipart.key' IS NOT NULL ON CONFLICT DO NOTHING`,
    ).bind(id),
  ]);
  const row = closed?.results[0];
  return row ? (JSON.parse(row.staged) as Staged) : null;
}
