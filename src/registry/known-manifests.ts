/**
 * Remembers in the memory of this isolate the manifests that clients have just looked up by HEAD. Container clients send HEAD
 * with a tag, and then GET with the digest in its answer, so the GET takes no database call. As in `known-blobs.ts`, only facts
 * about stored content are remembered, never who may read it, and never what a tag names. A deletion by this isolate takes
 * effect at once; one by another isolate after `BLOB_CACHE_SECONDS`.
 */
import { type Env, settings, type Vars } from '../env.ts';
import { distrustReplicas } from '../events/replicas.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import { perDatabase } from '../telemetry.ts';

export interface Manifest {
  digest: Digest;
  mediaType: string;
  size: number;
  text: string;
}

interface Memory {
  manifests: Map<string, { manifest: Manifest; until: number }>;
  /** For each repository, the number of manifests that were read ahead since the last one that was pulled by digest. */
  unused: Map<RepositoryName, number>;
  /** The number of deletions by this isolate. */
  deletions: number;
}

/** The maximum number of manifests that an isolate remembers. A document in the database has 128 KiB at most. */
const MANIFESTS_MAX = 50;
/**
 * The number of unused manifests of a repository after which a HEAD does not read ahead. A program that watches a tag sends a
 * HEAD every few minutes, and would otherwise read the rows of all layers each time.
 */
const UNUSED_MAX = 4;
const REPOSITORIES_MAX = 1000;

const memoryOf = perDatabase((): Memory => ({ manifests: new Map(), unused: new Map(), deletions: 0 }));

const keyOf = (repository: RepositoryName, digest: Digest) => `${repository} ${digest}`;

/**
 * Call this before a HEAD reads a manifest. Returns a function that remembers what was read, unless this isolate has deleted
 * content meanwhile. Its parameter `asOf` is the time as of which the manifest was read, in milliseconds since the epoch.
 * Returns `null` if a HEAD should not read the manifest itself.
 */
export function beginReadingAhead(
  env: Pick<Env, 'DB'> & Vars,
  repository: RepositoryName,
): ((manifest: Manifest, asOf: number) => void) | null {
  const memory = memoryOf(env);
  const { deletions, manifests, unused } = memory;
  const before = unused.get(repository) ?? 0;
  if (settings(env).blobCacheSeconds === 0 || before >= UNUSED_MAX) return null;
  removeOldest(unused, REPOSITORIES_MAX);
  unused.set(repository, before + 1);
  return (manifest, asOf) => {
    if (memory.deletions !== deletions) return;
    removeOldest(manifests, MANIFESTS_MAX);
    manifests.set(keyOf(repository, manifest.digest), { manifest, until: asOf + settings(env).blobCacheSeconds * 1000 });
  };
}

/** Makes room for one entry. */
function removeOldest(map: Map<string, unknown>, most: number): void {
  const [oldest] = map.keys();
  if (oldest !== undefined && map.size >= most) map.delete(oldest);
}

/** Returns the manifest for a pull by its digest, or `null` if it is not remembered. */
export function knownManifest(env: Pick<Env, 'DB'>, repository: RepositoryName, digest: Digest, now: number): Manifest | null {
  const { manifests, unused } = memoryOf(env);
  unused.delete(repository);
  const found = manifests.get(keyOf(repository, digest));
  return found && now < found.until ? found.manifest : null;
}

/** Forgets all manifests. Call this after each deletion of manifests, also if its answer was lost. */
export function forgetManifests(env: Pick<Env, 'DB'>): void {
  distrustReplicas(env);
  const memory = memoryOf(env);
  memory.deletions++;
  memory.manifests.clear();
}
