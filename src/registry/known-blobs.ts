/**
 * The memory of this isolate in which R2 keys of the blobs of pulled manifests are kept. After the pull of a manifest, the pull
 * of its layers then takes no D1 call. The memory contains only facts about stored content. It never contains who may read the
 * content or what a tag names. A deletion by this isolate takes effect at once; a deletion by another isolate takes effect
 * after `BLOB_CACHE_SECONDS`.
 */
import { type Env, settings, type Vars } from '../env.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import { perDatabase } from '../telemetry.ts';
import { forgetManifests } from './known-manifests.ts';

export interface Blob {
  digest: Digest;
  size: number;
  objectKey: string;
}

interface Known {
  blob: Blob;
  /** The time until which the blob may be served without asking the database, in milliseconds since the epoch. */
  until: number;
}

/** The maximum number of blobs that an isolate remembers. A blob takes about 500 bytes. */
const BLOBS_MAX = 5000;

interface Memory {
  blobs: Map<string, Known>;
  /** The ends of leases on blobs, in seconds since the epoch. */
  leases: Map<string, number>;
  /** The number of deletions by this isolate up to now. */
  deletions: number;
}

const memoryOf = perDatabase((): Memory => ({ blobs: new Map(), leases: new Map(), deletions: 0 }));

const keyOf = (repository: RepositoryName, digest: Digest) => `${repository} ${digest}`;

/** True if the setting `BLOB_CACHE_SECONDS` allows this isolate to keep blobs in memory. */
export function remembersBlobs(env: Vars): boolean {
  return settings(env).blobCacheSeconds > 0;
}

/**
 * Must be called before a query reads blobs. Returns a function that stores the result of the query in memory, unless this
 * isolate deleted content in between. The parameter `asOf` of that function is the time at which the rows were current, in
 * milliseconds since the epoch.
 */
export function beginReading(env: Pick<Env, 'DB'> & Vars, repository: RepositoryName): (blobs: Blob[], asOf: number) => void {
  const memory = memoryOf(env);
  const { deletions } = memory;
  return (blobs, asOf) => {
    if (memory.deletions !== deletions) return;
    const until = asOf + settings(env).blobCacheSeconds * 1000;
    for (const blob of blobs) {
      const key = keyOf(repository, blob.digest);
      // Deleting and setting the entry moves it to the end, so the first entries of the map are the oldest.
      memory.blobs.delete(key);
      memory.blobs.set(key, { blob, until });
    }
    for (const key of memory.blobs.keys()) {
      if (memory.blobs.size <= BLOBS_MAX) break;
      memory.blobs.delete(key);
    }
  };
}

/** Stores the end of the lease on a blob in memory, in seconds since the epoch. */
export function rememberLease(env: Pick<Env, 'DB'> & Vars, repository: RepositoryName, digest: Digest, end: number): void {
  if (!remembersBlobs(env)) return;
  const { leases } = memoryOf(env);
  const [oldest] = leases.keys();
  if (oldest !== undefined && leases.size >= BLOBS_MAX) leases.delete(oldest);
  leases.set(keyOf(repository, digest), end);
}

/**
 * Returns the end of the last lease on a blob that this isolate read, in seconds since the epoch, or 0. The lease or the blob
 * may be gone, so D1 must be asked before a client relies on it.
 */
export function lastLease(env: Pick<Env, 'DB'>, repository: RepositoryName, digest: Digest): number {
  return memoryOf(env).leases.get(keyOf(repository, digest)) ?? 0;
}

/** Returns a blob of the repository from memory, or `null` if memory does not have it. */
export function knownBlob(env: Pick<Env, 'DB'>, repository: RepositoryName, digest: Digest, now: number): Blob | null {
  const found = memoryOf(env).blobs.get(keyOf(repository, digest));
  return found && now < found.until ? found.blob : null;
}

/**
 * Removes all blobs and manifests from memory. Must be called after each deletion of content, even if the answer of D1 was
 * lost.
 */
export function forgetBlobs(env: Pick<Env, 'DB'>): void {
  const memory = memoryOf(env);
  memory.deletions++;
  memory.blobs.clear();
  forgetManifests(env);
}
