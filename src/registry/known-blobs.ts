/**
 * Remembers in the memory of this isolate where the blobs of pulled manifests are stored. So the pull of a layer after its
 * manifest takes no database call. Only facts about stored content are remembered, never who may read it, and never what a tag
 * names. A deletion by this isolate takes effect at once; one by another isolate after `BLOB_CACHE_SECONDS`.
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
  /** The number of deletions by this isolate. */
  deletions: number;
}

const memoryOf = perDatabase((): Memory => ({ blobs: new Map(), deletions: 0 }));

const keyOf = (repository: RepositoryName, digest: Digest) => `${repository} ${digest}`;

/** True if the setting allows to remember blobs. */
export function remembersBlobs(env: Vars): boolean {
  return settings(env).blobCacheSeconds > 0;
}

/**
 * Call this before a query reads blobs. Returns a function that remembers what the query found, unless this isolate has deleted
 * content meanwhile. Its parameter `asOf` is the time as of which the rows were read, in milliseconds since the epoch.
 */
export function beginReading(env: Pick<Env, 'DB'> & Vars, repository: RepositoryName): (blobs: Blob[], asOf: number) => void {
  const memory = memoryOf(env);
  const { deletions } = memory;
  return (blobs, asOf) => {
    if (memory.deletions !== deletions) return;
    const until = asOf + settings(env).blobCacheSeconds * 1000;
    for (const blob of blobs) {
      const key = keyOf(repository, blob.digest);
      // An entry that is written again moves to the end, so the first entries are the oldest.
      memory.blobs.delete(key);
      memory.blobs.set(key, { blob, until });
    }
    for (const key of memory.blobs.keys()) {
      if (memory.blobs.size <= BLOBS_MAX) break;
      memory.blobs.delete(key);
    }
  };
}

/** Returns a blob of the repository, or `null` if it is not remembered. */
export function knownBlob(env: Pick<Env, 'DB'>, repository: RepositoryName, digest: Digest, now: number): Blob | null {
  const found = memoryOf(env).blobs.get(keyOf(repository, digest));
  return found && now < found.until ? found.blob : null;
}

/** Forgets all blobs and manifests. Call this after each deletion of content, also if its answer was lost. */
export function forgetBlobs(env: Pick<Env, 'DB'>): void {
  const memory = memoryOf(env);
  memory.deletions++;
  memory.blobs.clear();
  forgetManifests(env);
}
