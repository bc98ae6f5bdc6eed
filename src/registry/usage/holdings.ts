/** What a namespace stores, counted when somebody asks: in all, what its parts are, and how much of it the trash alone holds. */
import type { Database } from '../../events/batch.ts';
import { isAttached } from '../tags/attached.ts';
import { repositoriesOf, WARN_PERCENT } from './counting.ts';
import type { Quota } from './quota.ts';
import { stagedOf } from './staged.ts';

export interface Holdings extends Quota {
  bytes: number;
  blobs: number;
  /** Bytes of unfinished uploads. */
  staged: number;
  repositories: number;
  tags: number;
  manifests: number;
  trash: { bytes: number; repositories: number; tags: number; manifests: number };
  /** Seconds since the epoch: now. */
  countedAt: number;
}

const OWN = `WITH own AS MATERIALIZED (${repositoriesOf('?1')})`;

/**
 * `live` is 0 of a blob that nothing holds but the trash: a repository in it, or a deleted manifest of one that is there, in which
 * no manifest needs it any more.
 */
const BLOBS = `${OWN} SELECT coalesce(sum(size), 0) AS bytes, count(*) AS blobs, coalesce(sum(iif(live, 0, size)), 0) AS trashed
  FROM (SELECT digest, max(live) AS live FROM (
    SELECT l.digest, NOT own.trashed AND (
        NOT EXISTS (SELECT 1 FROM trashed_references x WHERE x.child = l.digest AND x.repository_id = l.repository_id)
        OR EXISTS (SELECT 1 FROM manifest_references f WHERE f.repository_id = l.repository_id AND f.child = l.digest)) AS live
      FROM repository_blobs l CROSS JOIN own ON own.id = l.repository_id
    UNION ALL SELECT x.child, 0 FROM trashed_references x CROSS JOIN own ON own.id = x.repository_id
  ) GROUP BY digest) CROSS JOIN blobs USING (digest)`;

const MANIFESTS = `${OWN} SELECT coalesce(sum(size), 0) AS bytes, count(*) FILTER (WHERE live) AS manifests,
    coalesce(sum(size) FILTER (WHERE NOT live), 0) AS trashed
  FROM (SELECT m.size, NOT own.trashed AS live FROM own CROSS JOIN manifests m ON m.repository_id = own.id
    UNION ALL SELECT m.size, 0 FROM own CROSS JOIN trashed_manifests m ON m.repository_id = own.id)`;

const TAG = { name: 't.name', digest: 't.digest', repositoryId: 't.repository_id' };
/** Signatures and their like are no images: their tags are not counted. */
const ATTACHED = isAttached(TAG, ['manifests']);
const ATTACHED_IN_TRASH = isAttached(TAG, ['manifests', 'trashed_manifests']);

/** Of a repository in the trash, that alone: what it has is restored with it. */
const ENTRIES = `${OWN} SELECT
    (SELECT count(*) FROM own WHERE NOT trashed) AS repositories,
    (SELECT count(*) FROM own WHERE trashed) AS trashedRepositories,
    (SELECT count(*) FROM own CROSS JOIN tags t ON t.repository_id = own.id WHERE NOT trashed AND NOT ${ATTACHED}) AS tags,
    (SELECT count(*) FROM own CROSS JOIN trash t ON t.repository_id = own.id AND t.kind = 'tag'
      WHERE NOT trashed AND NOT ${ATTACHED_IN_TRASH}) AS trashedTags,
    (SELECT count(*) FROM own CROSS JOIN trash t ON t.repository_id = own.id AND t.kind = 'manifest'
      WHERE NOT trashed) AS trashedManifests`;

const QUOTA = `SELECT max_bytes AS maxBytes, coalesce(warn_percent, ${WARN_PERCENT}) AS warnPercent, coalesce(version, 1) AS version,
    unixepoch() AS countedAt, coalesce((SELECT staged FROM (${stagedOf('?1')})), 0) AS staged
  FROM (SELECT 1) LEFT JOIN usage ON namespace = ?1`;

type Sums = { bytes: number; trashed: number };
type Entries = Record<'repositories' | 'tags' | 'trashedRepositories' | 'trashedTags' | 'trashedManifests', number>;

/** Reads every link of the registry, and all else of the namespace. */
export async function holdingsOf(env: Database, namespace: string): Promise<Holdings> {
  const statements = [BLOBS, MANIFESTS, ENTRIES, QUOTA].map((sql) => env.DB.prepare(sql).bind(namespace));
  const [blobs, manifests, entries, quota] = (await env.DB.batch(statements)).map(({ results }) => results[0]) as [
    Sums & { blobs: number },
    Sums & { manifests: number },
    Entries,
    Quota & { countedAt: number; staged: number },
  ];
  return {
    ...quota,
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
}
