/** What people say of a repository, and making and changing one by an explicit call. */
import { type Database, persistently, refuseUnless, tryBatch } from '../../events/batch.ts';
import type { Actor } from '../../events/event.ts';
import { type ChangedField, changesIn, record } from '../../events/outbox.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { HERE } from './repositories.ts';

/** What a list shows of a repository. */
export interface RepositorySummary {
  name: RepositoryName;
  description: string;
  /** Seconds since the epoch. */
  createdAt: number;
}

export interface RepositoryPage extends RepositorySummary {
  /** Markdown. */
  overview: string;
  version: number;
}

const SUMMARY = `r.name, r.created_at AS createdAt, coalesce(p.description, '') AS description`;
const FROM = 'FROM repositories r LEFT JOIN repository_pages p ON p.repository_id = r.id';
const DESCRIBE = `SELECT ${SUMMARY}, coalesce(p.overview, '') AS overview, coalesce(p.version, 1) AS version ${FROM}`;

export async function describeRepository(env: Database, repository: RepositoryName): Promise<RepositoryPage | null> {
  return env.DB.prepare(`${DESCRIBE} WHERE r.name = ?1`).bind(repository).first<RepositoryPage>();
}

/** By name, in bytewise order, without their overviews: those are long. Those that are not there are left out. */
export async function describeRepositories(env: Database, names: readonly RepositoryName[]): Promise<RepositorySummary[]> {
  const { results } = await env.DB.prepare(
    `SELECT ${SUMMARY} ${FROM} WHERE r.name IN (SELECT value FROM json_each(?1)) ORDER BY r.name`,
  )
    .bind(JSON.stringify(names))
    .all<RepositorySummary>();
  return results;
}

const THERE = 'EXISTS (SELECT 1 FROM repositories WHERE name = ?1)';

/** Statements for a batch of ours that another room's rows belong to, as a repository's policy does. */
export type Also = D1PreparedStatement[];

export interface Change {
  description?: string | undefined;
  overview?: string | undefined;
}

export interface Making {
  by: Actor;
  /** Whether the maker may change the repository afterwards. Without that right they set nothing but its name. */
  mayAdminister: boolean;
  /** Further statements for the batch; may refuse as well. */
  also: () => Also;
}

/**
 * Returns `false` where it is there already.
 * @throws forbidden where the maker sets what they may not change
 */
export async function makeRepository(
  env: Database,
  repository: RepositoryName,
  { description = '', overview = '' }: Change,
  { by, mayAdminister, also }: Making,
): Promise<boolean> {
  if (!mayAdminister && (await describeRepository(env, repository))) return false;
  if (!mayAdminister && (description !== '' || overview !== '')) throw maySetNothing('a description or an overview');
  const made = await tryBatch(env, [
    refuseUnless(env, `NOT ${THERE}`, repository),
    env.DB.prepare('INSERT INTO repositories (name, created_at) VALUES (?1, unixepoch())').bind(repository),
    env.DB.prepare(`INSERT INTO repository_pages (repository_id, description, overview) VALUES (${HERE}, ?2, ?3)`).bind(
      repository,
      description,
      overview,
    ),
    record(env, { about: repository, by, select: `SELECT 'repository.created' AS type, '{}' AS target`, parameters: [] }),
    ...also(),
  ]);
  return made !== null;
}

function maySetNothing(what: string): Refusal {
  const message = `you may create this repository, but the right to admin, which ${what} needs, is missing: nothing was made`;
  return new Refusal('forbidden', { message });
}

/** Whether there is something to change in repository ?1. */
const differs = (description: string, overview: string, further: string) =>
  `EXISTS (SELECT 1 FROM (${DESCRIBE} WHERE r.name = ?1)
    WHERE coalesce(${description}, description) <> description OR coalesce(${overview}, overview) <> overview OR ${further})`;

interface RepositoryChange {
  ifVersion: number | null;
  by: Actor;
  also: Also;
  /** What `also` makes of it, if it is about that. */
  visibility?: 'public' | 'private' | undefined;
}

/** What the event of a change names. */
const FIELDS: ChangedField[] = [
  ['description', 'description', 'coalesce(?3, description)'],
  ['overview', 'overview', 'coalesce(?4, overview)'],
  ['visibility', `CASE WHEN ?5 = 0 THEN ?6 WHEN ?6 = 'public' THEN 'private' WHEN ?6 = 'private' THEN 'public' END`, '?6'],
];

/**
 * Where all is so already, nothing happens.
 * @param ifVersion the version it is expected to have, `null` for any
 * @throws repository-unknown, version-mismatch
 */
export async function changeRepository(
  env: Database,
  repository: RepositoryName,
  { description, overview }: Change,
  { ifVersion, by, also, visibility }: RepositoryChange,
): Promise<void> {
  const wanted = [description ?? null, overview ?? null, also.length];
  const statements = () => [
    refuseUnless(env, THERE, repository),
    refuseVersion(env, repository, ifVersion),
    record(env, {
      about: repository,
      by,
      select: `SELECT 'repository.changed' AS type, json_object('changes', ${changesIn(FIELDS)}) AS target
        FROM (${DESCRIBE} WHERE r.name = ?1) WHERE ${differs('?3', '?4', '?5')}`,
      parameters: [...wanted, visibility ?? null],
    }),
    env.DB.prepare(
      `INSERT INTO repository_pages (repository_id, description, overview, version)
       SELECT ${HERE}, coalesce(?2, ''), coalesce(?3, ''), 2 WHERE ${differs('?2', '?3', '?4')}
       ON CONFLICT DO UPDATE SET description = coalesce(?2, description), overview = coalesce(?3, overview),
         version = version + 1`,
    ).bind(repository, ...wanted),
    ...also,
  ];
  await persistently(
    () => tryBatch(env, statements()),
    () => refusalOf(env, repository, ifVersion),
  );
}

/** For a batch about a repository that is expected to have a version; `null`: any. */
export function refuseVersion(env: Database, repository: RepositoryName, ifVersion: number | null): D1PreparedStatement {
  const version = `coalesce((SELECT version FROM repository_pages WHERE repository_id = ${HERE}), 1)`;
  return refuseUnless(env, `?2 IS NULL OR ${version} = ?2`, repository, ifVersion);
}

/** Why a batch about a repository was refused; `null`: nothing would refuse it now. */
export async function refusalOf(env: Database, repository: RepositoryName, ifVersion: number | null): Promise<Refusal | null> {
  const page = await describeRepository(env, repository);
  if (!page) return new Refusal('repository-unknown');
  return ifVersion !== null && page.version !== ifVersion ? new Refusal('version-mismatch') : null;
}

/** For the batch that takes an organization away: refuses it while a repository has its name. */
export function requireNoRepositories(env: Database, namespace: string): D1PreparedStatement {
  return refuseUnless(env, `NOT EXISTS (SELECT 1 FROM repositories WHERE name >= ?1 || '/' AND name < ?1 || '0')`, namespace);
}
