/** SQL that counts what an image shares with other manifests of its repository, and what it alone keeps. */
import { SHARED_MAX } from '../../vocabulary/images.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { INDEX_TYPES, isForeign, partsOf } from './facts.ts';

/** Blobs of an image that are counted. */
const COUNTED_MAX = 128;
/** The approximate number of rows that are read to count them. */
const COUNTED_ROWS = 150;
/** Images of an index, and blobs of them, whose bytes are summed. */
const SUMMED_IMAGES_MAX = 64;
const SUMMED_BLOBS_MAX = 1000;

export const found = (digest: string) => `FROM manifests m WHERE m.repository_id = ${REPOSITORY_ID} AND m.digest = ${digest}
  AND m.object_key IS NOT ''`;

export interface SharedPart {
  digest: string;
  size: number;
  /** Manifests of the repository that reference the blob, up to `most`. */
  sharedBy: number;
  most: number;
}

/** SQL on manifest `m`: manifests that are counted for a blob. The more blobs there are, the fewer. */
const MOST = `max(2, min(${SHARED_MAX}, ${COUNTED_ROWS} / max(1, coalesce(json_array_length(m.content, '$.layers'), 0))))`;

/** SQL: the layers and the config of an image as `SharedPart`s. One that the image has twice may be there twice. */
export const sharing = (digest: string) => `SELECT j.value ->> 'digest' AS digest, j.value ->> 'size' AS size,
    (SELECT ${MOST} ${found(digest)}) AS most,
    (SELECT count(*) FROM (SELECT 1 FROM manifest_references x WHERE x.repository_id = ${REPOSITORY_ID}
      AND x.child = j.value ->> 'digest' LIMIT (SELECT ${MOST} ${found(digest)}))) AS sharedBy
  FROM json_each((SELECT json_insert(coalesce(m.content -> '$.layers', '[]'), '$[#]', m.content -> '$.config')
    ${found(digest)})) j
  WHERE j.value ->> 'digest' IS NOT NULL AND NOT (${isForeign('j.value')}) LIMIT ${COUNTED_MAX}`;

/** The bytes of the blobs that only this manifest references. `null` if not all of these blobs were counted. */
export function bytesAloneIn(parts: readonly SharedPart[]): number | null {
  if (parts.length >= COUNTED_MAX) return null;
  const alone = parts.filter(({ sharedBy }) => sharedBy === 1).map(({ digest, size }) => [digest, size] as const);
  return [...new Map(alone).values()].reduce((sum, size) => sum + size, 0);
}

/**
 * SQL: of an index `inAll`, the bytes of all blobs of the manifests that it lists, and `alone`, the bytes of those of them that
 * no other manifest needs. There is no row for other manifests, if the manifests or blobs are too many to count, or if a
 * document is in R2.
 */
export const indexSums = (digest: string) => `WITH own AS MATERIALIZED (
    SELECT m.digest ${found(digest)} AND m.media_type IN (${INDEX_TYPES})
    UNION SELECT value ->> 'digest' FROM (SELECT m.content ${found(digest)} AND m.media_type IN (${INDEX_TYPES})) c,
      json_each(c.content, '$.manifests')
    LIMIT ${SUMMED_IMAGES_MAX + 1}),
  parts AS MATERIALIZED (
    SELECT j.value ->> 0 AS digest, max(j.value ->> 1) AS size FROM own
    CROSS JOIN manifests p ON p.repository_id = ${REPOSITORY_ID} AND p.digest = own.digest
    CROSS JOIN json_each((SELECT json_group_array(json_array(digest, size))
      FROM (${partsOf('p', 'UNION ALL')}) WHERE digest IS NOT NULL)) j
    GROUP BY 1 LIMIT ${SUMMED_BLOBS_MAX + 1})
  SELECT sum(size) AS inAll, sum(size) FILTER (WHERE alone) AS alone FROM (
    SELECT size, NOT EXISTS (SELECT 1 FROM manifest_references x WHERE x.repository_id = ${REPOSITORY_ID}
      AND x.child = parts.digest AND x.parent NOT IN (SELECT digest FROM own)) AS alone
    FROM parts)
  WHERE (SELECT count(*) FROM own) <= ${SUMMED_IMAGES_MAX} AND (SELECT count(*) FROM parts) <= ${SUMMED_BLOBS_MAX}
    AND NOT EXISTS (SELECT 1 FROM own CROSS JOIN manifests p ON p.repository_id = ${REPOSITORY_ID} AND p.digest = own.digest
      WHERE p.content IS NULL)
  HAVING count(*) > 0`;
