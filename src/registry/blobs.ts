/** Blobs of a repository: stat, open, publish, mount, delete. Their bytes are shared, the right to see them is not. */
import { type Env, settings, type Vars } from '../env.ts';
import { commit, type Database, persistently, refuseUnless, statementsOf, tryBatch } from '../events/batch.ts';
import type { Actor } from '../events/event.ts';
import { record } from '../events/outbox.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { ByteRange } from '../oci/range.ts';
import { openObject } from '../storage/objects.ts';
import { report } from '../telemetry.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { markBlobs } from './faults.ts';
import { ensureRepository, type Pusher } from './repositories/repositories.ts';
import { balanceBlob } from './usage/balance.ts';
import { countBlob, requireRoomFor, type Staging } from './usage/limit.ts';

export interface Blob {
  digest: Digest;
  size: number;
  objectKey: string;
}

const STAT = `SELECT b.size, b.object_key FROM repositories r
   JOIN repository_blobs l ON l.digest = ?2 AND l.repository_id = r.id
   JOIN blobs b ON b.digest = l.digest AND b.missing_since IS NULL
   WHERE r.name = ?1`;

interface StatRow {
  size: number;
  object_key: string;
}

/** @throws blob-unknown */
export async function statBlob(env: Database, repository: RepositoryName, digest: Digest): Promise<Blob> {
  return blobOf(digest, await env.DB.prepare(STAT).bind(repository, digest).first<StatRow>());
}

/**
 * For somebody who may push and will skip the upload if it is here: takes a lease (invariant 8), which is renewed at half, so
 * that a push that meets the same layers again and again does not write each time.
 * @throws blob-unknown
 */
export async function statBlobForPush(env: Database & Vars, repository: RepositoryName, digest: Digest): Promise<Blob> {
  const [, found] = await env.DB.batch<StatRow>([
    env.DB.prepare(
      `UPDATE repository_blobs SET leased_until = unixepoch() + ?3
       WHERE digest = ?2 AND repository_id = (SELECT id FROM repositories WHERE name = ?1)
         AND leased_until < unixepoch() + ?3 / 2`,
    ).bind(repository, digest, settings(env).leaseSeconds),
    env.DB.prepare(STAT).bind(repository, digest),
  ]);
  return blobOf(digest, found?.results[0]);
}

function blobOf(digest: Digest, row: StatRow | null | undefined): Blob {
  if (!row) throw new Refusal('blob-unknown', { detail: { digest } });
  return { digest, size: row.size, objectKey: row.object_key };
}

/**
 * The bytes. Where the row says yes and the object is gone, the blob counts as absent from then on, so that the next push
 * brings it again instead of skipping it. @throws blob-unknown
 */
export async function openBlob(
  env: Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'>,
  blob: Blob,
  range: ByteRange | null,
): Promise<ReadableStream> {
  const stream = await openObject(env, blob.objectKey, range);
  if (stream) return stream;
  await commit(env, markBlobs(env, [{ key: blob.objectKey, digest: blob.digest, reason: 'missing' }]));
  report('blob.object-missing', { digest: blob.digest, object: blob.objectKey });
  throw new Refusal('blob-unknown', { detail: { digest: blob.digest } });
}

/**
 * The statements that make verified bytes a blob of the repository. Where the registry had it already, it is kept under another
 * key than `objectKey`.
 */
export function publishBlob(
  env: Database & Vars,
  repository: RepositoryName,
  blob: Blob,
  pusher: Pusher & { staging: Staging | null },
): D1PreparedStatement[] {
  const { digest, size, objectKey } = blob;
  return [
    ...statementsOf(env, (batch) => ensureRepository(batch, repository, pusher)),
    env.DB.prepare(
      `INSERT INTO tombstones (object_key, made_at)
       SELECT object_key, unixepoch() FROM blobs WHERE digest = ?1 AND missing_since IS NOT NULL ON CONFLICT DO NOTHING`,
    ).bind(digest),
    env.DB.prepare(
      `INSERT INTO blobs (digest, size, object_key, created_at) VALUES (?1, ?2, ?3, unixepoch())
       ON CONFLICT (digest) DO UPDATE SET size = ?2, object_key = ?3, created_at = unixepoch(), missing_since = NULL
       WHERE missing_since IS NOT NULL`,
    ).bind(digest, size, objectKey),
    ...countBlob(env, repository, digest, pusher),
    linkBlob(env, repository, digest),
  ];
}

function linkBlob(env: Database & Vars, repository: RepositoryName, digest: Digest): D1PreparedStatement {
  return env.DB.prepare(
    `INSERT INTO repository_blobs (digest, repository_id, leased_until)
     SELECT ?2, id, unixepoch() + ?3 FROM repositories WHERE name = ?1
     ON CONFLICT DO UPDATE SET leased_until = excluded.leased_until WHERE leased_until < excluded.leased_until - ?3 / 2`,
  ).bind(repository, digest, settings(env).leaseSeconds);
}

/**
 * end-11: links a blob that another repository holds; `false` where none of `sources` does.
 * @param mount.sources the repositories the caller may pull from and means
 * @param mount.isNamed whether the caller named it: one that was found for them is told to nobody, as others may not know of it
 * @throws quota-exceeded where it is over the organization's limit
 */
export async function mountBlob(
  env: Database & Vars,
  mount: Pusher & { repository: RepositoryName; digest: Digest; sources: RepositoryName[]; isNamed: boolean },
): Promise<boolean> {
  const { repository, digest, sources } = mount;
  if (sources.length === 0) return false;
  const source = (wanted: string, among: string) => `SELECT r.name FROM repository_blobs l
    JOIN blobs b ON b.digest = l.digest AND b.missing_since IS NULL
    JOIN repositories r ON r.id = l.repository_id AND r.name IN (SELECT value FROM json_each(${among}))
    WHERE l.digest = ${wanted} LIMIT 1`;
  const among = JSON.stringify(sources);
  const mounted = await tryBatch(env, [
    refuseUnless(env, `EXISTS (${source('?1', '?2')})`, digest, among),
    ...statementsOf(env, (batch) => ensureRepository(batch, repository, mount)),
    record(env, {
      about: repository,
      by: mount.by,
      select: `SELECT 'blob.mounted' AS type,
          iif(?5, json_object('digest', ?3, 'from', (${source('?3', '?4')})), json_object('digest', ?3)) AS target
        WHERE NOT EXISTS (SELECT 1 FROM repository_blobs
          WHERE digest = ?3 AND repository_id = (SELECT id FROM repositories WHERE name = ?1))`,
      parameters: [digest, among, mount.isNamed],
    }),
    ...countBlob(env, repository, digest, { by: mount.by, staging: null }),
    linkBlob(env, repository, digest),
  ]);
  if (mounted !== null) return true;
  const size = await env.DB.prepare(`SELECT size FROM blobs WHERE digest = ?1 AND EXISTS (${source('?1', '?2')})`)
    .bind(digest, among)
    .first<number>('size');
  if (size !== null) await requireRoomFor(env, repository, digest, { size, staging: null });
  return false;
}

/**
 * end-10. Unlinks it from the repository; the bytes go when no repository holds them any more.
 * @throws blob-unknown, or parameter-invalid while a manifest of the repository still references it (invariant 2)
 */
export async function deleteBlob(env: Database, repository: RepositoryName, digest: Digest, by: Actor): Promise<void> {
  const referenced = `SELECT parent FROM manifest_references
    WHERE child = ?2 AND repository_id = (SELECT id FROM repositories WHERE name = ?1)`;
  const here = `SELECT 1 FROM repository_blobs
    WHERE digest = ?2 AND repository_id = (SELECT id FROM repositories WHERE name = ?1)`;
  const { before, after } = balanceBlob(env, repository, digest);
  const statements = () => [
    refuseUnless(env, `EXISTS (${here}) AND NOT EXISTS (${referenced})`, repository, digest),
    before,
    env.DB.prepare(
      'DELETE FROM repository_blobs WHERE digest = ?2 AND repository_id = (SELECT id FROM repositories WHERE name = ?1)',
    ).bind(repository, digest),
    after,
    record(env, {
      about: repository,
      by,
      select: `SELECT 'blob.deleted' AS type, json_object('digest', ?3) AS target`,
      parameters: [digest],
    }),
  ];
  await persistently(
    () => tryBatch(env, statements()),
    async () => {
      const { results } = await env.DB.prepare(`${referenced} LIMIT 10`).bind(repository, digest).all<{ parent: string }>();
      await statBlob(env, repository, digest);
      const parents = results.map((row) => row.parent);
      return parents.length > 0 ? stillReferenced(digest, parents) : null;
    },
  );
}

export function stillReferenced(digest: Digest, parents: string[]): Refusal {
  return new Refusal('content-referenced', {
    detail: { digest, referencedBy: parents },
  });
}
