/** Lists the manifests of a repository by digest: all of them, or those that no tag names. One query for a page. */
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
  /** True: only manifests that no tag names. */
  untagged: boolean;
  /** The digest behind which the page begins; '': the beginning. */
  after: string;
  limit: number;
}

export interface ListedImage extends ManifestFacts {
  digest: Digest;
  /** Seconds since the epoch. */
  pushedAt: number;
  /** The first ones by name. */
  tags: Tag[];
  /** The change by which the first of its tags came to name it; `null`: it has no tag, or none whose history is kept. */
  tagged: Tagging | null;
  subject: Digest | null;
  /** True if an index lists it. */
  isListed: boolean;
}

/** Tags of one manifest that are shown. */
const TAGS_MAX = 10;

const TAGS = (m: string) =>
  `tags t INDEXED BY tags_by_digest WHERE t.repository_id = ${m}.repository_id AND t.digest = ${m}.digest`;

/** SQL columns of an `ImageRow` on manifest `m`. */
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

/** SQL: `hits` are the manifests of the page, `rest` the digest up to which they were looked at, if that is not the end. */
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
 * @returns next the digest where the next page begins; `null`: there is none. A page of untagged images may be short before
 *   the end.
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
