/**
 * Remembers in the memory of this isolate the manifests that clients have just looked up by HEAD or pulled by a tag. Container
 * clients send HEAD with a tag, and then GET with the digest in its answer, so the GET takes no database call. As in
 * `known-blobs.ts`, only facts about stored content are remembered, never who may read it. The database is asked for each pull
 * by a tag, but it need not send again what this isolate remembers. A deletion by this isolate takes effect at once; one by
 * another isolate after `BLOB_CACHE_SECONDS`.
 */
import { type Env, settings, type Vars } from '../env.ts';
import { distrustReplicas } from '../events/replicas.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Tag } from '../oci/reference.ts';
import { perDatabase } from '../telemetry.ts';

export interface Manifest {
  digest: Digest;
  mediaType: string;
  size: number;
  text: string;
}

interface Memory {
  manifests: Map<string, { manifest: Manifest; until: number }>;
  /** The digests that tags named when they were last pulled. A tag may have moved since, so the database must be asked. */
  lastPulled: Map<string, { digest: Digest; until: number }>;
  /** For each repository, the number of manifests that HEAD requests stored here since the last GET by digest. */
  unused: Map<RepositoryName, number>;
  /** The number of deletions by this isolate up to now. */
  deletions: number;
}

/** The maximum number of manifests in memory. A document that is stored in D1 has at most 128 KiB. */
const MANIFESTS_MAX = 50;
/**
 * After this number of HEAD requests without a GET, a HEAD request no longer reads the manifest of the repository. A program
 * that watches a tag sends HEAD every few minutes, and each time the rows of all layers would be read for nothing.
 */
const UNUSED_MAX = 4;
const REPOSITORIES_MAX = 1000;
/**
 * The part of `BLOB_CACHE_SECONDS` in which a pull by a tag need not read the manifest and its blobs again. The blobs are
 * remembered for the rest of that time, which is long enough for the pulls of the layers that follow.
 */
const LAST_PULLED_PART = 1 / 4;

const memoryOf = perDatabase((): Memory => ({ manifests: new Map(), lastPulled: new Map(), unused: new Map(), deletions: 0 }));

const keyOf = (repository: RepositoryName, reference: Digest | Tag) => `${repository} ${reference}`;

/**
 * Must be called before a HEAD request reads a manifest. Returns a function that stores the manifest in memory, unless this
 * isolate deleted content in between. The parameter `asOf` of that function is the time at which the rows were current, in
 * milliseconds since the epoch. Returns `null` if the HEAD request should not read the document.
 */
export function beginReadingAhead(
  env: Pick<Env, 'DB'> & Vars,
  repository: RepositoryName,
): ((manifest: Manifest, asOf: number) => void) | null {
  const { unused } = memoryOf(env);
  const before = unused.get(repository) ?? 0;
  if (settings(env).blobCacheSeconds === 0 || before >= UNUSED_MAX) return null;
  removeOldest(unused, REPOSITORIES_MAX);
  unused.set(repository, before + 1);
  return beginReadingManifest(env, repository, null);
}

/**
 * Call this before a manifest is read. Returns a function that remembers it, as that of `beginReadingAhead` does.
 * @param tag the tag of a pull; `null` if the manifest is read for another reason
 */
export function beginReadingManifest(
  env: Pick<Env, 'DB'> & Vars,
  repository: RepositoryName,
  tag: Tag | null,
): (manifest: Manifest, asOf: number) => void {
  const memory = memoryOf(env);
  const { deletions, manifests, lastPulled } = memory;
  const lifetime = settings(env).blobCacheSeconds * 1000;
  return (manifest, asOf) => {
    if (memory.deletions !== deletions || lifetime === 0) return;
    removeOldest(manifests, MANIFESTS_MAX);
    manifests.set(keyOf(repository, manifest.digest), { manifest, until: asOf + lifetime });
    if (tag === null) return;
    removeOldest(lastPulled, MANIFESTS_MAX);
    lastPulled.set(keyOf(repository, tag), { digest: manifest.digest, until: asOf + lifetime * LAST_PULLED_PART });
  };
}

/** Removes the oldest entry if the map has `most` entries, so that a new one fits. */
function removeOldest(map: Map<string, unknown>, most: number): void {
  const [oldest] = map.keys();
  if (oldest !== undefined && map.size >= most) map.delete(oldest);
}

/** Returns a manifest from memory for a GET by digest, or `null` if memory does not have it. */
export function knownManifest(env: Pick<Env, 'DB'>, repository: RepositoryName, digest: Digest, now: number): Manifest | null {
  const { manifests, unused } = memoryOf(env);
  unused.delete(repository);
  const found = manifests.get(keyOf(repository, digest));
  return found && now < found.until ? found.manifest : null;
}

/**
 * Returns the manifest that the tag named when it was last pulled, or `null` if it is not remembered. Only the database knows
 * whether the tag still names it.
 */
export function lastPulledManifest(env: Pick<Env, 'DB'>, repository: RepositoryName, tag: Tag, now: number): Manifest | null {
  const { manifests, lastPulled } = memoryOf(env);
  const last = lastPulled.get(keyOf(repository, tag));
  if (!last || now >= last.until) return null;
  return manifests.get(keyOf(repository, last.digest))?.manifest ?? null;
}

/** Removes all manifests from memory. Must be called after each deletion of manifests, even if the answer of D1 was lost. */
export function forgetManifests(env: Pick<Env, 'DB'>): void {
  distrustReplicas(env);
  const memory = memoryOf(env);
  memory.deletions++;
  memory.manifests.clear();
  memory.lastPulled.clear();
}
