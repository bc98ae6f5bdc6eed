/**
 * Limits of the teams and robots of one organization. Each request of a member reads the policies of the member's teams, so
 * these policies must be short (invariant 12). Each organization has its own limits: no organization can use up the limits of
 * another, or learn about them.
 */
import type { Batch, Database } from '../events/batch.ts';
import { prepare } from '../events/sql.ts';
import { nameOf, organizationOf } from '../vocabulary/names.ts';
import type { Particulars } from '../vocabulary/refusal.ts';
import { allOf, DELETED } from './within.ts';

/** The maximum number of UTF-8 bytes of the policies of all teams of one member in one organization. */
const TEAM_BYTES_MAX = 32 * 1024;
const TEAMS_OF_MEMBER_MAX = 50;
const TEAM_MEMBERS_MAX = 1000;
const TEAMS_MAX = 200;
const ROBOTS_MAX = 500;

/**
 * Adds a precondition to the batch: a new team or robot does not exceed the organization's limit. Otherwise the batch fails
 * with `limit-reached`.
 */
export function requireRoomInOrganization(batch: Batch, subject: string): void {
  const kind = subject.startsWith('team:') ? 'team' : 'robot';
  const organization = organizationOf(subject);
  const [table, exists, most] =
    kind === 'team' ? ['teams', 'TRUE', TEAMS_MAX] : ['accounts', `disabled <> ${DELETED}`, ROBOTS_MAX];
  batch.require(
    'limit-reached',
    `EXISTS (SELECT 1 FROM ${table} WHERE subject = :subject)
     OR (SELECT count(*) FROM ${table} WHERE subject >= :from AND subject < :before AND ${exists}) < ${most}`,
    { subject, ...allOf(kind, organization) },
    limitReached(`${organization} has ${most} ${kind}s, the most there can be: delete one first`),
  );
}

/** SQL: the teams of one organization (from :from to :before) to which :user belongs, except :team. */
const OTHER_TEAMS = 'FROM team_members WHERE user = :user AND team >= :from AND team < :before AND team <> :team';

/** SQL conditions about the limits for adding :user to :team. Each is true if :user can be added. */
const MEMBER_ROOM = {
  members: `(SELECT count(*) FROM team_members INDEXED BY team_members_by_team WHERE team = :team) < ${TEAM_MEMBERS_MAX}`,
  teams: `(SELECT count(*) ${OTHER_TEAMS}) < ${TEAMS_OF_MEMBER_MAX}`,
  bytes: `(SELECT coalesce(sum(octet_length(statements)), 0) FROM policies
    WHERE subject = :team OR subject IN (SELECT team ${OTHER_TEAMS})) <= ${TEAM_BYTES_MAX}`,
};

/**
 * Adds a precondition to the batch: adding a user to a team stays within the limits. Otherwise the batch fails with
 * `limit-reached`. If the user is already in the team, it holds.
 */
export function requireTeamMemberRoom(batch: Batch, env: Database, team: string, user: string): void {
  const parameters = { team, user, ...allOf('team', organizationOf(team)) };
  batch.require(
    'limit-reached',
    `EXISTS (SELECT 1 FROM team_members WHERE user = :user AND team = :team) OR (${Object.values(MEMBER_ROOM).join(' AND ')})`,
    parameters,
    async () => {
      const sql = `SELECT ${MEMBER_ROOM.members} AS members, ${MEMBER_ROOM.teams} AS teams`;
      const row = await prepare(env, sql, parameters).first<Record<'members' | 'teams', number>>();
      const organization = organizationOf(team);
      if (!row?.members) return limitReached(`${nameOf(team)} has ${TEAM_MEMBERS_MAX} members, the most there can be`);
      if (!row.teams) {
        return limitReached(`${nameOf(user)} is in ${TEAMS_OF_MEMBER_MAX} teams of ${organization}, the most there can be`);
      }
      return limitReached(
        `with this team, the policies of ${nameOf(user)}'s teams in ${organization} would have more than ` +
          `${TEAM_BYTES_MAX} bytes`,
      );
    },
  );
}

/**
 * SQL query: a member of :team whose policies of other teams (from :from to :before) leave no space for a policy of :bytes
 * bytes.
 */
const OVERFULL_MEMBER = `SELECT m.user FROM team_members m INDEXED BY team_members_by_team
  JOIN team_members o ON o.user = m.user AND o.team >= :from AND o.team < :before AND o.team <> :team
  JOIN policies p ON p.subject = o.team
  WHERE m.team = :team GROUP BY m.user HAVING sum(octet_length(p.statements)) + :bytes > ${TEAM_BYTES_MAX} LIMIT 1`;

/**
 * Adds a precondition to the batch: a team policy of `bytes` bytes stays within the limit of all members. Otherwise the batch
 * fails with `limit-reached`. A policy that becomes shorter is always accepted.
 */
export function requirePolicyRoom(batch: Batch, env: Database, team: string, bytes: number): void {
  const parameters = { team, bytes, ...allOf('team', organizationOf(team)) };
  batch.require(
    'limit-reached',
    `coalesce((SELECT octet_length(statements) FROM policies WHERE subject = :team) >= :bytes, FALSE)
     OR NOT EXISTS (${OVERFULL_MEMBER})`,
    parameters,
    async () => {
      const member = (await prepare(env, OVERFULL_MEMBER, parameters).first<string>('user')) ?? 'user:of a member';
      return limitReached(
        `with these ${bytes} bytes, the policies of ${nameOf(member)}'s teams in ${organizationOf(team)} would have ` +
          `more than ${TEAM_BYTES_MAX} bytes`,
      );
    },
  );
}

function limitReached(message: string): Particulars {
  return { message: `${message}. Nothing was changed.` };
}
