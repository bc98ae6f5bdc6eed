/**
 * Operations on the blobs of a repository: stat, open, publish, mount and delete. Repositories share the bytes of a blob. A
 * caller may read a blob only in a repository that contains the blob and from which the caller may pull.
 */
import { type Env, settings, type Vars } from '../env.ts';
import { type Batch, type Database, newBatch, withRetries } from '../events/batch.ts';
import type { Actor } from '../events/event.ts';
import { recordEvent } from '../events/outbox.ts';
import { firstFromNearest } from '../events/replicas.ts';
import { prepare } from '../events/sql.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { ByteRange } from '../oci/range.ts';
import { openObject } from '../storage/objects.ts';
import { report } from '../telemetry.ts';
import { isRefusal, Refusal } from '../vocabulary/refusal.ts';
import { markBlobs } from './faults.ts';
import { type Blob, forgetBlobs, knownBlob, lastLease, rememberLease } from './known-blobs.ts';
import { ensureRepository, type Pusher, REPOSITORY_ID } from './repositories/repositories.ts';
import { rebalanceBlob } from './usage/counting.ts';
import { countBlob, type Staging } from './usage/limit.ts';

export type { Blob };

const statOf = (columns: string) => `SELECT ${columns} FROM repositories r
   JOIN repository_blobs l ON l.digest = :digest AND l.repository_id = r.id
   JOIN blobs b ON b.digest = l.digest AND b.missing_since IS NULL
   WHERE r.name = :repository`;

const STAT = statOf('b.size, b.object_key');
const STAT_AND_LEASE = statOf('b.size, b.object_key, l.leased_until');

interface StatRow {
  size: number;
  object_key: string;
}

interface LeasedRow extends StatRow {
  leased_until: number;
}

/**
 * Returns the size and R2 key of a blob of a repository. Makes no D1 call if the blob is in this isolate's memory since a
 * client pulled a manifest that references it. @throws blob-unknown
 */
export async function statBlob(env: Database & Vars, repository: RepositoryName, digest: Digest, now: number): Promise<Blob> {
  const known = knownBlob(env, repository, digest, now);
  return known ?? blobOf(digest, (await firstFromNearest<StatRow>(env, STAT, { repository, digest }, now)).row);
}

/**
 * Returns the size and R2 key of a blob to a client that checks, before a push, whether it can skip the upload. Takes a lease
 * on the blob, so that the garbage collector does not delete it meanwhile (invariant 8). Renews a lease only in the second half
 * of its duration, so that frequent pushes of the same layers rarely write.
 * @throws blob-unknown
 */
export async function statBlobForPush(env: Database & Vars, repository: RepositoryName, digest: Digest): Promise<Blob> {
  const batch = newBatch(env);
  batch.run(
    `UPDATE repository_blobs SET leased_until = unixepoch() + :lease
     WHERE digest = :digest AND repository_id = ${REPOSITORY_ID} AND leased_until < unixepoch() + :lease / 2`,
    { repository, digest, lease: settings(env).leaseSeconds },
  );
  const found = batch.query<LeasedRow>(STAT_AND_LEASE, { repository, digest });
  const results = await batch.commit();
  const row = results.first(found);
  if (row) rememberLease(env, repository, digest, row.leased_until);
  return blobOf(digest, row);
}

/**
 * Does the same as `statBlobForPush`. If this isolate has read a lease that need not be renewed yet, this reads the blob with
 * its lease and writes nothing, which takes D1 less time. It takes a lease only if the database has another one by now.
 * @param now the time of the request, in milliseconds since the epoch
 */
export async function statBlobAgainForPush(
  env: Database & Vars,
  repository: RepositoryName,
  digest: Digest,
  now: number,
): Promise<Blob> {
  const renewedBefore = now / 1000 + settings(env).leaseSeconds / 2;
  if (lastLease(env, repository, digest) < renewedBefore) return statBlobForPush(env, repository, digest);
  const row = await prepare(env, STAT_AND_LEASE, { repository, digest }).first<LeasedRow>();
  if (row && row.leased_until < renewedBefore) return statBlobForPush(env, repository, digest);
  return blobOf(digest, row);
}

function blobOf(digest: Digest, row: StatRow | null): Blob {
  if (!row) throw new Refusal('blob-unknown', { detail: { digest } });
  return { digest, size: row.size, objectKey: row.object_key };
}

/**
 * Opens the bytes of a blob. If its object is missing in R2, marks the blob as missing, so that the next push uploads it again
 * instead of skipping it.
 * @throws blob-unknown if the object is missing
 */
export async function openBlob(
  env: Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars,
  repository: RepositoryName,
  blob: Blob,
  { range, now }: { range: ByteRange | null; now: number },
): Promise<ReadableStream> {
  const stream = await openObject(env, blob.objectKey, range);
  if (stream) return stream;
  if (settings(env).d1Replicas || knownBlob(env, repository, blob.digest, now)) {
    // The blob may have been deleted by another isolate and pushed again with another key. So the primary database is queried.
    forgetBlobs(env);
    const stored = await statBlob(env, repository, blob.digest, now);
    if (stored.objectKey !== blob.objectKey) return openBlob(env, repository, stored, { range, now });
  }
  const batch = newBatch(env);
  markBlobs(batch, [{ key: blob.objectKey, digest: blob.digest, reason: 'missing' }]);
  await batch.commit();
  report('blob.object-missing', { digest: blob.digest, object: blob.objectKey });
  throw new Refusal('blob-unknown', { detail: { digest: blob.digest } });
}

/**
 * Adds statements to the batch that publish verified bytes as a blob of the repository. If the registry already stores the blob
 * under another R2 key, that object stays and `blob.objectKey` is ignored. The batch fails with `repository-unknown` or
 * `quota-exceeded` if a precondition does not hold.
 */
export function publishBlob(
  batch: Batch,
  env: Database & Vars,
  repository: RepositoryName,
  blob: Blob,
  { staging, ...pusher }: Pusher & { staging: Staging | null },
): void {
  const { digest, size, objectKey } = blob;
  ensureRepository(batch, repository, pusher);
  batch.run(
    `INSERT INTO tombstones (object_key, made_at)
     SELECT object_key, unixepoch() FROM blobs WHERE digest = :digest AND missing_since IS NOT NULL ON CONFLICT DO NOTHING`,
    { digest },
  );
  batch.run(
    `INSERT INTO blobs (digest, size, object_key, created_at) VALUES (:digest, :size, :objectKey, unixepoch())
     ON CONFLICT (digest) DO UPDATE SET size = :size, object_key = :objectKey, created_at = unixepoch(), missing_since = NULL
     WHERE missing_since IS NOT NULL`,
    { digest, size, objectKey },
  );
  countBlob(batch, env, { repository, digest, size, by: pusher.by, staging });
  linkBlob(batch, env, repository, digest);
}

function linkBlob(batch: Batch, env: Vars, repository: RepositoryName, digest: Digest): void {
  batch.run(
    `INSERT INTO repository_blobs (digest, repository_id, leased_until)
     SELECT :digest, id, unixepoch() + :lease FROM repositories WHERE name = :repository
     ON CONFLICT DO UPDATE SET leased_until = excluded.leased_until WHERE leased_until < excluded.leased_until - :lease / 2`,
    { repository, digest, lease: settings(env).leaseSeconds },
  );
}

interface Mount extends Pusher {
  repository: RepositoryName;
  digest: Digest;
  /** The repositories from which the blob may be mounted. The caller may pull from each of them. */
  sources: RepositoryName[];
  /**
   * True if the client named the source repository in its request. Only then does the event contain its name, because readers
   * of the event may have no right to see other repositories.
   */
  isNamed: boolean;
}

/** SQL query: the name of one repository of the list `:sources` that contains the blob. */
const SOURCE = `SELECT r.name FROM repository_blobs l
  JOIN blobs b ON b.digest = l.digest AND b.missing_since IS NULL
  JOIN repositories r ON r.id = l.repository_id AND r.name IN (SELECT value FROM json_each(:sources))
  WHERE l.digest = :digest LIMIT 1`;

/**
 * Endpoint end-11 (mount): links a blob of another repository to this repository, without an upload.
 * @returns false if none of the repositories in `sources` contains the blob
 * @throws quota-exceeded, repository-unknown
 */
export async function mountBlob(env: Database & Vars, mount: Mount): Promise<boolean> {
  return mount.sources.length > 0 && withRetries(() => mountOnce(env, mount));
}

async function mountOnce(env: Database & Vars, mount: Mount): Promise<boolean> {
  const { repository, digest, sources, isNamed, ...pusher } = mount;
  const batch = newBatch(env);
  pusher.assumed?.addTo(batch);
  batch.require('blob-unknown', `EXISTS (${SOURCE})`, { digest, sources });
  ensureRepository(batch, repository, pusher);
  recordEvent(batch, {
    about: repository,
    by: pusher.by,
    select: `SELECT 'blob.mounted' AS type,
        iif(:isNamed, json_object('digest', :digest, 'from', (${SOURCE})), json_object('digest', :digest)) AS target
      WHERE NOT EXISTS (SELECT 1 FROM repository_blobs WHERE digest = :digest AND repository_id = ${REPOSITORY_ID})`,
    parameters: { repository, digest, sources, isNamed },
  });
  countBlob(batch, env, { repository, digest, size: null, by: pusher.by, staging: null });
  linkBlob(batch, env, repository, digest);
  try {
    await batch.commit();
    return true;
  } catch (error) {
    if (isRefusal(error, 'blob-unknown')) return false;
    throw error;
  }
}

/**
 * Endpoint end-10: unlinks a blob from the repository. The garbage collector deletes the bytes once no repository contains the
 * blob.
 * @throws blob-unknown; content-referenced if a manifest of the repository references the blob (invariant 2)
 */
export async function deleteBlob(env: Database, repository: RepositoryName, digest: Digest, by: Actor): Promise<void> {
  await withRetries(() => deleteBlobOnce(env, repository, digest, by));
}

async function deleteBlobOnce(env: Database, repository: RepositoryName, digest: Digest, by: Actor): Promise<void> {
  const link = `FROM repository_blobs WHERE digest = :digest AND repository_id = ${REPOSITORY_ID}`;
  const batch = newBatch(env);
  batch.require('blob-unknown', `EXISTS (SELECT 1 ${link})`, { repository, digest }, { detail: { digest } });
  requireUnreferenced(batch, env, repository, digest);
  const addRemainder = rebalanceBlob(batch, repository, digest);
  batch.run(`DELETE ${link}`, { repository, digest });
  addRemainder();
  recordEvent(batch, {
    about: repository,
    by,
    select: `SELECT 'blob.deleted' AS type, json_object('digest', :digest) AS target`,
    parameters: { digest },
  });
  await batch.commit().finally(() => forgetBlobs(env));
}

/**
 * Adds a precondition to the batch: no manifest of the repository references the blob or manifest `digest`. Otherwise the batch
 * fails with `content-referenced`.
 */
export function requireUnreferenced(batch: Batch, env: Database, repository: RepositoryName, digest: Digest): void {
  const parents = `SELECT parent FROM manifest_references WHERE child = :digest AND repository_id = ${REPOSITORY_ID}`;
  batch.require('content-referenced', `NOT EXISTS (${parents})`, { repository, digest }, async () => {
    const { results } = await prepare(env, `${parents} LIMIT 10`, { repository, digest }).all<{ parent: string }>();
    return results.length === 0 ? null : { detail: { digest, referencedBy: results.map(({ parent }) => parent) } };
  });
}
