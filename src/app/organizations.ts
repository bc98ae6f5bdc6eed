/** Organizations, their members, teams and robots. An administrator counts as an owner of every organization. */
import {
  acceptMembership as acceptInvitation,
  endInvitation,
  invitationsOf,
  invitationsTo,
  type MemberInvitation,
} from '../auth/people/member-invitations.ts';
import {
  listMembers as listMemberRows,
  type Member,
  type Outcome,
  putMember as saveMember,
  removeMember as takeMember,
} from '../auth/people/members.ts';
import {
  describeOrganization as describeRow,
  listOrganizations as listRows,
  type Organization,
  putOrganization as putRow,
  getOrganization as readRow,
  removeOrganization,
} from '../auth/people/organizations.ts';
import {
  deleteRobot as deleteRobotRow,
  getRobot as getRobotRow,
  listRobots as listRobotRows,
  putRobot as putRobotRow,
  type Robot,
  type RobotChange,
} from '../auth/people/robots.ts';
import {
  addTeamMember as addTeamMemberRow,
  deleteTeam as deleteTeamRow,
  getTeam as getTeamRow,
  listTeamMembers as listTeamMemberRows,
  listTeams as listTeamRows,
  putTeam as putTeamRow,
  removeTeamMember as removeTeamMemberRow,
  type Team,
} from '../auth/people/teams.ts';
import { isUnscopedUser } from '../auth/policy.ts';
import type { Grants } from '../auth/rights/policy-names.ts';
import { memberChange, organizationChange, robotChange, teamChange } from '../contract/organizations.ts';
import { valid } from '../contract/valid.ts';
import { newBatch } from '../events/batch.ts';
import type { Page, PageQuery } from '../oci/page.ts';
import { requireNoRepositories } from '../registry/repositories/descriptions.ts';
import { nameOf, organizationOf, parseNewName, requireSubject } from '../vocabulary/names.ts';
import { endSubscriptions } from '../webhooks/subscriptions.ts';
import {
  actorOf,
  requireAdministrator,
  requireMember,
  requireNotNarrowed,
  requireOwner,
  requireOwnerOrSelf,
  requireUnscopedUser,
} from './access.ts';
import type { Call } from './call.ts';
import { reviewOwners } from './webhook-owners.ts';

export type { MemberInvitation } from '../auth/people/member-invitations.ts';
export type { Member, Outcome } from '../auth/people/members.ts';
export type { Organization } from '../auth/people/organizations.ts';
export type { Robot, RobotChange } from '../auth/people/robots.ts';
export type { Team } from '../auth/people/teams.ts';
export type { Grants } from '../auth/rights/policy-names.ts';

/**
 * Returns the options of a change: the actor to record, and the version that the object must have. The version 0 means that the
 * object must not exist. `null` allows any version.
 */
function changeOf(call: Call, ifVersion: number | null) {
  return { ifVersion, by: actorOf(call) };
}

/** Lists the organizations to which the caller belongs. For administrators, lists all organizations. */
export async function listOrganizations(call: Call, page: PageQuery): Promise<Page<Organization>> {
  requireNotNarrowed(call);
  const { authority } = call;
  return listRows(call.env, { ...authority, administrator: authority.administrator && isUnscopedUser(authority) }, page);
}

export async function getOrganization(call: Call, name: string): Promise<Organization> {
  requireMember(call, name);
  return readRow(call.env, name);
}

/**
 * Creates an organization, or changes the description of the existing one.
 * @throws request-invalid if the name is reserved; name-taken if it can be confused with another name; version-mismatch
 */
export async function putOrganization(
  call: Call,
  name: string,
  description: string | undefined,
  ifVersion: number | null,
): Promise<{ organization: Organization; created: boolean }> {
  requireAdministrator(call);
  const wanted = valid(organizationChange, { description });
  return putRow(call.env, parseNewName(name), wanted.description, changeOf(call, ifVersion));
}

/** @throws not-found, version-mismatch */
export async function describeOrganization(
  call: Call,
  name: string,
  description: string | undefined,
  ifVersion: number | null,
): Promise<Organization> {
  requireOwner(call, name);
  const wanted = valid(organizationChange, { description });
  return describeRow(call.env, name, wanted.description, changeOf(call, ifVersion));
}

/**
 * Deletes an organization with its members, teams, robots, keys, trust rules and webhooks.
 * @throws not-empty if the organization has repositories; not-found, version-mismatch
 */
export async function deleteOrganization(call: Call, name: string, ifVersion: number | null): Promise<void> {
  requireAdministrator(call);
  const batch = newBatch(call.env);
  removeOrganization(batch, name, changeOf(call, ifVersion));
  requireNoRepositories(batch, name);
  endSubscriptions(batch, `organization:${name}`);
  await batch.commit();
}

export async function listMembers(call: Call, organization: string, page: PageQuery): Promise<Page<Member>> {
  requireMember(call, organization);
  return listMemberRows(call.env, organization, page);
}

/**
 * Changes the role of a member, or invites a user who is not a member yet. If the caller is an administrator, the user becomes
 * a member at once.
 * @returns the outcome, and the expiry of the invitation in seconds since the epoch if an invitation was created
 * @throws not-found, last-owner, limit-reached
 */
export async function putMember(
  call: Call,
  organization: string,
  member: Member,
): Promise<{ outcome: Outcome; expiresAt: number | null }> {
  requireOwner(call, organization);
  const { role } = valid(memberChange, { role: member.role });
  const saved = await saveMember(call.env, organization, { ...member, role }, actorOf(call));
  await reviewOwners(call, { people: [`user:${member.user}`] });
  return saved;
}

/**
 * Removes a member. Members may remove themselves.
 * @returns the organization's repositories whose policies named the member. The member was removed from these policies, too
 */
export async function removeMember(call: Call, organization: string, user: string): Promise<Grants> {
  requireOwnerOrSelf(call, organization, user);
  const grants = await takeMember(call.env, organization, user, actorOf(call));
  await reviewOwners(call, { people: [`user:${user}`] });
  return grants;
}

/** Lists the open invitations of an organization. */
export async function listInvitations(call: Call, organization: string, page: PageQuery): Promise<Page<MemberInvitation>> {
  requireOwner(call, organization);
  return invitationsTo(call.env, organization, page);
}

export async function withdrawInvitation(call: Call, organization: string, user: string): Promise<void> {
  requireOwner(call, organization);
  await endInvitation(call.env, organization, user, actorOf(call));
}

/** Lists the organizations that have invited the caller. */
export async function listOwnInvitations(call: Call, page: PageQuery): Promise<Page<MemberInvitation>> {
  requireUnscopedUser(call);
  return invitationsOf(call.env, call.authority.subject, page);
}

/** @throws conflict if the organization has not invited the caller; limit-reached */
export async function acceptMembership(call: Call, organization: string): Promise<Member> {
  requireUnscopedUser(call);
  return acceptInvitation(call.env, organization, actorOf(call));
}

export async function declineInvitation(call: Call, organization: string): Promise<void> {
  requireUnscopedUser(call);
  await endInvitation(call.env, organization, nameOf(call.authority.subject), actorOf(call));
}

export async function listTeams(call: Call, organization: string, page: PageQuery): Promise<Page<Team>> {
  requireMember(call, organization);
  return listTeamRows(call.env, organization, page);
}

/** @param team the subject of the team, as in all operations on teams */
export async function getTeam(call: Call, team: string): Promise<Team> {
  requireMember(call, organizationOf(team));
  return getTeamRow(call.env, team);
}

/**
 * Creates a team, or changes the description of the existing one.
 * @throws conflict if policies still name a deleted team of the same name, because the new team would get its rights;
 * version-mismatch, limit-reached, not-found
 */
export async function putTeam(
  call: Call,
  team: string,
  description: string | undefined,
  ifVersion: number | null,
): Promise<{ team: Team; created: boolean }> {
  requireOwner(call, organizationOf(team));
  const wanted = valid(teamChange, { description });
  requireSubject('team', team);
  return putTeamRow(call.env, team, wanted.description, { ...changeOf(call, ifVersion), authority: call.authority });
}

/** Deletes a team together with its policy. */
export async function deleteTeam(call: Call, team: string, ifVersion: number | null): Promise<void> {
  requireOwner(call, organizationOf(team));
  await deleteTeamRow(call.env, team, changeOf(call, ifVersion));
  // The rights of the team end for all its members. So the owners of all webhooks of the organization's repositories are
  // checked.
  await reviewOwners(call, { people: [], organizations: [`repository:${organizationOf(team)}`] });
}

export async function listTeamMembers(call: Call, team: string, page: PageQuery): Promise<Page<string>> {
  requireMember(call, organizationOf(team));
  return listTeamMemberRows(call.env, team, page);
}

/** @throws conflict if the user is not a member of the organization */
export async function addTeamMember(call: Call, team: string, user: string): Promise<{ added: boolean }> {
  requireOwner(call, organizationOf(team));
  const result = await addTeamMemberRow(call.env, team, user, actorOf(call));
  await reviewOwners(call, { people: [`user:${user}`] });
  return result;
}

/** Removes a member from a team. Members may remove themselves. */
export async function removeTeamMember(call: Call, team: string, user: string): Promise<void> {
  requireOwnerOrSelf(call, organizationOf(team), user);
  await removeTeamMemberRow(call.env, team, user, actorOf(call));
  await reviewOwners(call, { people: [`user:${user}`] });
}

export async function listRobots(call: Call, organization: string, page: PageQuery): Promise<Page<Robot>> {
  requireOwner(call, organization);
  return listRobotRows(call.env, organization, page);
}

/** @param robot the subject of the robot, as in all operations on robots */
export async function getRobot(call: Call, robot: string): Promise<Robot> {
  requireOwner(call, organizationOf(robot));
  return getRobotRow(call.env, robot);
}

/** Creates a robot, or changes the existing one: its description, and whether it is disabled. */
export async function putRobot(
  call: Call,
  robot: string,
  change: RobotChange,
  ifVersion: number | null,
): Promise<{ robot: Robot; created: boolean }> {
  requireOwner(call, organizationOf(robot));
  requireSubject('robot', robot);
  const saved = await putRobotRow(call.env, robot, valid(robotChange, change), changeOf(call, ifVersion));
  if (!saved.created) await reviewOwners(call, { people: [robot] });
  return saved;
}

/**
 * Deletes a robot together with its keys and its policy.
 * @returns the organization's repositories whose policies named the robot. The robot was removed from these policies, too
 */
export async function deleteRobot(call: Call, robot: string, ifVersion: number | null): Promise<Grants> {
  requireOwner(call, organizationOf(robot));
  const grants = await deleteRobotRow(call.env, robot, changeOf(call, ifVersion));
  await reviewOwners(call, { people: [robot] });
  return grants;
}
