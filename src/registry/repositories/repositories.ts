/** Repositories: they are made by an explicit call or with their first content, described, found, listed and deleted. */
import { type Database, refuseUnless } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { type Page, type PageQuery, pageOf } from '../../oci/page.ts';
import { Refusal } from '../../vocabulary/refusal.ts';

/** The id of repository ?1, as an SQL expression. */
export const HERE = '(SELECT id FROM repositories WHERE name = ?1)';

/**
 * For the batch that stores content: makes the repository where it is not there yet, or refuses the batch, if whoever pushes
 * may not create it.
 */
export function ensureRepository(env: Database, repository: RepositoryName, { mayCreate, by }: Pusher): D1PreparedStatement[] {
  if (!mayCreate) return [requireInBatch(env, repository)];
  const absent = 'NOT EXISTS (SELECT 1 FROM repositories WHERE name = ?1)';
  return [
    record(env, {
      about: repository,
      by,
      select: `SELECT 'repository.created' AS type, '{}' AS target WHERE ${absent}`,
      parameters: [],
    }),
    env.DB.prepare(`INSERT INTO repositories (name, created_at) SELECT ?1, unixepoch() WHERE ${absent}`).bind(repository),
  ];
}

/** Whoever brings content, and whether that may make the repository, where it is not there yet. */
export interface Pusher {
  mayCreate: boolean;
  by: Actor;
}

/** For a batch that is about a repository: refuses it where there is none. */
export function requireInBatch(env: Database, repository: RepositoryName): D1PreparedStatement {
  return refuseUnless(env, 'EXISTS (SELECT 1 FROM repositories WHERE name = ?1)', repository);
}

/** For somebody who may push there but not create it, before any byte is taken. @throws repository-unknown */
export async function requireRepository(env: Database, repository: RepositoryName): Promise<void> {
  if (!(await env.DB.prepare('SELECT 1 FROM repositories WHERE name = ?1').bind(repository).first())) throw unknownRepository();
}

export function unknownRepository(): Refusal {
  return new Refusal('repository-unknown', {
    message: 'this repository does not exist, and the right to create it is missing',
  });
}

/** Some of the repositories that hold a blob. */
export async function repositoriesHolding(env: Database, digest: Digest, limit: number): Promise<RepositoryName[]> {
  const { results } = await env.DB.prepare(
    `SELECT r.name FROM repository_blobs l JOIN repositories r ON r.id = l.repository_id WHERE l.digest = ?1 LIMIT ?2`,
  )
    .bind(digest, limit)
    .all<{ name: RepositoryName }>();
  return results.map(({ name }) => name);
}

/** Which repositories somebody may come to see; a superset, each is asked about before it is shown. */
export interface Reach {
  /** Beginnings of names; '' for all. */
  prefixes: string[];
  names: string[];
  /** Part of the name or of the description, in lower case. */
  search?: string;
}

const FOUND = `(?5 = '' OR instr(r.name, ?5) > 0 OR EXISTS (
    SELECT 1 FROM repository_pages d WHERE d.repository_id = r.id AND instr(lower(d.description), ?5) > 0))`;

/**
 * The next name after `after` within reach: the smallest that one of the prefixes comes to. One lower bound, as the index seeks
 * by one only; no character of a name sorts before the one that is added.
 */
const next = (after: string) => `(SELECT min(name) FROM (
    SELECT (SELECT name FROM repositories r WHERE name >= max(p.value, ${after} || char(1)) AND name < p.value || char(1114111)
      AND ${FOUND} ORDER BY name LIMIT 1) AS name FROM json_each(?3) p))`;

/**
 * Names in bytewise order, of those within `reach`. Goes from one to the next by the index, so that it reads in proportion to
 * the page and to the prefixes, and nothing of what lies between.
 */
export async function listRepositories(
  env: Database,
  { after, limit }: PageQuery,
  reach: Reach,
): Promise<Page<RepositoryName>> {
  const { results } = await env.DB.prepare(
    `WITH RECURSIVE page(name) AS (
       SELECT ${next('?1')} UNION ALL SELECT ${next('page.name')} FROM page WHERE page.name IS NOT NULL LIMIT ?2)
     SELECT name FROM page WHERE name IS NOT NULL
     UNION SELECT r.name FROM json_each(?4) n CROSS JOIN repositories r ON r.name = n.value WHERE n.value > ?1 AND ${FOUND}
     ORDER BY 1 LIMIT ?2`,
  )
    .bind(after, limit + 1, JSON.stringify(reach.prefixes), JSON.stringify(reach.names), reach.search ?? '')
    .all<{ name: RepositoryName }>();
  return pageOf(
    results.map((row) => row.name),
    limit,
  );
}
