/** Pages of the images of a repository, in the order of their digests. The rows that are read are in proportion to the page. */
import { type Database, newBatch } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import { isIndexMediaType } from '../../oci/manifest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { SCANNED_IMAGES_MAX } from '../../vocabulary/images.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { contentSize, ENTRIES_MAX } from './facts.ts';

/** The images of a list: those with a tag, those without, or both. */
export type Tagged = 'tagged' | 'untagged' | 'any';

/** A place in a list. `tag` is '' behind an image as a whole. */
export interface ImagePlace {
  digest: string;
  tag: string;
}

/** An image, once for each of its tags. `tag` is `null` for an image without a tag. */
export interface ImageId {
  digest: Digest;
  tag: Tag | null;
}

interface ListQuery {
  tagged: Tagged;
  /** The place behind which the page begins; `null` means the beginning. */
  after: ImagePlace | null;
  limit: number;
}

const MANIFESTS = `FROM manifests m WHERE m.repository_id = ${REPOSITORY_ID} AND m.object_key IS NOT ''`;
const SCANNED = `SELECT m.repository_id, m.digest ${MANIFESTS} AND m.digest > :digest ORDER BY m.digest`;

/** SQL: images without a tag among the next `SCANNED_IMAGES_MAX`. */
const UNTAGGED = `SELECT s.digest FROM (${SCANNED} LIMIT ${SCANNED_IMAGES_MAX}) s WHERE NOT EXISTS (
    SELECT 1 FROM tags t INDEXED BY tags_by_digest WHERE t.repository_id = s.repository_id AND t.digest = s.digest)`;

/** SQL: the digest up to which images without a tag were looked for. No row if that is the end. */
const LAST_SCANNED = `SELECT digest FROM (${SCANNED} LIMIT 1 OFFSET ${SCANNED_IMAGES_MAX - 1})`;

/** SQL of the lists of image ids, without the limit. */
const IDS: Record<Tagged, string> = {
  tagged: `SELECT t.digest, t.name AS tag FROM tags t INDEXED BY tags_by_digest
    WHERE t.repository_id = ${REPOSITORY_ID} AND (t.digest, t.name) > (:digest, :tag) ORDER BY t.digest, t.name`,
  untagged: `SELECT digest, NULL AS tag FROM (${UNTAGGED})`,
  any: `SELECT m.digest, t.name AS tag FROM manifests m
    LEFT JOIN tags t INDEXED BY tags_by_digest ON t.repository_id = m.repository_id AND t.digest = m.digest
      AND t.name > iif(m.digest = :digest, :tag, '')
    WHERE m.repository_id = ${REPOSITORY_ID} AND m.object_key IS NOT '' AND m.digest >= :digest
      AND (m.digest > :digest OR t.name IS NOT NULL)
    ORDER BY m.digest, t.name`,
};

/** SQL of the lists of digests. A digest with many tags is found with one look at the index. */
const DIGESTS: Record<Tagged, string> = {
  tagged: `WITH RECURSIVE found(digest) AS (
      SELECT min(digest) FROM tags INDEXED BY tags_by_digest WHERE repository_id = ${REPOSITORY_ID} AND digest > :digest
      UNION ALL SELECT (SELECT min(t.digest) FROM tags t INDEXED BY tags_by_digest
        WHERE t.repository_id = ${REPOSITORY_ID} AND t.digest > found.digest) FROM found WHERE found.digest IS NOT NULL
      LIMIT :rows)
    SELECT digest, NULL AS tag FROM found WHERE digest IS NOT NULL`,
  untagged: IDS.untagged,
  any: `SELECT m.digest, NULL AS tag ${MANIFESTS} AND m.digest > :digest ORDER BY m.digest`,
};

interface Listed {
  items: ImageId[];
  next: ImagePlace | null;
}

/** Lists images once for each of their tags. @throws repository-unknown */
export function listImageIds(env: Database, repository: RepositoryName, query: ListQuery): Promise<Listed> {
  return list(env, repository, IDS[query.tagged], query);
}

/** Lists the digests of images, with `tag` always `null`. @throws repository-unknown */
export function listDigests(env: Database, repository: RepositoryName, query: ListQuery): Promise<Listed> {
  return list(env, repository, DIGESTS[query.tagged], query);
}

async function list(env: Database, repository: RepositoryName, sql: string, query: ListQuery): Promise<Listed> {
  const { tagged, after, limit } = query;
  const parameters = { repository, digest: after?.digest ?? '', tag: after?.tag ?? '', rows: limit + 1 };
  const batch = newBatch(env);
  const existence = batch.query('SELECT 1 FROM repositories WHERE name = :repository', { repository });
  const page = batch.query<ImageId>(`${sql} LIMIT :rows`, parameters);
  const scanned = tagged === 'untagged' ? batch.query<{ digest: string }>(LAST_SCANNED, parameters) : null;
  const results = await batch.commit();
  if (results.first(existence) === null) throw new Refusal('repository-unknown');
  const all = results.of(page);
  const items = all.slice(0, limit);
  const last = items.at(-1);
  if (all.length > limit && last) return { items, next: { digest: last.digest, tag: last.tag ?? '' } };
  const rest = scanned && results.first(scanned);
  return { items, next: rest ? { digest: rest.digest, tag: '' } : null };
}

export interface DescribedImage {
  digest: Digest;
  mediaType: string;
  /** The media type of the config, or else the artifact type of the document; `null` if there is neither. */
  artifactMediaType: string | null;
  /** The number of bytes of config and layers; those of the largest image of an index. `null` if it is not known. */
  size: number | null;
  /** The number of seconds since 1970-01-01 UTC. */
  pushedAt: number;
  /** The number of days since 1970-01-01 UTC. `null` if the image was never pulled. */
  lastPulledOn: number | null;
  subject: Digest | null;
  tags: Tag[];
}

/** The maximum number of tags of one image, and of all images of an answer together. */
const TAGS_MAX = 1000;
const TAGS_IN_ALL = 20_000;

/** SQL on manifest `m`: the size of the largest image that it lists. */
const LARGEST = `(SELECT max(${contentSize('c')}) FROM (
    SELECT value ->> 'digest' AS digest FROM json_each(m.content, '$.manifests') LIMIT ${ENTRIES_MAX}) e
  CROSS JOIN manifests c ON c.repository_id = m.repository_id AND c.digest = e.digest)`;

/** Describes images, in the order of `digests`. Leaves out those that do not exist. */
export async function describeImages(env: Database, repository: RepositoryName, digests: Digest[]): Promise<DescribedImage[]> {
  type Row = Omit<DescribedImage, 'tags'> & { largest: number | null; tags: string };
  const tags = Math.min(TAGS_MAX, Math.floor(TAGS_IN_ALL / Math.max(1, digests.length)));
  const { results } = await prepare(
    env,
    `SELECT m.digest, m.media_type AS mediaType, m.pushed_at AS pushedAt, m.subject, ${contentSize('m')} AS size,
       coalesce(m.content ->> '$.config.mediaType', nullif(m.artifact_type, '')) AS artifactMediaType, ${LARGEST} AS largest,
       (SELECT max(u.day) FROM pulls u WHERE u.repository_id = m.repository_id AND u.digest = m.digest) AS lastPulledOn,
       (SELECT json_group_array(name) FROM (SELECT t.name FROM tags t INDEXED BY tags_by_digest
         WHERE t.repository_id = m.repository_id AND t.digest = m.digest LIMIT :tags)) AS tags
     FROM json_each(:digests) d
     CROSS JOIN manifests m ON m.repository_id = ${REPOSITORY_ID} AND m.digest = d.value AND m.object_key IS NOT ''`,
    { repository, digests, tags },
  ).all<Row>();
  return results.map(({ largest, tags: names, ...row }) => ({
    ...row,
    size: isIndexMediaType(row.mediaType) ? (largest ?? row.size) : row.size,
    tags: JSON.parse(names) as Tag[],
  }));
}
