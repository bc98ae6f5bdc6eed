/** Stores the stars that users give to repositories. Setting the same star twice changes nothing. */
import { type Database, newBatch } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { REPOSITORY_ID, requireRepository } from './repositories.ts';

export interface Stars {
  /** The number of users who have starred the repository. */
  stars: number;
  /** True if the user of the request has starred the repository. */
  starred: boolean;
}

const STARRED = `EXISTS (SELECT 1 FROM stars WHERE repository_id = ${REPOSITORY_ID} AND subject = :subject)`;

/**
 * @param subject the subject of the user, or the empty string for an anonymous caller
 * @throws repository-unknown
 */
export async function readStars(env: Database, repository: RepositoryName, subject: string): Promise<Stars> {
  const row = await prepare(
    env,
    `SELECT coalesce(p.stars, 0) AS stars, ${STARRED} AS starred
     FROM repositories r LEFT JOIN repository_pages p ON p.repository_id = r.id WHERE r.name = :repository`,
    { repository, subject },
  ).first<{ stars: number; starred: number }>();
  if (!row) throw new Refusal('repository-unknown');
  return { stars: row.stars, starred: row.starred === 1 };
}

/**
 * Adds or removes the star of a user. The number of stars is updated first, because it changes only if the star is not set (or
 * removed) yet.
 * @throws repository-unknown
 */
export async function setStar(env: Database, repository: RepositoryName, subject: string, starred: boolean): Promise<void> {
  const parameters = { repository, subject };
  const batch = newBatch(env);
  requireRepository(batch, repository);
  const changes = starred ? `NOT ${STARRED}` : STARRED;
  batch.run(
    `INSERT INTO repository_pages (repository_id, stars) SELECT ${REPOSITORY_ID}, 1 WHERE ${changes}
     ON CONFLICT DO UPDATE SET stars = max(0, stars + ${starred ? 1 : -1})`,
    parameters,
  );
  const write = starred
    ? `INSERT OR IGNORE INTO stars (repository_id, subject, starred_at) VALUES (${REPOSITORY_ID}, :subject, unixepoch())`
    : `DELETE FROM stars WHERE repository_id = ${REPOSITORY_ID} AND subject = :subject`;
  batch.run(write, parameters);
  await batch.commit();
}
