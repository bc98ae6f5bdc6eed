/**
 * Organizations: create, describe, list and delete them. The row of a deleted organization is kept but hidden, so that nobody
 * else can take the name.
 */
import { type Batch, type Database, newBatch } from '../../events/batch.ts';
import { aboutOf } from '../../events/event.ts';
import { changesIn, recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import { type Page, type PageQuery, pageOf } from '../../oci/page.ts';
import { confusableSkeleton, nameOf } from '../../vocabulary/names.ts';
import { type Particulars, Refusal } from '../../vocabulary/refusal.ts';
import type { Authority } from '../authority.ts';
import { removeRules } from '../outside/trust-rules.ts';
import { allOf, type Change, DELETED, requireOrganization, requireVersion } from '../within.ts';
import { removeRobots } from './robots.ts';
import { removeTeams } from './teams.ts';

export interface Organization {
  name: string;
  description: string;
  /** In seconds since the epoch. */
  createdAt: number;
  version: number;
}

const COLUMNS = 'subject, description, created_at AS createdAt, version';

const SELECT_ORGANIZATION = `SELECT ${COLUMNS} FROM accounts WHERE subject = :subject AND disabled = 0`;

const VERSION = 'SELECT version FROM accounts WHERE subject = :subject AND disabled = 0';

type Row = Omit<Organization, 'name'> & { subject: string };

function organizationOf({ subject, ...row }: Row): Organization {
  return { name: nameOf(subject), ...row };
}

/** @throws not-found if the organization does not exist */
export async function getOrganization(env: Database, name: string): Promise<Organization> {
  const row = await prepare(env, SELECT_ORGANIZATION, { subject: `organization:${name}` }).first<Row>();
  if (!row) throw new Refusal('not-found');
  return organizationOf(row);
}

/** Lists organizations by name: for an administrator all of them, for another caller those to which the caller belongs. */
export async function listOrganizations(
  env: Database,
  { subject, administrator }: Pick<Authority, 'subject' | 'administrator'>,
  { after, limit }: PageQuery,
): Promise<Page<Organization>> {
  const sql = administrator
    ? `SELECT ${COLUMNS} FROM accounts
       WHERE subject > 'organization:' || :after AND subject < 'organization;' AND disabled = 0 ORDER BY subject LIMIT :rows`
    : `SELECT ${COLUMNS} FROM members JOIN accounts ON subject = 'organization:' || organization
       WHERE user = :user AND organization > :after AND disabled = 0 ORDER BY organization LIMIT :rows`;
  const { results } = await prepare(env, sql, { user: subject, after, rows: limit + 1 }).all<Row>();
  return pageOf(results.map(organizationOf), limit);
}

/**
 * Creates an organization, or changes the description of an existing one.
 * @throws name-taken if the name is taken, can be confused with a taken one, or belonged to a deleted organization;
 * version-mismatch
 */
export function putOrganization(
  env: Database,
  name: string,
  description: string | undefined,
  change: Change,
): Promise<{ organization: Organization; created: boolean }> {
  return save(env, newBatch(env), { name, description }, change);
}

/** Changes the description of an organization. @throws not-found, version-mismatch */
export async function describeOrganization(
  env: Database,
  name: string,
  description: string | undefined,
  change: Change,
): Promise<Organization> {
  const batch = newBatch(env);
  requireOrganization(batch, name);
  return (await save(env, batch, { name, description }, change)).organization;
}

async function save(
  env: Database,
  batch: Batch,
  { name, description = null }: { name: string; description?: string | null | undefined },
  { ifVersion, by }: Change,
): Promise<{ organization: Organization; created: boolean }> {
  const subject = `organization:${name}`;
  const parameters = { subject, description, skeleton: confusableSkeleton(name) };
  requireVersion(batch, VERSION, { subject }, ifVersion);
  batch.require(
    'name-taken',
    'NOT EXISTS (SELECT 1 FROM accounts WHERE likeness = :skeleton AND (subject <> :subject OR disabled <> 0))',
    parameters,
    () => whyTaken(env, name),
  );
  recordEvent(batch, {
    about: aboutOf(subject),
    by,
    select: `SELECT iif(subject IS NULL, 'organization.created', 'organization.changed') AS type,
        json_object('subject', :subject, 'description', coalesce(:description, '')) AS target,
        iif(subject IS NULL, NULL, ${changesIn([['description', 'description', ':description']])}) AS changes
      FROM (SELECT 1) LEFT JOIN accounts ON subject = :subject WHERE subject IS NULL OR description <> :description`,
    parameters,
    hasChanges: true,
  });
  const written = batch.query<{ version: number }>(
    `INSERT INTO accounts (subject, likeness, description, created_at)
     VALUES (:subject, :skeleton, coalesce(:description, ''), unixepoch())
     ON CONFLICT (subject) DO UPDATE SET description = :description, version = version + 1
     WHERE description <> :description RETURNING version`,
    parameters,
  );
  const organization = batch.query<Row>(SELECT_ORGANIZATION, parameters);
  const results = await batch.commit();
  const row = results.first(organization);
  if (!row) throw new Error('the batch that wrote an organization did not read it back');
  return { organization: organizationOf(row), created: results.first(written)?.version === 1 };
}

async function whyTaken(env: Database, name: string): Promise<Particulars> {
  const subject = `organization:${name}`;
  const { results } = await prepare(
    env,
    'SELECT subject, disabled FROM accounts WHERE subject = :subject OR likeness = :skeleton',
    { subject, skeleton: confusableSkeleton(name) },
  ).all<{ subject: string; disabled: number }>();
  if (results.some((row) => row.subject === subject && row.disabled)) {
    return { message: `the organization "${name}" was deleted, and its name is not given again. Nothing was created` };
  }
  const other = results.find((row) => row.subject !== subject);
  const confused = other ? `, or can be confused with ${other.subject}` : '';
  return { message: `"${name}" is taken${confused}. Nothing was created: choose another name` };
}

/**
 * Adds statements to the batch that delete an organization with its members, teams, robots, keys and trust rules. The batch
 * fails with `not-found` or `version-mismatch`. The caller must add a precondition that the organization has no repositories.
 */
export function removeOrganization(batch: Batch, name: string, { ifVersion, by }: Change): void {
  const subject = `organization:${name}`;
  requireOrganization(batch, name);
  requireVersion(batch, VERSION, { subject }, ifVersion);
  removeTeams(batch, allOf('team', name), by);
  removeRobots(batch, allOf('robot', name), by);
  removeRules(batch, allOf('ci', name), by);
  recordEvent(batch, {
    about: aboutOf(subject),
    by,
    select: `SELECT 'organization.deleted' AS type, json_object('subject', :subject) AS target`,
    parameters: { subject },
  });
  batch.run('DELETE FROM policies WHERE subject >= :from AND subject < :before', allOf('team', name));
  batch.run(
    'DELETE FROM organization_invitations INDEXED BY organization_invitations_by_organization WHERE organization = :name',
    { name },
  );
  batch.run('DELETE FROM members INDEXED BY members_by_organization WHERE organization = :name', { name });
  batch.run(`UPDATE accounts SET disabled = ${DELETED}, version = version + 1 WHERE subject = :subject`, { subject });
}
