/**
 * Organizations: made, described, listed and deleted. One that was deleted stays as a row that nothing shows, so that its
 * name passes to nobody.
 */
import { refuseUnless, tryBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { changesIn, record } from '../../events/outbox.ts';
import { type Page, type PageQuery, pageOf } from '../../oci/page.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { Authority } from '../authority.ts';
import type { Database } from '../directory.ts';
import { confusableSkeleton, nameOf } from '../names.ts';
import { removeRules } from '../outside/trust-rules.ts';
import { allOf, type Change, DELETED, requireOrganization } from '../within.ts';
import { removeRobots } from './robots.ts';
import { removeTeams } from './teams.ts';

export interface Organization {
  name: string;
  description: string;
  /** Seconds since the epoch. */
  createdAt: number;
  version: number;
}

const COLUMNS = 'subject, description, created_at AS createdAt, version';

type Row = Omit<Organization, 'name'> & { subject: string };

function organizationOf({ subject, ...row }: Row): Organization {
  return { name: nameOf(subject), ...row };
}

function select(env: Database, name: string): D1PreparedStatement {
  return env.DB.prepare(`SELECT ${COLUMNS} FROM accounts WHERE subject = 'organization:' || ?1 AND disabled = 0`).bind(name);
}

/** @throws not-found */
export async function getOrganization(env: Database, name: string): Promise<Organization> {
  const row = await select(env, name).first<Row>();
  if (!row) throw new Refusal('not-found');
  return organizationOf(row);
}

/** Those that the caller belongs to, and for an administrator all of them; by name. */
export async function listOrganizations(
  env: Database,
  { subject, administrator }: Pick<Authority, 'subject' | 'administrator'>,
  { after, limit }: PageQuery,
): Promise<Page<Organization>> {
  const list = administrator
    ? env.DB.prepare(
        `SELECT ${COLUMNS} FROM accounts
         WHERE subject > 'organization:' || ?1 AND subject < 'organization;' AND disabled = 0 ORDER BY subject LIMIT ?2`,
      ).bind(after, limit + 1)
    : env.DB.prepare(
        `SELECT ${COLUMNS} FROM members JOIN accounts ON subject = 'organization:' || organization
         WHERE user = ?3 AND organization > ?1 AND disabled = 0 ORDER BY organization LIMIT ?2`,
      ).bind(after, limit + 1, subject);
  const { results } = await list.all<Row>();
  return pageOf(results.map(organizationOf), limit);
}

/**
 * Makes it, or changes what is said of it.
 * @param description left out, it stays as it is
 * @throws conflict where the name is taken, looks like one that is, or was that of one that is deleted; version-mismatch
 */
export async function putOrganization(
  env: Database,
  name: string,
  description: string | undefined,
  change: Change,
): Promise<{ organization: Organization; created: boolean }> {
  const organization = await save(env, name, description, change, []);
  if (!organization) throw await refusalOf(env, name, change);
  return organization;
}

/** @throws not-found, version-mismatch */
export async function describeOrganization(
  env: Database,
  name: string,
  description: string | undefined,
  change: Change,
): Promise<Organization> {
  const saved = await save(env, name, description, change, [requireOrganization(env, name)]);
  if (saved) return saved.organization;
  await getOrganization(env, name);
  throw new Refusal('version-mismatch');
}

async function save(
  env: Database,
  name: string,
  description: string | undefined,
  { ifVersion, by }: Change,
  guard: D1PreparedStatement[],
): Promise<{ organization: Organization; created: boolean } | null> {
  const subject = `organization:${name}`;
  const others = 'SELECT 1 FROM accounts WHERE likeness = ?2 AND (subject <> ?1 OR disabled <> 0)';
  const saved = await tryBatch(env, [
    ...guard,
    requireVersion(env, name, ifVersion),
    refuseUnless(env, `NOT EXISTS (${others})`, subject, confusableSkeleton(name)),
    record(env, {
      about: aboutOf(subject),
      by,
      select: `SELECT iif(subject IS NULL, 'organization.created', 'organization.changed') AS type,
          json_object('subject', ?3, 'description', coalesce(?4, '')) AS target,
          iif(subject IS NULL, NULL, ${changesIn([['description', 'description', '?4']])}) AS changes
        FROM (SELECT 1) LEFT JOIN accounts ON subject = ?3 WHERE subject IS NULL OR description <> ?4`,
      parameters: [subject, description ?? null],
      hasChanges: true,
    }),
    env.DB.prepare(
      `INSERT INTO accounts (subject, likeness, description, created_at) VALUES (?1, ?2, coalesce(?3, ''), unixepoch())
       ON CONFLICT (subject) DO UPDATE SET description = ?3, version = version + 1 WHERE description <> ?3 RETURNING version`,
    ).bind(subject, confusableSkeleton(name), description ?? null),
    select(env, name),
  ]);
  if (!saved) return null;
  const [written, read] = saved.slice(-2).map(({ results }) => results[0]);
  return { organization: organizationOf(read as Row), created: (written as { version: number } | undefined)?.version === 1 };
}

function requireVersion(env: Database, name: string, ifVersion: number | null): D1PreparedStatement {
  const version = `SELECT version FROM accounts WHERE subject = 'organization:' || ?1 AND disabled = 0`;
  return refuseUnless(env, `?2 IS NULL OR coalesce((${version}), 0) = ?2`, name, ifVersion);
}

async function refusalOf(env: Database, name: string, { ifVersion }: Change): Promise<Refusal> {
  const { results } = await env.DB.prepare(
    'SELECT subject, disabled, version FROM accounts WHERE subject = ?1 OR likeness = ?2',
  )
    .bind(`organization:${name}`, confusableSkeleton(name))
    .all<{ subject: string; disabled: number; version: number }>();
  const own = results.find(({ subject }) => subject === `organization:${name}`);
  const version = own?.disabled === 0 ? own.version : 0;
  if (ifVersion !== null && version !== ifVersion) return new Refusal('version-mismatch');
  if (own?.disabled) return nameTaken(`the organization "${name}" was deleted, and its name is not given again`);
  const other = results.find(({ subject }) => subject !== own?.subject);
  return nameTaken(other ? `"${name}" is taken, or looks too much like ${other.subject}` : `"${name}" is taken`);
}

/**
 * Its members, teams, robots, keys and trust rules go with it, at once.
 * @param batch statements of other rooms for the batch: `guard` refuses it while something of others would be left without an
 *   owner, `also` comes after the record of it
 * @throws not-found, version-mismatch, conflict where the guard refuses
 */
export async function deleteOrganization(
  env: Database,
  name: string,
  { ifVersion, by }: Change,
  { guard, also }: { guard: D1PreparedStatement[]; also: D1PreparedStatement[] },
): Promise<void> {
  const deleted = await tryBatch(env, [
    requireOrganization(env, name),
    requireVersion(env, name, ifVersion),
    ...guard,
    ...removeTeams(env, allOf('team', name), by),
    ...removeRobots(env, allOf('robot', name), by),
    ...removeRules(env, allOf('ci', name), by),
    ...removeItself(env, name, by),
    ...also,
  ]);
  if (deleted) return;
  const { version } = await getOrganization(env, name);
  if (ifVersion !== null && version !== ifVersion) throw new Refusal('version-mismatch');
  throw new Refusal('not-empty', { message: `${name} still has repositories: delete them first` });
}

function removeItself(env: Database, name: string, by: Actor): D1PreparedStatement[] {
  const subject = `organization:${name}`;
  const teams = allOf('team', name);
  return [
    record(env, {
      about: aboutOf(subject),
      by,
      select: `SELECT 'organization.deleted' AS type, json_object('subject', ?3) AS target`,
      parameters: [subject],
    }),
    env.DB.prepare('DELETE FROM policies WHERE subject >= ?1 AND subject < ?2').bind(teams.from, teams.before),
    env.DB.prepare(
      'DELETE FROM organization_invitations INDEXED BY organization_invitations_by_organization WHERE organization = ?1',
    ).bind(name),
    env.DB.prepare('DELETE FROM members INDEXED BY members_by_organization WHERE organization = ?1').bind(name),
    env.DB.prepare(`UPDATE accounts SET disabled = ${DELETED}, version = version + 1 WHERE subject = ?1`).bind(subject),
  ];
}

function nameTaken(message: string): Refusal {
  return new Refusal('name-taken', { message });
}
