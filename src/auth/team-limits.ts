/**
 * How much an organization may hang on one member: what its teams say is read in each of the member's requests (invariant 12).
 * Limits are by organization, so that none can use up what another has, nor learn of it.
 */
import { refuseUnless } from '../events/batch.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import type { Database } from './directory.ts';
import { nameOf, organizationOf } from './names.ts';
import { allOf } from './within.ts';

/** UTF-8 bytes of the policies of all teams of one organization that a member is in. */
export const TEAM_BYTES_MAX = 32 * 1024;
const TEAMS_OF_MEMBER_MAX = 50;
const TEAM_MEMBERS_MAX = 1000;
const TEAMS_MAX = 200;
const ROBOTS_MAX = 500;

/** For a batch that makes a team or a robot: refuses it where the organization has as many as it may, and this one is not there. */
export function requireRoomFor(env: Database, subject: string): D1PreparedStatement {
  const isTeam = subject.startsWith('team:');
  const { from, before } = allOf(isTeam ? 'team' : 'robot', organizationOf(subject));
  const [table, alive, most] = isTeam ? ['teams', 'TRUE', TEAMS_MAX] : ['accounts', 'disabled < 2', ROBOTS_MAX];
  return refuseUnless(
    env,
    `EXISTS (SELECT 1 FROM ${table} WHERE subject = ?1)
     OR (SELECT count(*) FROM ${table} WHERE subject >= ?2 AND subject < ?3 AND ${alive}) < ${most}`,
    subject,
    from,
    before,
  );
}

/** For the same, after it was refused: `null` where it was for something else. */
export async function roomForRefusal(env: Database, subject: string): Promise<Refusal | null> {
  const isTeam = subject.startsWith('team:');
  const { from, before } = allOf(isTeam ? 'team' : 'robot', organizationOf(subject));
  const [table, alive, most] = isTeam ? ['teams', 'TRUE', TEAMS_MAX] : ['accounts', 'disabled < 2', ROBOTS_MAX];
  const count = await env.DB.prepare(`SELECT count(*) AS count FROM ${table} WHERE subject >= ?1 AND subject < ?2 AND ${alive}`)
    .bind(from, before)
    .first<number>('count');
  if ((count ?? 0) < most) return null;
  return limitReached(`${organizationOf(subject)} has ${most} ${isTeam ? 'teams' : 'robots'} already: delete one first`);
}

/** ?1 the team, ?2 the user, ?3 and ?4 the span of the organization's teams. */
const OTHER_TEAMS = 'FROM team_members WHERE user = ?2 AND team >= ?3 AND team < ?4 AND team <> ?1';

const MEMBER_ROOM = {
  members: `(SELECT count(*) FROM team_members INDEXED BY team_members_by_team WHERE team = ?1) < ${TEAM_MEMBERS_MAX}`,
  teams: `(SELECT count(*) ${OTHER_TEAMS}) < ${TEAMS_OF_MEMBER_MAX}`,
  bytes: `(SELECT coalesce(sum(octet_length(statements)), 0) FROM policies
    WHERE subject = ?1 OR subject IN (SELECT team ${OTHER_TEAMS})) <= ${TEAM_BYTES_MAX}`,
};

/** For a batch that adds a user to a team: refuses it beyond the limits. Whoever is in it may stay. */
export function requireMemberRoom(env: Database, team: string, user: string): D1PreparedStatement {
  const condition = `EXISTS (SELECT 1 FROM team_members WHERE user = ?2 AND team = ?1) OR (${Object.values(MEMBER_ROOM).join(' AND ')})`;
  return refuseUnless(env, condition, ...memberParameters(team, user));
}

/** For the same, after it was refused: `null` where it was for something else. */
export async function memberRoomRefusal(env: Database, team: string, user: string): Promise<Refusal | null> {
  const row = await env.DB.prepare(
    `SELECT ${MEMBER_ROOM.members} AS members, ${MEMBER_ROOM.teams} AS teams, ${MEMBER_ROOM.bytes} AS bytes`,
  )
    .bind(...memberParameters(team, user))
    .first<Record<keyof typeof MEMBER_ROOM, number>>();
  const organization = organizationOf(team);
  if (!row?.members) return limitReached(`${nameOf(team)} has ${TEAM_MEMBERS_MAX} members already, as many as a team may have`);
  if (!row.teams)
    return limitReached(
      `${nameOf(user)} is in ${TEAMS_OF_MEMBER_MAX} teams of ${organization} already, as many as one may be in`,
    );
  if (row.bytes) return null;
  return limitReached(
    `with this team, the policies of ${nameOf(user)}'s teams in ${organization} would have more than ${TEAM_BYTES_MAX} bytes`,
  );
}

function memberParameters(team: string, user: string): string[] {
  const { from, before } = allOf('team', organizationOf(team));
  return [team, user, from, before];
}

/** A member of team ?1 whose other teams (between ?2 and ?3) leave no room for ?4 bytes. */
const OVERFULL = `SELECT m.user FROM team_members m INDEXED BY team_members_by_team
  JOIN team_members o ON o.user = m.user AND o.team >= ?2 AND o.team < ?3 AND o.team <> ?1
  JOIN policies p ON p.subject = o.team
  WHERE m.team = ?1 GROUP BY m.user HAVING sum(octet_length(p.statements)) + ?4 > ${TEAM_BYTES_MAX} LIMIT 1`;

/** For a batch that saves `bytes` of statements of a team: refuses it where a member's teams would say too much together. */
export function requirePolicyRoom(env: Database, team: string, bytes: number): D1PreparedStatement {
  const { from, before } = allOf('team', organizationOf(team));
  // What makes a policy smaller is never refused.
  const smaller = '(SELECT octet_length(statements) FROM policies WHERE subject = ?1) >= ?4';
  return refuseUnless(env, `coalesce(${smaller}, FALSE) OR NOT EXISTS (${OVERFULL})`, team, from, before, bytes);
}

/** For the same, after it was refused: `null` where it was for something else. */
export async function policyRoomRefusal(env: Database, team: string, bytes: number): Promise<Refusal | null> {
  const { from, before } = allOf('team', organizationOf(team));
  const member = await env.DB.prepare(OVERFULL).bind(team, from, before, bytes).first<string>('user');
  if (member === null) return null;
  return limitReached(
    `with these ${bytes} bytes, the policies of ${nameOf(member)}'s teams in ${organizationOf(team)} would have more than ${TEAM_BYTES_MAX} bytes`,
  );
}

function limitReached(message: string): Refusal {
  return new Refusal('limit-reached', { message: `${message}. Nothing was changed.` });
}
