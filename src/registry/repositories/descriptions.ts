/** Descriptions of repositories; creation and changes by an explicit call. */
import type { Batch, Database } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { type ChangedField, changesIn, recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { REPOSITORY_EXISTS, REPOSITORY_ID, requireRepository } from './repositories.ts';

/** A repository in a list. */
export interface RepositorySummary {
  name: RepositoryName;
  description: string;
  /** Seconds since the epoch. */
  createdAt: number;
}

interface DescribedRepository extends RepositorySummary {
  /** Markdown. */
  overview: string;
  version: number;
}

const SUMMARY = `r.name, r.created_at AS createdAt, coalesce(p.description, '') AS description`;
const DESCRIBED = 'FROM repositories r LEFT JOIN repository_pages p ON p.repository_id = r.id';
const DESCRIPTION = `SELECT ${SUMMARY}, coalesce(p.overview, '') AS overview, coalesce(p.version, 1) AS version
  ${DESCRIBED} WHERE r.name = :repository`;

export async function describeRepository(env: Database, repository: RepositoryName): Promise<DescribedRepository | null> {
  return prepare(env, DESCRIPTION, { repository }).first<DescribedRepository>();
}

/** In bytewise order of their names, without overviews, which are long. Repositories that do not exist are left out. */
export async function describeRepositories(env: Database, names: readonly RepositoryName[]): Promise<RepositorySummary[]> {
  const sql = `SELECT ${SUMMARY} ${DESCRIBED} WHERE r.name IN (SELECT value FROM json_each(:names)) ORDER BY r.name`;
  const { results } = await prepare(env, sql, { names }).all<RepositorySummary>();
  return results;
}

/** Texts to set. A text that is left out stays as it is. */
interface DescriptionChange {
  description?: string | undefined;
  overview?: string | undefined;
}

/**
 * Adds the steps that create a repository to a batch. They refuse the batch with `name-taken` if it exists.
 * @param creator.mayAdminister false: the creator may set nothing but the name
 * @throws forbidden if the creator sets a text without the right to
 */
export function createRepository(
  batch: Batch,
  repository: RepositoryName,
  { description = '', overview = '' }: DescriptionChange,
  { by, mayAdminister }: { by: Actor; mayAdminister: boolean },
): void {
  if (!mayAdminister && (description !== '' || overview !== '')) {
    throw new Refusal('forbidden', {
      message:
        'you may create this repository, but only somebody with the right to admin may set a description or an ' +
        'overview. Nothing was created: leave them out',
    });
  }
  batch.require('name-taken', `NOT ${REPOSITORY_EXISTS}`, { repository });
  batch.run('INSERT INTO repositories (name, created_at) VALUES (:repository, unixepoch())', { repository });
  batch.run(
    `INSERT INTO repository_pages (repository_id, description, overview) VALUES (${REPOSITORY_ID}, :description, :overview)`,
    { repository, description, overview },
  );
  recordEvent(batch, { about: repository, by, select: `SELECT 'repository.created' AS type, '{}' AS target` });
}

interface ChangeOptions {
  /** The version that the repository must have; `null`: any. */
  ifVersion: number | null;
  by: Actor;
  /** The visibility that the same batch sets; `null` if it stays as it is. */
  visibility: 'public' | 'private' | null;
}

/** SQL condition: the change sets something that the repository does not have yet. */
const CHANGES_SOMETHING = `EXISTS (SELECT 1 FROM (${DESCRIPTION}) WHERE coalesce(:description, description) <> description
  OR coalesce(:overview, overview) <> overview OR :visibility IS NOT NULL)`;

/** Fields that the event of a change names. */
const FIELDS: ChangedField[] = [
  ['description', 'description', 'coalesce(:description, description)'],
  ['overview', 'overview', 'coalesce(:overview, overview)'],
  ['visibility', `CASE :visibility WHEN 'public' THEN 'private' WHEN 'private' THEN 'public' END`, ':visibility'],
];

/**
 * Adds the steps that change a repository to a batch. They change nothing, and record no event, if all is as wanted already.
 * They refuse the batch with `repository-unknown` or `version-mismatch`.
 */
export function changeRepository(
  batch: Batch,
  repository: RepositoryName,
  { description = null, overview = null }: { [text in keyof DescriptionChange]: string | null | undefined },
  { ifVersion, by, visibility }: ChangeOptions,
): void {
  const parameters = { repository, description, overview, visibility };
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
    `INSERT INTO repository_pages (repository_id, description, overview, version)
     SELECT ${REPOSITORY_ID}, coalesce(:description, ''), coalesce(:overview, ''), 2 WHERE ${CHANGES_SOMETHING}
     ON CONFLICT DO UPDATE SET description = coalesce(:description, description), overview = coalesce(:overview, overview),
       version = version + 1`,
    parameters,
  );
}

/**
 * Refuses the batch with `version-mismatch` unless the repository has this version. @param ifVersion `null`: any version will
 * do
 */
export function requireRepositoryVersion(batch: Batch, repository: RepositoryName, ifVersion: number | null): void {
  if (ifVersion === null) return;
  const version = `coalesce((SELECT version FROM repository_pages WHERE repository_id = ${REPOSITORY_ID}), 1)`;
  batch.require('version-mismatch', `${version} = :ifVersion`, { repository, ifVersion });
}

/** Refuses the batch with `not-empty` while a repository exists in the namespace. */
export function requireNoRepositories(batch: Batch, namespace: string): void {
  const isWithin = `name >= :namespace || '/' AND name < :namespace || '0'`;
  batch.require('not-empty', `NOT EXISTS (SELECT 1 FROM repositories WHERE ${isWithin})`, { namespace });
}
