/** Repositories: found by name or blob, listed, and created by a first push. */
import type { Batch, Database, Results } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { type Page, type PageQuery, pageOf } from '../../oci/page.ts';
import { type Particulars, Refusal } from '../../vocabulary/refusal.ts';

/** SQL: the id of `:repository`; NULL if it does not exist. */
export const REPOSITORY_ID = '(SELECT id FROM repositories WHERE name = :repository)';

/** SQL condition: `:repository` exists. */
export const REPOSITORY_EXISTS = 'EXISTS (SELECT 1 FROM repositories WHERE name = :repository)';

/** The actor of a push, and whether it may create the repository. */
export interface Pusher {
  /** True if the push may create the repository. */
  mayCreate: boolean;
  by: Actor;
}

/**
 * Adds the steps that create the repository if it does not exist. A pusher who may not create it is refused:
 * `repository-unknown`.
 */
export function ensureRepository(batch: Batch, repository: RepositoryName, { mayCreate, by }: Pusher): void {
  if (!mayCreate) {
    requireRepository(batch, repository, NOT_CREATED);
    return;
  }
  recordEvent(batch, {
    about: repository,
    by,
    select: `SELECT 'repository.created' AS type, '{}' AS target WHERE NOT ${REPOSITORY_EXISTS}`,
    parameters: { repository },
  });
  batch.run(`INSERT INTO repositories (name, created_at) SELECT :repository, unixepoch() WHERE NOT ${REPOSITORY_EXISTS}`, {
    repository,
  });
}

const NOT_CREATED = { message: 'this repository does not exist, and you do not have the right to create it' };

/** Refuses the batch with `repository-unknown` if the repository does not exist. */
export function requireRepository(batch: Batch, repository: RepositoryName, says?: Particulars): void {
  batch.require('repository-unknown', REPOSITORY_EXISTS, { repository }, says);
}

/** For a pusher who may not create repositories: refuses before any byte is received. @throws repository-unknown */
export async function checkRepositoryExists(env: Database, repository: RepositoryName): Promise<void> {
  const found = await prepare(env, EXISTENCE, { repository }).first();
  if (!found) throw notCreated();
}

const EXISTENCE = 'SELECT 1 FROM repositories WHERE name = :repository';

/** @returns reads from the results of the batch whether the repository exists */
export function queryExistence(batch: Batch, repository: RepositoryName): (results: Results) => boolean {
  const found = batch.query(EXISTENCE, { repository });
  return (results) => results.first(found) !== null;
}

/** Refuses a push to a repository that the pusher may not create. */
export function notCreated(): Refusal {
  return new Refusal('repository-unknown', NOT_CREATED);
}

/** Up to `limit` of the repositories that hold a blob. */
export async function repositoriesHolding(env: Database, digest: Digest, limit: number): Promise<RepositoryName[]> {
  const { results } = await prepare(
    env,
    // The limit is a literal: SQLite would compile the statement again for each value of a bound one.
    `SELECT r.name FROM repository_blobs l JOIN repositories r ON r.id = l.repository_id
     WHERE l.digest = :digest LIMIT ${Math.trunc(limit)}`,
    { digest },
  ).all<{ name: RepositoryName }>();
  return results.map(({ name }) => name);
}

/** The repositories that a caller may be able to see. This is a superset: rights to each are checked before it is shown. */
export interface Reach {
  /** Prefixes of names; '' for all names. */
  prefixes: string[];
  names: string[];
  /** Part of the name or of the description, in lower case. */
  search?: string;
}

const MATCHES_SEARCH = `(:search = '' OR instr(r.name, :search) > 0 OR EXISTS (
    SELECT 1 FROM repository_pages d WHERE d.repository_id = r.id AND instr(lower(d.description), :search) > 0))`;

/**
 * SQL: the smallest name after `after` that has one of the prefixes. There is one lower bound because an index seeks by one
 * only. `char(1)` sorts before every character of a name.
 */
const nextName = (after: string) => `(SELECT min(name) FROM (
    SELECT (SELECT name FROM repositories r WHERE name >= max(p.value, ${after} || char(1)) AND name < p.value || char(1114111)
      AND ${MATCHES_SEARCH} ORDER BY name LIMIT 1) AS name FROM json_each(:prefixes) p))`;

/**
 * Names within `reach`, in bytewise order. The query steps through the index from one name to the next, so it reads in
 * proportion to the page and the number of prefixes, whatever lies between.
 */
export async function listRepositories(
  env: Database,
  { after, limit }: PageQuery,
  reach: Reach,
): Promise<Page<RepositoryName>> {
  const { results } = await prepare(
    env,
    `WITH RECURSIVE page(name) AS (
       SELECT ${nextName(':after')} UNION ALL SELECT ${nextName('page.name')} FROM page WHERE page.name IS NOT NULL LIMIT :rows)
     SELECT name FROM page WHERE name IS NOT NULL
     UNION SELECT r.name FROM json_each(:names) n CROSS JOIN repositories r ON r.name = n.value
       WHERE n.value > :after AND ${MATCHES_SEARCH}
     ORDER BY 1 LIMIT :rows`,
    { after, rows: limit + 1, prefixes: reach.prefixes, names: reach.names, search: reach.search ?? '' },
  ).all<{ name: RepositoryName }>();
  return pageOf(
    results.map((row) => row.name),
    limit,
  );
}
