/** Lists the manifests of a repository by digest: all of them, or only untagged ones. A page takes one query. */
import type { Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { SCANNED_IMAGES_MAX } from '../../vocabulary/images.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { FACTS, type FactsRow, factsOf, type ManifestFacts } from './facts.ts';
import { lastTagging, type Tagging, taggingOf } from './tagging.ts';

interface ImageListQuery {
  /** True to list only manifests that no tag names. */
  untagged: boolean;
  /** The digest after which the page begins, or the empty string for the first page. */
  after: string;
  limit: number;
}

export interface ListedImage extends ManifestFacts {
  digest: Digest;
  /** In seconds since the epoch. */
  pushedAt: number;
  /** The first tags of the manifest, by name. */
  tags: Tag[];
  /**
   * The change that made the first of these tags name the manifest. `null` if the manifest has no tag, or if the tag history
   * does not have the change.
   */
  tagged: Tagging | null;
  subject: Digest | null;
  /** True if an index references the manifest. */
  isListed: boolean;
}

/** The maximum number of tags shown for one manifest. */
const TAGS_MAX = 10;

const TAGS = (m: string) =>
  `tags t INDEXED BY tags_by_digest WHERE t.repository_id = ${m}.repository_id AND t.digest = ${m}.digest`;

/** SQL columns on manifest `m` that make up an `ImageRow`. */
export const IMAGE = `m.digest, m.pushed_at AS pushedAt, m.subject,
  (SELECT json_group_array(name) FROM (SELECT t.name FROM ${TAGS('m')} LIMIT ${TAGS_MAX})) AS tags,
  ${lastTagging('m.repository_id', `(SELECT t.name FROM ${TAGS('m')} LIMIT 1)`)} AS tagged,
  EXISTS (SELECT 1 FROM manifest_references x WHERE x.repository_id = m.repository_id AND x.child = m.digest) AS isListed,
  ${FACTS}`;

export interface ImageRow extends FactsRow {
  pushedAt: number;
  subject: Digest | null;
  tags: string;
  tagged: string | null;
  isListed: number;
}

export function imageOf(row: ImageRow): ListedImage {
  const { digest, pushedAt, subject, tags, tagged, isListed } = row;
  return {
    ...factsOf(row),
    ...{ digest, pushedAt, subject, isListed: isListed === 1 },
    tags: JSON.parse(tags) as Tag[],
    tagged: taggingOf(tagged),
  };
}

const SCANNED = `SELECT m.repository_id, m.digest FROM manifests m
  WHERE m.repository_id = ${REPOSITORY_ID} AND m.digest > :after AND m.object_key IS NOT '' ORDER BY m.digest`;

/**
 * Returns SQL queries of a page. `hits` yields the manifests of the page. `rest` yields the digest at which the search stopped
 * early, or NULL.
 */
function pageIn(untagged: boolean): { hits: string; rest: string } {
  if (!untagged) return { hits: `${SCANNED} LIMIT :rows`, rest: 'NULL' };
  return {
    hits: `SELECT s.repository_id, s.digest FROM (${SCANNED} LIMIT ${SCANNED_IMAGES_MAX}) s
      WHERE NOT EXISTS (SELECT 1 FROM ${TAGS('s')}) LIMIT :rows`,
    rest: `iif((SELECT count(*) FROM hits) < :rows,
      (SELECT digest FROM (${SCANNED} LIMIT 1 OFFSET ${SCANNED_IMAGES_MAX - 1})), NULL)`,
  };
}

/**
 * @returns `next`, the digest after which the next page begins, or `null` at the end. A page of untagged images may be short
 * although more pages follow
 * @throws repository-unknown
 */
export async function listImages(
  env: Database,
  repository: RepositoryName,
  { untagged, after, limit }: ImageListQuery,
): Promise<{ items: ListedImage[]; next: string | null }> {
  const { hits, rest } = pageIn(untagged);
  const { results } = await prepare(
    env,
    `WITH hits AS MATERIALIZED (${hits})
     SELECT ${rest} AS rest, ${IMAGE} FROM repositories r LEFT JOIN hits h
     LEFT JOIN manifests m ON m.repository_id = h.repository_id AND m.digest = h.digest
     WHERE r.name = :repository ORDER BY h.digest`,
    { repository, after, rows: limit + 1 },
  ).all<Omit<ImageRow, 'digest'> & { digest: Digest | null; rest: string | null }>();
  const [first] = results;
  if (first === undefined) throw new Refusal('repository-unknown');
  const all = results.flatMap(({ digest, ...row }) => (digest === null ? [] : imageOf({ ...row, digest })));
  const items = all.slice(0, limit);
  return { items, next: all.length > limit ? (items.at(-1)?.digest ?? null) : first.rest };
}
