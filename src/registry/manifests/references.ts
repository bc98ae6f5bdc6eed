/** Checks the references of a manifest that is put. */
import type { Batch, Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Manifest } from '../../oci/manifest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';

interface Content {
  repository: RepositoryName;
  digest: Digest;
  manifest: Manifest;
}

/**
 * SQL query: the references in `:references` that the repository does not contain, or whose descriptor states another size or
 * media type than the stored content has.
 */
const UNMET_REFERENCES = `SELECT value ->> 'digest' AS digest, coalesce(b.size, m.size) IS NOT NULL AS present
  FROM json_each(:references)
  LEFT JOIN repository_blobs l ON value ->> 'kind' = 'blob' AND l.digest = value ->> 'digest'
    AND l.repository_id = ${REPOSITORY_ID}
  LEFT JOIN blobs b ON b.digest = l.digest AND b.missing_since IS NULL
  LEFT JOIN manifests m ON value ->> 'kind' = 'manifest' AND m.digest = value ->> 'digest'
    AND m.repository_id = ${REPOSITORY_ID}
  WHERE (b.digest IS NULL AND m.digest IS NULL AND value ->> 'required')
     OR coalesce(b.size, m.size) <> value ->> 'size' OR m.media_type <> value ->> 'mediaType'`;

/** SQL query: yields a row if the manifest was pushed before with another media type. */
const OTHER_MEDIA_TYPE = `SELECT media_type FROM manifests
  WHERE repository_id = ${REPOSITORY_ID} AND digest = :digest AND media_type <> :mediaType`;

/**
 * Returns the references as JSON for one SQL parameter. The media types of blobs are left out, because the database stores
 * media types of manifests only. So even the longest list fits into D1's 2 MB.
 */
export function listOf({ references }: Manifest): string {
  return JSON.stringify(references.map((one) => (one.kind === 'blob' ? { ...one, mediaType: undefined } : one)));
}

/**
 * Adds preconditions to the batch: all references of the manifest are valid (invariant 2). Otherwise the batch fails with
 * `references-unknown` or `manifest-invalid`.
 */
export function requireContent(
  batch: Batch,
  env: Database,
  { repository, digest, manifest }: Content,
  references: string,
): void {
  const parameters = { repository, digest, mediaType: manifest.mediaType, references };
  const unmet = async (present: 0 | 1) => {
    const sql = `SELECT digest FROM (${UNMET_REFERENCES}) WHERE present = :present`;
    return (await prepare(env, sql, { ...parameters, present }).all<{ digest: Digest }>()).results;
  };
  batch.requireNone(
    `SELECT iif(present, 'manifest-invalid', 'references-unknown') FROM (${UNMET_REFERENCES}) ORDER BY present LIMIT 1`,
    parameters,
    {
      'references-unknown': async () => {
        const absent = await unmet(0);
        return absent.length > 0 ? { detail: absent } : null;
      },
      'manifest-invalid': async () => {
        const differing = await unmet(1);
        if (differing.length === 0) return { message: 'this content was pushed before with another media type' };
        return { message: 'a descriptor states another size or media type than its content has', detail: differing };
      },
    },
  );
  batch.require('manifest-invalid', `NOT EXISTS (${OTHER_MEDIA_TYPE})`, parameters);
}
