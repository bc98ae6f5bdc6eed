/** Reads and changes the descriptions of repositories. Creates repositories for the management API. */
import type { Batch, Database } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { type ChangedField, changesIn, recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { REPOSITORY_EXISTS, REPOSITORY_ID, requireRepository } from './repositories.ts';

/** The size of a repository's content now. `usage/sums.ts` updates these totals. */
export interface RepositorySums {
  /** The bytes of the manifests and of the blobs that they reference. Each blob counts once. */
  bytes: number;
  tags: number;
  manifests: number;
}

/** SQL columns of `RepositorySums` of repository `r`, and the join that they need. */
export const SUMS = 'coalesce(u.bytes, 0) AS bytes, coalesce(u.tags, 0) AS tags, coalesce(u.manifests, 0) AS manifests';
export const SUMS_OF = 'LEFT JOIN repository_usage u ON u.repository_id = r.id';

/** A repository as it appears in a list. */
export interface RepositorySummary extends RepositorySums {
  name: RepositoryName;
  description: string;
  /** The time of creation, in seconds since the epoch. */
  createdAt: number;
  /**
   * The time of the last push of any tag that still exists, in seconds since the epoch. `null` if the repository has no tag.
   */
  lastPushedAt: number | null;
  /** The number of users who have starred the repository. */
  stars: number;
}

interface DescribedRepository extends RepositorySummary {
  /** A long text in Markdown. */
  overview: string;
  version: number;
}

const SUMMARY = `r.name, r.created_at AS createdAt, coalesce(p.description, '') AS description,
  coalesce(p.stars, 0) AS stars,
  (SELECT max(updated_at) FROM tags t WHERE t.repository_id = r.id) AS lastPushedAt, ${SUMS}`;
const DESCRIBED = `FROM repositories r LEFT JOIN repository_pages p ON p.repository_id = r.id ${SUMS_OF}`;
const DESCRIPTION = `SELECT ${SUMMARY}, coalesce(p.overview, '') AS overview, coalesce(p.version, 1) AS version
  ${DESCRIBED} WHERE r.name = :repository`;

export async function describeRepository(env: Database, repository: RepositoryName): Promise<DescribedRepository | null> {
  return prepare(env, DESCRIPTION, { repository }).first<DescribedRepository>();
}

/**
 * Returns the repositories in `names` that exist, in bytewise order of their names. Overviews are not included, because they
 * are long.
 */
export async function describeRepositories(env: Database, names: readonly RepositoryName[]): Promise<RepositorySummary[]> {
  const sql = `SELECT ${SUMMARY} ${DESCRIBED} WHERE r.name IN (SELECT value FROM json_each(:names)) ORDER BY r.name`;
  const { results } = await prepare(env, sql, { names }).all<RepositorySummary>();
  return results;
}

/** An overview (Markdown) and its HTML. */
interface RenderedText {
  source: string;
  html: string;
}

/** The texts to set. `undefined` leaves a text unchanged. */
interface DescriptionChange {
  description?: string | undefined;
  overview?: RenderedText | undefined;
}

interface StoredOverview {
  source: string;
  /** `null` if the present text was not rendered to HTML yet. */
  html: string | null;
  version: number;
}

/** @throws repository-unknown */
export async function readOverview(env: Database, repository: RepositoryName): Promise<StoredOverview> {
  const row = await prepare(
    env,
    `SELECT coalesce(overview, '') AS source, iif(rendered_version = version, overview_html, NULL) AS html,
       coalesce(version, 1) AS version
     FROM repositories r LEFT JOIN repository_pages p ON p.repository_id = r.id WHERE r.name = :repository`,
    { repository },
  ).first<StoredOverview>();
  if (!row) throw new Refusal('repository-unknown');
  return row;
}

/** Stores the HTML of an overview, unless the repository was changed since `version`. */
export async function keepOverviewHtml(
  env: Database,
  repository: RepositoryName,
  { html, version }: { html: string; version: number },
): Promise<void> {
  await prepare(
    env,
    `UPDATE repository_pages SET overview_html = :html, rendered_version = version
     WHERE repository_id = ${REPOSITORY_ID} AND version = :version`,
    { repository, html, version },
  ).run();
}

/**
 * Adds statements to the batch that create a repository. The batch fails with `name-taken` if the repository exists.
 * @param creator.mayAdminister false if the creator may set only the name
 * @throws forbidden if the creator may not administer the repository but sets a text
 */
export function createRepository(
  batch: Batch,
  repository: RepositoryName,
  { description = '', overview = { source: '', html: '' } }: DescriptionChange,
  { by, mayAdminister }: { by: Actor; mayAdminister: boolean },
): void {
  if (!mayAdminister && (description !== '' || overview.source !== '')) {
    throw new Refusal('forbidden', {
      message:
        'you may create this repository, but only somebody with the right to admin may set a description or an ' +
        'overview. Nothing was created: leave them out',
    });
  }
  batch.require('name-taken', `NOT ${REPOSITORY_EXISTS}`, { repository });
  batch.run('INSERT INTO repositories (name, created_at) VALUES (:repository, unixepoch())', { repository });
  batch.run(
    `INSERT INTO repository_pages (repository_id, description, overview, overview_html, rendered_version)
     VALUES (${REPOSITORY_ID}, :description, :overview, :html, 1)`,
    { repository, description, overview: overview.source, html: overview.html },
  );
  recordEvent(batch, { about: repository, by, select: `SELECT 'repository.created' AS type, '{}' AS target` });
}

interface ChangeOptions {
  /** The version that the repository must have, or `null` for any version. */
  ifVersion: number | null;
  by: Actor;
  /** The visibility that the same batch sets, or `null` if the visibility stays unchanged. */
  visibility: 'public' | 'private' | null;
}

/** SQL condition: the change sets a value that the repository does not have yet. */
const CHANGES_SOMETHING = `EXISTS (SELECT 1 FROM (${DESCRIPTION}) WHERE coalesce(:description, description) <> description
  OR coalesce(:overview, overview) <> overview OR :visibility IS NOT NULL)`;

/** The fields that the event of a change contains. */
const FIELDS: ChangedField[] = [
  ['description', 'description', 'coalesce(:description, description)'],
  ['overview', 'overview', 'coalesce(:overview, overview)'],
  ['visibility', `CASE :visibility WHEN 'public' THEN 'private' WHEN 'private' THEN 'public' END`, ':visibility'],
];

/**
 * Adds statements to the batch that change a repository. If the repository has the given values already, they change nothing
 * and record no event. The batch fails with `repository-unknown` or `version-mismatch` if a precondition does not hold.
 */
export function changeRepository(
  batch: Batch,
  repository: RepositoryName,
  { description, overview }: DescriptionChange,
  { ifVersion, by, visibility }: ChangeOptions,
): void {
  const parameters = { repository, description: description ?? null, overview: overview?.source ?? null, visibility };
  requireRepository(batch, repository);
  requireRepositoryVersion(batch, repository, ifVersion);
  recordEvent(batch, {
    about: repository,
    by,
    select: `SELECT 'repository.changed' AS type, json_object('changes', ${changesIn(FIELDS)}) AS target
      FROM (${DESCRIPTION}) WHERE ${CHANGES_SOMETHING}`,
    parameters,
  });
  batch.run(
    `INSERT INTO repository_pages (repository_id, description, overview, version, overview_html, rendered_version)
     SELECT ${REPOSITORY_ID}, coalesce(:description, ''), coalesce(:overview, ''), 2, coalesce(:html, ''), 2
     WHERE ${CHANGES_SOMETHING}
     ON CONFLICT DO UPDATE SET description = coalesce(:description, description), overview = coalesce(:overview, overview),
       overview_html = coalesce(:html, overview_html),
       rendered_version = iif(:html IS NOT NULL OR rendered_version = version, version + 1, rendered_version),
       version = version + 1`,
    { ...parameters, html: overview?.html ?? null },
  );
}

/**
 * Adds a precondition to the batch: the repository has this version. Otherwise the batch fails with `version-mismatch`.
 * @param ifVersion the required version, or `null` for any version
 */
export function requireRepositoryVersion(batch: Batch, repository: RepositoryName, ifVersion: number | null): void {
  if (ifVersion === null) return;
  const version = `coalesce((SELECT version FROM repository_pages WHERE repository_id = ${REPOSITORY_ID}), 1)`;
  batch.require('version-mismatch', `${version} = :ifVersion`, { repository, ifVersion });
}

/** Adds a precondition to the batch: the namespace contains no repository. Otherwise the batch fails with `not-empty`. */
export function requireNoRepositories(batch: Batch, namespace: string): void {
  const isWithin = `name >= :namespace || '/' AND name < :namespace || '0'`;
  batch.require('not-empty', `NOT EXISTS (SELECT 1 FROM repositories WHERE ${isWithin})`, { namespace });
}
