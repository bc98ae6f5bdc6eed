/** What documents in the trash point at. The database reads those in their rows by itself; those in the bucket are told to it. */
import type { Digest } from '../../oci/digest.ts';
import { MANIFEST_MEDIA_TYPES } from '../../oci/manifest.ts';
import type { Described } from '../manifests/references.ts';

/** Of a document that is kept in the bucket. */
export interface Outside {
  parent: Digest;
  references: Described[];
}

const OF_DOCUMENTS = `FROM json_each(?2) s CROSS JOIN trashed_manifests d ON d.repository_id = ?1 AND d.digest = s.value`;

/**
 * A SELECT of what the manifests ?2 (JSON) of the trash of repository ?1 point at; ?3: those outside of it, a JSON list of
 * `Outside`. A list in a document may be `null`: json_each answers that with one row, which is not an object.
 */
export const REFERENCES = `SELECT d.digest AS parent, d.content ->> '$.config.digest' AS child, 'config' AS list,
      d.content ->> '$.config.mediaType' AS type ${OF_DOCUMENTS} AND d.content ->> '$.config.digest' IS NOT NULL
  UNION SELECT d.digest, r.value ->> 'digest', 'layers', r.value ->> 'mediaType' ${OF_DOCUMENTS} CROSS JOIN json_each(d.content, '$.layers') r ON r.type = 'object'
  UNION SELECT d.digest, r.value ->> 'digest', 'manifests', r.value ->> 'mediaType' ${OF_DOCUMENTS} CROSS JOIN json_each(d.content, '$.manifests') r ON r.type = 'object'
  UNION SELECT o.value ->> 'parent', r.value ->> 'child', r.value ->> 'list', r.value ->> 'type'
    FROM json_each(?3) o CROSS JOIN json_each(o.value, '$.references') r`;

/** What an index lists by one of these types is a manifest; anything else is a blob. */
const TYPES = MANIFEST_MEDIA_TYPES.map((type) => `'${type}'`).join();

/**
 * Of those, the ones that lead to nothing in the repository.
 * @param table where manifests are looked for: one counts where its own type is the one that an index gives it
 */
export const unmet = (
  table: 'manifests' | 'trashed_manifests',
) => `SELECT x.parent, x.child, x.list, x.type FROM (${REFERENCES}) x
  WHERE NOT iif(x.list = 'manifests' AND x.type IN (${TYPES}),
    EXISTS (SELECT 1 FROM ${table} t WHERE t.repository_id = ?1 AND t.digest = x.child AND t.media_type = x.type),
    EXISTS (SELECT 1 FROM repository_blobs l JOIN blobs b ON b.digest = l.digest AND b.missing_since IS NULL
      WHERE l.digest = x.child AND l.repository_id = ?1))`;
