/** Finds repositories by name or by blob, lists them, and creates a repository at its first push. */
import type { Assumption, Batch, Database, Handle, Results } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { type Page, type PageQuery, pageOf } from '../../oci/page.ts';
import { type Particulars, Refusal } from '../../vocabulary/refusal.ts';

/** SQL expression: the id of the repository `:repository`, or NULL if it does not exist. */
export const REPOSITORY_ID = '(SELECT id FROM repositories WHERE name = :repository)';

/** SQL condition: the repository `:repository` exists. */
export const REPOSITORY_EXISTS = 'EXISTS (SELECT 1 FROM repositories WHERE name = :repository)';

/** The user or robot that pushes, and whether the push may create the repository. */
export interface Pusher {
  /** True if the push may create the repository. */
  mayCreate: boolean;
  by: Actor;
  /** The first precondition of the batch, if the rights of the pusher were not read for this request. */
  assumed?: Assumption | null;
}

/**
 * Adds statements to the batch that create the repository if it does not exist. If the pusher may not create it, the batch
 * fails with `repository-unknown`.
 */
export function ensureRepository(batch: Batch, repository: RepositoryName, { mayCreate, by }: Pusher): void {
  if (!mayCreate) {
    requireRepository(batch, repository, mayNotCreate(repository));
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

function mayNotCreate(repository: RepositoryName): Particulars {
  const message =
    'this repository does not exist, and a push of yours may not create it. Its owner or an administrator creates it ' +
    `(PUT /api/v1/repositories/${repository}), or grants you the right to create`;
  return { message };
}

/** Adds a precondition to the batch: the repository exists. Otherwise the batch fails with `repository-unknown`. */
export function requireRepository(batch: Batch, repository: RepositoryName, says?: Particulars): void {
  batch.require('repository-unknown', REPOSITORY_EXISTS, { repository }, says);
}

/**
 * Checks that a repository exists before any byte of a push is received. Called if the pusher may not create repositories.
 * @throws repository-unknown
 */
export async function checkRepositoryExists(env: Database, repository: RepositoryName): Promise<void> {
  const found = await prepare(env, EXISTENCE, { repository }).first();
  if (!found) throw notCreated(repository);
}

const EXISTENCE = 'SELECT 1 FROM repositories WHERE name = :repository';

/**
 * Adds a query to the batch: does the repository exist?
 * @returns a function that reads the answer from the results of the batch
 */
export function queryExistence(batch: Batch, repository: RepositoryName): (results: Results) => boolean {
  const found = batch.query(EXISTENCE, { repository });
  return (results) => results.first(found) !== null;
}

/** Adds a query to the batch that yields those of the names for which a repository exists. */
export function queryRepositories(batch: Batch, names: readonly string[]): Handle<{ name: string }> {
  return batch.query('SELECT name FROM repositories WHERE name IN (SELECT value FROM json_each(:names))', { names });
}

/** Returns the refusal of a push to a repository that does not exist and that the pusher may not create. */
export function notCreated(repository: RepositoryName): Refusal {
  return new Refusal('repository-unknown', mayNotCreate(repository));
}

/** Returns the names of up to `limit` repositories that contain the blob. */
export async function repositoriesHolding(env: Database, digest: Digest, limit: number): Promise<RepositoryName[]> {
  const { results } = await prepare(
    env,
    // The limit is a literal, because SQLite recompiles a statement for each new value of a bound limit.
    `SELECT r.name FROM repository_blobs l JOIN repositories r ON r.id = l.repository_id
     WHERE l.digest = :digest LIMIT ${Math.trunc(limit)}`,
    { digest },
  ).all<{ name: RepositoryName }>();
  return results.map(({ name }) => name);
}

/**
 * Selects the repositories that a caller may be able to see. The selection can contain too many: the caller of
 * `listRepositories` must check the rights to each repository before showing it.
 */
export interface Reach {
  /** Prefixes of repository names. An empty prefix selects all names. */
  prefixes: string[];
  names: string[];
  /** The text that the name or the description must contain. The text is in lower case, and the comparison ignores case. */
  search?: string;
  /** The last name to read. Without it, a search without matches would read all names. */
  until?: string | undefined;
}

/** A string that sorts after every repository name. */
const LAST_NAME = '\u{10ffff}';

const MATCHES_SEARCH = `(:search = '' OR instr(r.name, :search) > 0 OR EXISTS (
    SELECT 1 FROM repository_pages d WHERE d.repository_id = r.id AND instr(lower(d.description), :search) > 0))`;

/**
 * Returns an SQL expression: the smallest name that sorts after `after` and has one of the prefixes. The bounds are combined by
 * `max()` and `min()`, because SQLite uses only one lower and one upper bound for an index search. `char(1)` sorts before every
 * character of a name.
 */
const nextName = (after: string) => `(SELECT min(name) FROM (
    SELECT (SELECT name FROM repositories r WHERE name >= max(p.value, ${after} || char(1))
      AND name < min(p.value || char(1114111), :until || char(1)) AND ${MATCHES_SEARCH} ORDER BY name LIMIT 1) AS name
    FROM json_each(:prefixes) p))`;

/**
 * Returns a page of the names within `reach`, in bytewise order. The query jumps in the index from one matching name to the
 * next. So the number of rows read grows with the page size and the number of prefixes, and not with the number of
 * repositories.
 */
export async function listRepositories(
  env: Database,
  { after, limit }: PageQuery,
  { prefixes, names, search = '', until = LAST_NAME }: Reach,
): Promise<Page<RepositoryName>> {
  const { results } = await prepare(
    env,
    `WITH RECURSIVE page(name) AS (
       SELECT ${nextName(':after')} UNION ALL SELECT ${nextName('page.name')} FROM page WHERE page.name IS NOT NULL LIMIT :rows)
     SELECT name FROM page WHERE name IS NOT NULL
     UNION SELECT r.name FROM json_each(:names) n CROSS JOIN repositories r ON r.name = n.value
       WHERE n.value > :after AND ${MATCHES_SEARCH}
     ORDER BY 1 LIMIT :rows`,
    { after, rows: limit + 1, prefixes, names, search, until },
  ).all<{ name: RepositoryName }>();
  return pageOf(
    results.map((row) => row.name),
    limit,
  );
}
