/** Manifests of a repository: stat and get. `put.ts` brings them, `deletion.ts` takes them away. */
import { type Env, settings, type Vars } from '../../env.ts';
import { commit, type Database } from '../../events/batch.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Reference } from '../../oci/reference.ts';
import { readText } from '../../storage/objects.ts';
import { report } from '../../telemetry.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { markManifests } from '../faults.ts';
import { HERE } from '../repositories/repositories.ts';

type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'>;

export interface ManifestHead {
  digest: Digest;
  mediaType: string;
  size: number;
}

/** One statement for both kinds of reference. A document whose object is known to be gone (an empty key) is not there. */
function locate(reference: Reference): string {
  const named = reference.tag
    ? 'JOIN tags t ON t.repository_id = r.id AND t.name = ?2 JOIN manifests m ON m.repository_id = r.id AND m.digest = t.digest'
    : 'JOIN manifests m ON m.repository_id = r.id AND m.digest = ?2';
  return `FROM repositories r ${named} AND m.object_key IS NOT '' WHERE r.name = ?1`;
}

interface HeadRow {
  digest: Digest;
  media_type: string;
  size: number;
}

/** @throws manifest-unknown */
export async function statManifest(env: Database, repository: RepositoryName, reference: Reference): Promise<ManifestHead> {
  const row = await env.DB.prepare(`SELECT m.digest, m.media_type, m.size ${locate(reference)}`)
    .bind(repository, reference.tag ?? reference.digest)
    .first<HeadRow>();
  if (!row) throw unknownManifest(reference);
  return { digest: row.digest, mediaType: row.media_type, size: row.size };
}

/**
 * For somebody who may push and will skip the manifest if it is here: takes a lease (invariant 8), so that no rule takes it for
 * being untagged before what shall name it has come. @throws manifest-unknown
 */
export async function statManifestForPush(
  env: Database & Vars,
  repository: RepositoryName,
  digest: Digest,
): Promise<ManifestHead> {
  const lease = settings(env).leaseSeconds;
  const [, found] = await env.DB.batch<HeadRow>([
    env.DB.prepare(
      `UPDATE manifests SET leased_until = unixepoch() + ?3
       WHERE repository_id = ${HERE} AND digest = ?2 AND leased_until < unixepoch() + ?3 / 2`,
    ).bind(repository, digest, lease),
    env.DB.prepare(`SELECT m.digest, m.media_type, m.size ${locate({ digest })}`).bind(repository, digest),
  ]);
  const row = found?.results[0];
  if (!row) throw unknownManifest({ digest });
  return { digest: row.digest, mediaType: row.media_type, size: row.size };
}

/** end-3. @throws manifest-unknown */
export async function getManifest(
  env: Stores,
  repository: RepositoryName,
  reference: Reference,
): Promise<ManifestHead & { text: string }> {
  const row = await env.DB.prepare(`SELECT m.digest, m.media_type, m.size, m.content, m.object_key ${locate(reference)}`)
    .bind(repository, reference.tag ?? reference.digest)
    .first<HeadRow & { content: string | null; object_key: string | null }>();
  if (!row) throw unknownManifest(reference);
  const text = row.content ?? (await readText(env, row.object_key ?? ''));
  if (text === null) {
    await markMissing(env, repository, row.digest, row.object_key);
    throw unknownManifest(reference);
  }
  return { digest: row.digest, mediaType: row.media_type, size: row.size, text };
}

/** From then on it counts as absent, so that the next push brings it again instead of skipping it. */
async function markMissing(env: Database, repository: RepositoryName, digest: Digest, objectKey: string | null): Promise<void> {
  report('manifest.object-missing', { digest, repository, object: objectKey });
  if (objectKey) await commit(env, markManifests(env, [{ key: objectKey, digest, reason: 'missing' }]));
}

export function unknownManifest(reference: Reference): Refusal {
  return new Refusal('manifest-unknown', { detail: reference });
}
