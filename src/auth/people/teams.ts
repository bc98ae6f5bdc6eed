/**
 * Teams of organizations and their members. While policies of repositories name a deleted team, the team keeps an empty policy,
 * which reserves its name. Otherwise a new team with this name would get the rights of the deleted one.
 */
import { type Batch, type Database, newBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { changesIn, recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import type { Page, PageQuery } from '../../oci/page.ts';
import { nameOf, organizationOf } from '../../vocabulary/names.ts';
import { type Particulars, Refusal } from '../../vocabulary/refusal.ts';
import type { Authority } from '../authority.ts';
import { allows } from '../policy.ts';
import { listOfGrants } from '../rights/policy-names.ts';
import { namedInTrash } from '../rights/trashed-policies.ts';
import { requireRoomInOrganization, requireTeamMemberRoom } from '../team-limits.ts';
import {
  allOf,
  type Change,
  listWithin,
  ORGANIZATION_EXISTS,
  only,
  requireOrganization,
  requireVersion,
  type SubjectRange,
} from '../within.ts';

export interface Team {
  /** The subject, for example `team:acme/dev`. */
  subject: string;
  description: string;
  /** In seconds since the epoch. */
  createdAt: number;
  version: number;
}

const COLUMNS = 'subject, description, created_at AS createdAt, version';

const SELECT_TEAM = `SELECT ${COLUMNS} FROM teams WHERE subject = :subject`;

const VERSION = 'SELECT version FROM teams WHERE subject = :subject';

/** SQL condition: team :subject exists. */
const TEAM_EXISTS = 'EXISTS (SELECT 1 FROM teams WHERE subject = :subject)';

/** @throws not-found if the team does not exist */
export async function getTeam(env: Database, subject: string): Promise<Team> {
  const team = await prepare(env, SELECT_TEAM, { subject }).first<Team>();
  if (!team) throw new Refusal('not-found');
  return team;
}

/** Lists teams by name. @throws not-found if the organization does not exist */
export function listTeams(env: Database, organization: string, { after, limit }: PageQuery): Promise<Page<Team>> {
  return listWithin(
    env,
    ORGANIZATION_EXISTS,
    `SELECT ${COLUMNS} FROM teams WHERE subject > :from || :after AND subject < :before ORDER BY subject LIMIT :rows`,
    { organization, ...allOf('team', organization), after, limit },
  );
}

/**
 * Creates a team, or changes the description of an existing one.
 * @param description `undefined` keeps the present description
 * @param authority the caller. A refusal names only repositories from which this caller may pull
 * @throws not-found if the organization does not exist; version-mismatch; limit-reached; conflict if policies still name a
 * deleted team with this name
 */
export async function putTeam(
  env: Database,
  subject: string,
  description: string | undefined,
  { ifVersion, by, authority }: Change & { authority: Authority },
): Promise<{ team: Team; created: boolean }> {
  const parameters = { subject, description: description ?? null };
  const batch = newBatch(env);
  requireOrganization(batch, organizationOf(subject));
  requireVersion(batch, VERSION, { subject }, ifVersion);
  requireRoomInOrganization(batch, subject);
  batch.require(
    'conflict',
    `${TEAM_EXISTS} OR NOT EXISTS (SELECT 1 FROM policies WHERE subject = :subject)
     OR NOT EXISTS (SELECT 1 FROM policy_principals WHERE principal = :subject) AND NOT ${namedInTrash(':subject')}`,
    { subject },
    () => whoStillNames(env, subject, authority),
  );
  recordEvent(batch, {
    about: aboutOf(subject),
    by,
    select: `SELECT iif(subject IS NULL, 'team.created', 'team.changed') AS type,
        json_object('subject', :subject, 'description', coalesce(:description, '')) AS target,
        iif(subject IS NULL, NULL, ${changesIn([['description', 'description', ':description']])}) AS changes
      FROM (SELECT 1) LEFT JOIN teams ON subject = :subject WHERE subject IS NULL OR description <> :description`,
    parameters,
    hasChanges: true,
  });
  const written = batch.query<{ version: number }>(
    `INSERT INTO teams (subject, description, created_at) VALUES (:subject, coalesce(:description, ''), unixepoch())
     ON CONFLICT DO UPDATE SET description = :description, version = version + 1
     WHERE description <> :description RETURNING version`,
    parameters,
  );
  const team = batch.query<Team>(SELECT_TEAM, { subject });
  const results = await batch.commit();
  return { team: results.first(team) as Team, created: results.first(written)?.version === 1 };
}

/** The maximum number of repositories that a refusal names. */
const NAMED_MAX = 100;

async function whoStillNames(env: Database, subject: string, authority: Authority): Promise<Particulars> {
  const { results } = await prepare(
    env,
    `SELECT repository FROM policy_principals WHERE principal = :subject ORDER BY repository LIMIT ${NAMED_MAX}`,
    { subject },
  ).all<{ repository: string }>();
  const repositories = results.map(({ repository }) => repository).filter((one) => allows(authority, 'pull', one));
  const hidden = repositories.length < results.length ? ['repositories that you may not see'] : [];
  return {
    message:
      `there was a team of this name, and policies still name it. Nothing was created: take it out of them ` +
      `first (${[...repositories, ...hidden].join(', ')})`,
    detail: { repositories },
  };
}

/** Deletes a team, its memberships and its policy. @throws not-found, version-mismatch */
export async function deleteTeam(env: Database, subject: string, { ifVersion, by }: Change): Promise<void> {
  const batch = newBatch(env);
  batch.require('not-found', TEAM_EXISTS, { subject });
  requireVersion(batch, VERSION, { subject }, ifVersion);
  removeTeams(batch, only(subject), by);
  await batch.commit();
}

/**
 * Adds statements to the batch that delete the teams in this range. Policies of repositories still contain the names of these
 * teams. The names then have no effect and stay reserved.
 */
export function removeTeams(batch: Batch, range: SubjectRange, by: Actor): void {
  recordEvent(batch, {
    about: aboutOf(range.from),
    by,
    select: `SELECT 'team.deleted' AS type,
        iif(grants = '[]', json_object('subject', subject), json_object('subject', subject, 'grants', json(grants))) AS target
      FROM (SELECT subject, ${listOfGrants('teams.subject', ':organization')} AS grants
        FROM teams WHERE subject >= :from AND subject < :before)`,
    parameters: { ...range, organization: organizationOf(range.from) },
  });
  batch.run(
    `INSERT INTO policies (subject, statements) SELECT subject, '[]' FROM teams WHERE subject >= :from AND subject < :before
     ON CONFLICT DO UPDATE SET statements = '[]', version = version + 1`,
    range,
  );
  batch.run('DELETE FROM team_members WHERE team >= :from AND team < :before', range);
  batch.run('DELETE FROM teams WHERE subject >= :from AND subject < :before', range);
}

/** Lists the names of a team's members. @throws not-found if the team does not exist */
export async function listTeamMembers(env: Database, subject: string, { after, limit }: PageQuery): Promise<Page<string>> {
  const { items, more } = await listWithin<{ user: string }>(
    env,
    TEAM_EXISTS,
    "SELECT user FROM team_members WHERE team = :subject AND user > 'user:' || :after ORDER BY user LIMIT :rows",
    { subject, after, limit },
  );
  return { items: items.map(({ user }) => nameOf(user)), more };
}

/** Adds a user to a team. @throws not-found; conflict if the user is not a member of the organization; limit-reached */
export async function addTeamMember(env: Database, subject: string, user: string, by: Actor): Promise<{ added: boolean }> {
  const organization = organizationOf(subject);
  const parameters = { subject, user: `user:${user}`, organization };
  const batch = newBatch(env);
  batch.require('not-found', TEAM_EXISTS, { subject });
  batch.require('conflict', 'EXISTS (SELECT 1 FROM members WHERE user = :user AND organization = :organization)', parameters, {
    message: `${user} is no member of ${organization}. Nothing was changed: only its members can be in its teams`,
  });
  requireTeamMemberRoom(batch, env, subject, `user:${user}`);
  recordEvent(batch, {
    about: aboutOf(subject),
    by,
    select: `SELECT 'team-member.added' AS type, json_object('subject', :subject, 'user', :user) AS target
      WHERE NOT EXISTS (SELECT 1 FROM team_members WHERE user = :user AND team = :subject)`,
    parameters,
  });
  const added = batch.query(
    'INSERT INTO team_members (user, team) VALUES (:user, :subject) ON CONFLICT DO NOTHING RETURNING user',
    parameters,
  );
  return { added: (await batch.commit()).first(added) !== null };
}

/** Removes a user from a team. @throws not-found if the user is not in the team */
export async function removeTeamMember(env: Database, subject: string, user: string, by: Actor): Promise<void> {
  const parameters = { subject, user: `user:${user}` };
  const batch = newBatch(env);
  batch.require('not-found', 'EXISTS (SELECT 1 FROM team_members WHERE user = :user AND team = :subject)', parameters);
  recordEvent(batch, {
    about: aboutOf(subject),
    by,
    select: `SELECT 'team-member.removed' AS type, json_object('subject', :subject, 'user', :user) AS target`,
    parameters,
  });
  batch.run('DELETE FROM team_members WHERE user = :user AND team = :subject', parameters);
  await batch.commit();
}
