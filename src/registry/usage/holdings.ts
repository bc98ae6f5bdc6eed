/**
 * The usage of a namespace: in total, by kind of content, and how much of it only the trash keeps. In a small registry the
 * content is counted for each request. In a large registry counting would read too many rows, so stored totals are used, which
 * pushes update. A number without a stored total is `null`.
 */
import { type Batch, type Database, newBatch, type Results } from '../../events/batch.ts';
import { repositoriesOf, WARN_PERCENT } from './counting.ts';
import type { Quota } from './quota.ts';
import { stagedOf } from './staged.ts';
import { USAGE_OF_NAMESPACE, type Usage } from './usage.ts';

/**
 * Returns an SQL expression: the digest prefix in a tag's name, `sha256:<first 64 digits>` for `sha256-<first 64 digits>.sig`.
 */
const digestPrefixIn = (name: string) => `substr(${name}, 1, 6) || ':' || substr(${name}, 8, 64)`;

/**
 * Returns an SQL condition: the name of a tag says that its manifest belongs to another manifest of the repository, as the tag
 * of a signature does.
 * @param subjects the tables in which the other manifest is looked up
 */
function isAttached(
  { name, digest, repositoryId }: { name: string; digest: string; repositoryId: string },
  subjects: ('manifests' | 'trashed_manifests')[],
): string {
  const prefix = digestPrefixIn(name);
  // A sha512 digest has 128 digits, but the tag contains only the first 64. All hex digits sort before "g".
  const found = subjects.map(
    (table) => `EXISTS (SELECT 1 FROM ${table} s WHERE s.repository_id = ${repositoryId}
      AND s.digest >= ${prefix} AND s.digest < ${prefix} || 'g' AND s.digest <> ${digest})`,
  );
  return `(length(${name}) >= 71 AND substr(${name}, 1, 7) IN ('sha256-', 'sha512-')
    AND substr(${name}, 72) IN ('', '.sig', '.att', '.sbom') AND (${found.join(' OR ')}))`;
}

/** `null` if there is no stored total and counting would read more rows than one request may read. */
type Count = number | null;

interface Holdings extends Quota {
  bytes: number;
  blobs: number;
  /** The number of bytes in unfinished uploads. */
  staged: number;
  repositories: Count;
  tags: Count;
  manifests: Count;
  trash: { bytes: Count; repositories: Count; tags: Count; manifests: Count };
  /** The time of the last full count, in seconds since the epoch. 0 if there was none. */
  countedAt: number;
}

/** The maximum number of repositories, and of their trash entries, that one request reads. */
const ROWS_MAX = 2000;
/**
 * The maximum number of links, manifests and tags of a registry that is counted for each request. An exact count reads about
 * six rows for each.
 */
const COUNTED_MAX = 5000;

const upTo = (rows: string, max: number) => `(SELECT count(*) FROM (SELECT 1 FROM ${rows} LIMIT ${max + 1}))`;

/**
 * SQL condition: the registry is so small that it can be counted exactly. The condition stops reading rows as soon as it is
 * false.
 */
const CONTENT = ['trash', 'repository_blobs', 'trashed_references'].map((rows) => upTo(rows, COUNTED_MAX)).join(' + ');
const IS_SMALL = `${upTo('repositories', ROWS_MAX)} <= ${ROWS_MAX} AND (SELECT coalesce(sum(tags + manifests), 0) FROM (
    SELECT tags, manifests FROM repository_usage LIMIT ${ROWS_MAX + 1})) <= ${COUNTED_MAX}
  AND ${CONTENT} <= ${COUNTED_MAX}`;

const FEW = `WITH few AS MATERIALIZED (SELECT * FROM (${repositoriesOf('namespace')}) LIMIT ${ROWS_MAX + 1})`;

const SUMS_OF_FEW = `${FEW} SELECT count(*) FILTER (WHERE NOT trashed) AS repositories,
    count(*) FILTER (WHERE trashed) AS trashed,
    coalesce(sum(u.tags) FILTER (WHERE NOT trashed), 0) AS tags,
    coalesce(sum(u.manifests) FILTER (WHERE NOT trashed), 0) AS manifests
  FROM few LEFT JOIN repository_usage u ON u.repository_id = few.id`;

const TRASH_OF_FEW = `${FEW} SELECT count(*) FILTER (WHERE kind = 'tag') AS tags,
    count(*) FILTER (WHERE kind = 'manifest') AS manifests
  FROM (SELECT t.kind FROM few CROSS JOIN trash t ON t.repository_id = few.id AND t.kind IN ('tag', 'manifest')
    WHERE NOT few.trashed LIMIT ${ROWS_MAX + 1})`;

/**
 * Adds queries to the batch that read the stored totals.
 * @returns a function that reads the totals from the results
 */
function readSums(batch: Batch, namespace: string): (results: Results) => Holdings {
  const parameters = { namespace };
  const usage = batch.query<Usage & { version: number }>(USAGE_OF_NAMESPACE, parameters);
  const held = batch.query<Record<'repositories' | 'trashed' | 'tags' | 'manifests', number>>(SUMS_OF_FEW, parameters);
  const inTrash = batch.query<Record<'tags' | 'manifests', number>>(TRASH_OF_FEW, parameters);
  return (results) => {
    const { namespace: _, ...known } = only(results.of(usage));
    const { trashed, ...counts } = only(results.of(held));
    const isWhole = counts.repositories + trashed <= ROWS_MAX;
    const entries = only(results.of(inTrash));
    const few = isWhole && entries.tags + entries.manifests <= ROWS_MAX ? entries : NOT_COUNTED;
    const numbers = isWhole ? counts : { ...NOT_COUNTED, repositories: null };
    return { ...known, ...numbers, trash: { bytes: null, repositories: isWhole ? trashed : null, ...few } };
  };
}

const NOT_COUNTED = { tags: null, manifests: null };

/**
 * SQL: the table `small` has a row only if the registry is small. An exact count begins with this table, so it reads nothing in
 * a large registry.
 */
const OWN = `WITH small AS MATERIALIZED (SELECT 1 WHERE ${IS_SMALL}),
  own AS MATERIALIZED (SELECT o.* FROM small CROSS JOIN (${repositoriesOf('namespace')}) o)`;

/**
 * SQL query: the number of bytes and of blobs. `live` is 0 for a blob that only the trash keeps. Such a blob belongs to a
 * deleted repository, or to a deleted manifest of a repository in which no other manifest references the blob.
 */
const BLOBS = `${OWN} SELECT coalesce(sum(size), 0) AS bytes, count(*) AS blobs, coalesce(sum(iif(live, 0, size)), 0) AS trashed
  FROM (SELECT digest, max(live) AS live FROM (
    SELECT l.digest, NOT own.trashed AND (
        NOT EXISTS (SELECT 1 FROM trashed_references x WHERE x.child = l.digest AND x.repository_id = l.repository_id)
        OR EXISTS (SELECT 1 FROM manifest_references f WHERE f.repository_id = l.repository_id AND f.child = l.digest)) AS live
      FROM small CROSS JOIN repository_blobs l CROSS JOIN own ON own.id = l.repository_id
    UNION ALL SELECT x.child, 0 FROM small CROSS JOIN trashed_references x CROSS JOIN own ON own.id = x.repository_id
  ) GROUP BY digest) CROSS JOIN blobs USING (digest)`;

const MANIFESTS = `${OWN} SELECT coalesce(sum(size), 0) AS bytes, count(*) FILTER (WHERE live) AS manifests,
    coalesce(sum(size) FILTER (WHERE NOT live), 0) AS trashed
  FROM (SELECT m.size, NOT own.trashed AS live FROM own CROSS JOIN manifests m ON m.repository_id = own.id
    UNION ALL SELECT m.size, 0 FROM own CROSS JOIN trashed_manifests m ON m.repository_id = own.id)`;

const TAG = { name: 't.name', digest: 't.digest', repositoryId: 't.repository_id' };
/**
 * SQL conditions: a tag is that of a signature or of another attachment. These tags are not counted, because they name no
 * images.
 */
const ATTACHED = isAttached(TAG, ['manifests']);
const ATTACHED_IN_TRASH = isAttached(TAG, ['manifests', 'trashed_manifests']);

/**
 * SQL query: the numbers of repositories, tags, manifests and trash entries. A repository in the trash counts as one entry,
 * because its content is restored with it.
 */
const ENTRIES = `${OWN} SELECT
    (SELECT count(*) FROM own WHERE NOT trashed) AS repositories,
    (SELECT count(*) FROM own WHERE trashed) AS trashedRepositories,
    (SELECT count(*) FROM own CROSS JOIN tags t ON t.repository_id = own.id WHERE NOT trashed AND NOT ${ATTACHED}) AS tags,
    (SELECT count(*) FROM own CROSS JOIN trash t ON t.repository_id = own.id AND t.kind = 'tag'
      WHERE NOT trashed AND NOT ${ATTACHED_IN_TRASH}) AS trashedTags,
    (SELECT count(*) FROM own CROSS JOIN trash t ON t.repository_id = own.id AND t.kind = 'manifest'
      WHERE NOT trashed) AS trashedManifests`;

const QUOTA = `SELECT max_bytes AS maxBytes, coalesce(warn_percent, ${WARN_PERCENT}) AS warnPercent,
    coalesce(version, 1) AS version,
    unixepoch() AS countedAt, coalesce((SELECT staged FROM (${stagedOf('namespace')})), 0) AS staged
  FROM (SELECT 1) LEFT JOIN usage ON namespace = :namespace`;

type Sums = { bytes: number; trashed: number };
type Entries = Record<'repositories' | 'tags' | 'trashedRepositories' | 'trashedTags' | 'trashedManifests', number>;

/**
 * Adds the queries of an exact count to the batch. They read the links between repositories and blobs of a small registry, and
 * the rows of the namespace in other tables.
 * @returns a function that reads the count from the results
 */
function readExactly(batch: Batch, namespace: string): (results: Results) => Holdings {
  const parameters = { namespace };
  const blobsHeld = batch.query<Sums & { blobs: number }>(BLOBS, parameters);
  const manifestsHeld = batch.query<Sums & { manifests: number }>(MANIFESTS, parameters);
  const entriesHeld = batch.query<Entries>(ENTRIES, parameters);
  const limit = batch.query<Quota & { countedAt: number; staged: number }>(QUOTA, parameters);
  return (results) => {
    const blobs = only(results.of(blobsHeld));
    const manifests = only(results.of(manifestsHeld));
    const entries = only(results.of(entriesHeld));
    return {
      ...only(results.of(limit)),
      bytes: blobs.bytes + manifests.bytes,
      blobs: blobs.blobs,
      repositories: entries.repositories,
      tags: entries.tags,
      manifests: manifests.manifests,
      trash: {
        bytes: blobs.trashed + manifests.trashed,
        repositories: entries.trashedRepositories,
        tags: entries.trashedTags,
        manifests: entries.trashedManifests,
      },
    };
  };
}

/** Returns what a namespace stores. One batch reads everything, so that no change can happen between the queries. */
export async function holdingsOf(env: Database, namespace: string): Promise<Holdings> {
  const batch = newBatch(env);
  const small = batch.query<{ small: number }>(`SELECT ${IS_SMALL} AS small`);
  const [exactly, sums] = [readExactly(batch, namespace), readSums(batch, namespace)];
  const results = await batch.commit();
  return only(results.of(small)).small ? exactly(results) : sums(results);
}

/** Returns the row of a query that always yields exactly one row. */
function only<Row>([row]: Row[]): Row {
  return row as Row;
}
