/** Layers of a repository, as the ECR API looks them up: several at once, or one that an image must reference. */
import { settings, type Vars } from '../env.ts';
import { type Database, newBatch } from '../events/batch.ts';
import { prepare } from '../events/sql.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { REPOSITORY_ID } from './repositories/repositories.ts';

const HELD = (digests: string) => `${digests}
  CROSS JOIN repository_blobs l ON l.digest = d.value AND l.repository_id = r.id
  CROSS JOIN blobs b ON b.digest = l.digest AND b.missing_since IS NULL`;

/**
 * Returns the sizes of those blobs that the repository holds.
 * @param isPusher true if the caller may push, and then does not upload what is here. The blobs get a lease (invariant 8)
 * @throws repository-unknown
 */
export async function statLayers(
  env: Database & Vars,
  repository: RepositoryName,
  digests: Digest[],
  { isPusher }: { isPusher: boolean },
): Promise<Map<Digest, number>> {
  const parameters = { repository, digests, lease: settings(env).leaseSeconds };
  const batch = newBatch(env);
  if (isPusher) {
    batch.run(
      `UPDATE repository_blobs SET leased_until = unixepoch() + :lease
       WHERE repository_id = ${REPOSITORY_ID} AND digest IN (SELECT value FROM json_each(:digests))
         AND leased_until < unixepoch() + :lease / 2`,
      parameters,
    );
  }
  const existence = batch.query('SELECT 1 FROM repositories WHERE name = :repository', parameters);
  const held = batch.query<{ digest: Digest; size: number }>(
    `SELECT b.digest, b.size FROM repositories r ${HELD('CROSS JOIN json_each(:digests) d')} WHERE r.name = :repository`,
    parameters,
  );
  const results = await batch.commit();
  if (results.first(existence) === null) throw new Refusal('repository-unknown');
  return new Map(results.of(held).map(({ digest, size }) => [digest, size]));
}

/**
 * Requires a blob that an image of the repository references.
 * @throws repository-unknown; blob-unknown; not-found if no image references the blob
 */
export async function requireLayer(env: Database, repository: RepositoryName, digest: Digest): Promise<void> {
  const row = await prepare(
    env,
    `SELECT EXISTS (SELECT 1 FROM (SELECT :digest AS value) ${HELD('d')}) AS held,
       EXISTS (SELECT 1 FROM manifest_references x WHERE x.repository_id = r.id AND x.child = :digest) AS referenced
     FROM repositories r WHERE r.name = :repository`,
    { repository, digest },
  ).first<{ held: number; referenced: number }>();
  if (row === null) throw new Refusal('repository-unknown');
  if (row.held === 0) throw new Refusal('blob-unknown', { detail: { digest } });
  if (row.referenced === 0)
    throw new Refusal('content-gone', { message: 'no image references this layer', detail: { digest } });
}
