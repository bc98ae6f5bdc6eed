/**
 * Pages of a large repository: some manifests in the order of their digests, with everything connected to them: indexes that list them,
 * manifests that they list, referrers, subjects, and all tags. A page can be judged by itself, except for rules that count images of the
 * whole repository (`survey.ts`).
 */
import type { Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { CANDIDATES_MAX, type Snapshot, snapshotAmong } from './snapshot.ts';
import { IS_SUBJECT, NAMES_SUBJECT } from './thresholds.ts';

/** Manifests with which a page begins. Judging them takes some milliseconds of CPU, of which an invocation has ten. */
export const PAGE = 200;
/** Manifests of a page with everything connected to them. If there are more, the page begins with fewer manifests. */
const CLOSED_MAX = 500;

interface ManifestPage {
  candidates: Snapshot;
  /** The manifests of this page. The others in the snapshot belong to other pages too. */
  own: Set<Digest>;
  /** The digest after which the next page begins; `null`: this is the last page. */
  next: Digest | null;
}

/**
 * @param after the last digest of the page before; empty: the first page
 * @param most manifests with which the page begins
 */
export async function loadPage(env: Database, repository: RepositoryName, after: string, most = PAGE): Promise<ManifestPage> {
  for (let size = most; ; size = Math.max(1, Math.floor(size / 2))) {
    const limit = size === 1 ? CANDIDATES_MAX : CLOSED_MAX;
    const parameters = { repository, after, size, rows: limit + 1 };
    const { results } = await prepare(env, CONNECTED, parameters).all<{ digest: Digest; own: number }>();
    if (results.length > limit && size > 1) continue;
    const own = results.filter((row) => row.own === 1).map(({ digest }) => digest);
    const candidates = await snapshotAmong(
      env,
      repository,
      results.map(({ digest }) => digest),
    );
    return { candidates, own: new Set(own), next: own.length === size ? (own.at(-1) ?? null) : null };
  }
}

/** SQL: the prefix of the tags that are attached to a manifest by their name. */
const prefixOfTags = (digest: string) => `substr(replace(${digest}, ':', '-'), 1, 71)`;

/** SQL: the manifests connected to manifest `c.digest`, in either direction. */
const NEIGHBOURS = `SELECT * FROM (
    SELECT x.parent AS digest FROM manifest_references x WHERE x.repository_id = ${REPOSITORY_ID} AND x.child = c.digest
    UNION ALL SELECT s.digest FROM manifests s WHERE s.repository_id = ${REPOSITORY_ID} AND s.subject = c.digest
    UNION ALL SELECT m.subject FROM manifests m WHERE m.repository_id = ${REPOSITORY_ID} AND m.digest = c.digest AND m.subject IS NOT NULL
    UNION ALL SELECT j.value ->> 'digest' FROM manifests m CROSS JOIN json_each(m.content, '$.manifests') j
      WHERE m.repository_id = ${REPOSITORY_ID} AND m.digest = c.digest AND m.content IS NOT NULL)
  UNION ALL SELECT * FROM (
    SELECT x.child FROM manifests m CROSS JOIN manifest_references x ON x.repository_id = m.repository_id AND x.parent = m.digest
      WHERE m.repository_id = ${REPOSITORY_ID} AND m.digest = c.digest AND m.content IS NULL
    UNION ALL SELECT t.digest FROM tags t WHERE t.repository_id = ${REPOSITORY_ID}
      AND t.name >= ${prefixOfTags('c.digest')} AND t.name < ${prefixOfTags('c.digest')} || '/'
    UNION ALL SELECT s.digest FROM tags t INDEXED BY tags_by_digest CROSS JOIN manifests s ON ${IS_SUBJECT}
      WHERE t.repository_id = ${REPOSITORY_ID} AND t.digest = c.digest AND ${NAMES_SUBJECT})`;

/** SQL: the manifests of a page and everything connected to them. */
const CONNECTED = `WITH RECURSIVE own (digest) AS MATERIALIZED (
    SELECT digest FROM manifests WHERE repository_id = ${REPOSITORY_ID} AND digest > :after ORDER BY digest LIMIT :size),
  closed (digest) AS (
    SELECT digest FROM own
    UNION SELECT e.value FROM closed c CROSS JOIN json_each((SELECT json_group_array(digest) FROM (${NEIGHBOURS}))) e
    LIMIT :rows)
  SELECT c.digest, c.digest IN (SELECT digest FROM own) AS own
  FROM closed c CROSS JOIN manifests m ON m.repository_id = ${REPOSITORY_ID} AND m.digest = c.digest ORDER BY c.digest`;
