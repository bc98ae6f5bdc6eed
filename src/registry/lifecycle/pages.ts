/**
 * A large repository page by page: some manifests in the order of their digests, with all that hangs together with them: what lists
 * them, what they list, what refers to them and to what they refer, and all tags. So a page can be judged by itself, but for what
 * counts images of the whole repository (`thresholds.ts`).
 */
import type { Database } from '../../events/batch.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { HERE } from '../repositories/repositories.ts';
import { CANDIDATES_MAX, type Candidates, candidatesAmong } from './candidates.ts';
import { IS_SUBJECT, NAMES_SUBJECT } from './thresholds.ts';

/** Manifests with which a page begins: judging it takes some milliseconds of CPU, of which an invocation has ten. */
export const PAGE = 200;
/** Manifests of a page with all that hangs together with them; with more, the page begins with fewer. */
const CLOSED_MAX = 500;

export interface Page {
  candidates: Candidates;
  /** The manifests that the page is about: what else is in it belongs to other pages too. */
  own: Set<Digest>;
  /** Where the next page begins; `null` at the end. */
  next: Digest | null;
}

/**
 * @param after the digest that the page before ended with, empty for the first one
 * @param most manifests with which the page begins
 */
export async function loadPage(env: Database, repository: RepositoryName, after: string, most = PAGE): Promise<Page> {
  for (let size = most; ; size = Math.max(1, Math.floor(size / 2))) {
    const limit = size === 1 ? CANDIDATES_MAX : CLOSED_MAX;
    const { results } = await env.DB.prepare(CLOSURE)
      .bind(repository, after, size, limit + 1)
      .all<{ digest: Digest; own: number }>();
    if (results.length > limit && size > 1) continue;
    const own = results.filter((row) => row.own === 1).map(({ digest }) => digest);
    const candidates = await candidatesAmong(
      env,
      repository,
      results.map(({ digest }) => digest),
    );
    return { candidates, own: new Set(own), next: own.length === size ? (own.at(-1) ?? null) : null };
  }
}

/** SQL: how the tags begin that belong to a manifest by their name. */
const beginning = (digest: string) => `substr(replace(${digest}, ':', '-'), 1, 71)`;

/** SQL: what stands beside manifest `c.digest`, whichever of both holds the other. */
const NEIGHBOURS = `SELECT * FROM (
    SELECT x.parent AS digest FROM manifest_references x WHERE x.repository_id = ${HERE} AND x.child = c.digest
    UNION ALL SELECT s.digest FROM manifests s WHERE s.repository_id = ${HERE} AND s.subject = c.digest
    UNION ALL SELECT m.subject FROM manifests m WHERE m.repository_id = ${HERE} AND m.digest = c.digest AND m.subject IS NOT NULL
    UNION ALL SELECT j.value ->> 'digest' FROM manifests m CROSS JOIN json_each(m.content, '$.manifests') j
      WHERE m.repository_id = ${HERE} AND m.digest = c.digest AND m.content IS NOT NULL)
  UNION ALL SELECT * FROM (
    SELECT x.child FROM manifests m CROSS JOIN manifest_references x ON x.repository_id = m.repository_id AND x.parent = m.digest
      WHERE m.repository_id = ${HERE} AND m.digest = c.digest AND m.content IS NULL
    UNION ALL SELECT t.digest FROM tags t WHERE t.repository_id = ${HERE}
      AND t.name >= ${beginning('c.digest')} AND t.name < ${beginning('c.digest')} || '/'
    UNION ALL SELECT s.digest FROM tags t INDEXED BY tags_by_digest CROSS JOIN manifests s ON ${IS_SUBJECT}
      WHERE t.repository_id = ${HERE} AND t.digest = c.digest AND ${NAMES_SUBJECT})`;

const CLOSURE = `WITH RECURSIVE own (digest) AS MATERIALIZED (
    SELECT digest FROM manifests WHERE repository_id = ${HERE} AND digest > ?2 ORDER BY digest LIMIT ?3),
  closed (digest) AS (
    SELECT digest FROM own
    UNION SELECT e.value FROM closed c CROSS JOIN json_each((SELECT json_group_array(digest) FROM (${NEIGHBOURS}))) e
    LIMIT ?4)
  SELECT c.digest, c.digest IN (SELECT digest FROM own) AS own
  FROM closed c CROSS JOIN manifests m ON m.repository_id = ${HERE} AND m.digest = c.digest ORDER BY c.digest`;
