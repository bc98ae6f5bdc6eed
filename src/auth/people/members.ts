/** Members of organizations, with the roles `owner` and `member`. An organization always keeps at least one owner. */
import { type Batch, type Database, newBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import type { Page, PageQuery } from '../../oci/page.ts';
import { nameOf } from '../../vocabulary/names.ts';
import type { Particulars } from '../../vocabulary/refusal.ts';
import { type Grants, grantsIn, listOfGrants, queryGrants, removeGrants } from '../rights/policy-names.ts';
import { allOf, listWithin, ORGANIZATION_EXISTS, only } from '../within.ts';

export type Role = 'owner' | 'member';

export interface Member {
  /** The name of a user. */
  user: string;
  role: Role;
}

/** Lists members by name. @throws not-found if the organization does not exist */
export async function listMembers(env: Database, organization: string, { after, limit }: PageQuery): Promise<Page<Member>> {
  const { items, more } = await listWithin<Member>(
    env,
    ORGANIZATION_EXISTS,
    `SELECT user, role FROM members INDEXED BY members_by_organization
     WHERE organization = :organization AND user > 'user:' || :after ORDER BY user LIMIT :rows`,
    { organization, after, limit },
  );
  return { items: items.map(({ user, role }) => ({ user: nameOf(user), role })), more };
}

/** The maximum number of members that are searched for owners, and the maximum number of owners that are returned. */
const OWNERS_LOOKED_FOR = 200;
const OWNERS_NAMED = 3;

/**
 * Returns the names of a few owners whom a member can ask for help. The result is empty if there is no owner among the first
 * `OWNERS_LOOKED_FOR` members by name.
 */
export async function firstOwners(env: Database, organization: string): Promise<string[]> {
  const { results } = await prepare(
    env,
    `SELECT user FROM (SELECT user, role FROM members INDEXED BY members_by_organization
       WHERE organization = :organization ORDER BY user LIMIT ${OWNERS_LOOKED_FOR})
     JOIN accounts ON subject = user WHERE role = 'owner' AND disabled = 0 ORDER BY user LIMIT ${OWNERS_NAMED}`,
    { organization },
  ).all<{ user: string }>();
  return results.map(({ user }) => nameOf(user));
}

/** The number of days for which an invitation to join is open. */
const INVITATION_DAYS = 30;

/** The maximum numbers of members and of open invitations of one organization. */
const MEMBERS_MAX = 5000;
const INVITATIONS_MAX = 200;
/** The maximum number of organizations of one user. Each request of the user reads their policies. */
const ORGANIZATIONS_MAX = 50;

/** `invited` means that the user must accept first (`member-invitations.ts`). */
export type Outcome = 'added' | 'changed' | 'invited';

/** SQL condition: :subject is a member of :organization. */
const IS_MEMBER = 'EXISTS (SELECT 1 FROM members WHERE user = :subject AND organization = :organization)';

/** SQL condition: no invitation is needed, because :subject is already a member or :actor is an administrator. */
const WITHOUT_INVITATION = `(${IS_MEMBER}
  OR EXISTS (SELECT 1 FROM accounts WHERE subject = :actor AND administrator = 1 AND disabled = 0))`;

/** SQL condition: :subject has :role in :organization. */
const HAS_ROLE = 'EXISTS (SELECT 1 FROM members WHERE user = :subject AND organization = :organization AND role = :role)';

/** SQL condition: :subject has an open invitation to :organization with :role. */
const IS_INVITED = `EXISTS (SELECT 1 FROM organization_invitations
  WHERE user = :subject AND organization = :organization AND role = :role AND expires_at > unixepoch())`;

/**
 * Changes the role of a member, or invites a user. Only an administrator can add a member without an invitation, for example
 * the first owner of a new organization.
 * @throws not-found if the organization or the user does not exist, or the user is disabled; last-owner; limit-reached
 */
export async function putMember(
  env: Database,
  organization: string,
  { user, role }: Member,
  by: Actor,
): Promise<{ outcome: Outcome; expiresAt: number | null }> {
  const subject = `user:${user}`;
  const parameters = { subject, organization, role, actor: by.subject, lifetime: INVITATION_DAYS * 86400 };
  const batch = newBatch(env);
  requireOrganizationAndUser(batch, env, organization, user);
  requireMembershipRoom(batch, env, { organization, subject, invitedBy: by.subject });
  if (role !== 'owner') requireAnotherOwner(batch, organization, user);
  const previous = batch.query(`SELECT 1 WHERE ${IS_MEMBER}`, parameters);
  recordEvent(batch, {
    about: aboutOf(`organization:${organization}`),
    by,
    select: `SELECT iif(${WITHOUT_INVITATION}, 'member.changed', 'member.invited') AS type,
        json_object('subject', 'organization:' || :organization, 'user', :subject, 'role', :role,
          'previous', (SELECT role FROM members WHERE user = :subject AND organization = :organization)) AS target
      WHERE NOT ${HAS_ROLE} AND (${WITHOUT_INVITATION} OR NOT ${IS_INVITED})`,
    parameters,
  });
  batch.run(
    `INSERT INTO organization_invitations (user, organization, role, invited_by, created_at, expires_at)
     SELECT :subject, :organization, :role, :actor, unixepoch(), unixepoch() + :lifetime WHERE NOT ${WITHOUT_INVITATION}
     ON CONFLICT DO UPDATE SET role = :role, invited_by = :actor, expires_at = excluded.expires_at`,
    parameters,
  );
  batch.run(
    `INSERT INTO members (user, organization, role) SELECT :subject, :organization, :role WHERE ${WITHOUT_INVITATION}
     ON CONFLICT DO UPDATE SET role = :role WHERE role <> :role`,
    parameters,
  );
  batch.run(
    `DELETE FROM organization_invitations WHERE user = :subject AND organization = :organization AND ${IS_MEMBER}`,
    parameters,
  );
  const invitation = batch.query<{ expires_at: number }>(
    'SELECT expires_at FROM organization_invitations WHERE user = :subject AND organization = :organization',
    parameters,
  );
  const results = await batch.commit();
  const invited = results.first(invitation);
  if (invited) return { outcome: 'invited', expiresAt: invited.expires_at };
  return { outcome: results.first(previous) ? 'changed' : 'added', expiresAt: null };
}

function requireOrganizationAndUser(batch: Batch, env: Database, organization: string, user: string): void {
  batch.require('not-found', ORGANIZATION_EXISTS, { organization }, async () => {
    const found = await prepare(env, `SELECT 1 WHERE ${ORGANIZATION_EXISTS}`, { organization }).first();
    return found ? { message: `there is no user "${user}", or the user is disabled. Nothing was changed` } : {};
  });
  batch.require('not-found', 'EXISTS (SELECT 1 FROM accounts WHERE subject = :subject AND disabled = 0)', {
    subject: `user:${user}`,
  });
}

/** SQL conditions about the limits of :organization and :subject. Each is true if one more is allowed. */
const ROOM = {
  members: `(SELECT count(*) FROM members INDEXED BY members_by_organization
    WHERE organization = :organization) < ${MEMBERS_MAX}`,
  invitations: `(SELECT count(*) FROM organization_invitations INDEXED BY organization_invitations_by_organization
    WHERE organization = :organization AND user <> :subject AND expires_at > unixepoch()) < ${INVITATIONS_MAX}`,
  // An invitation is not refused because of this limit. Otherwise the owner who invites would learn how many organizations the
  // user has.
  organizations: `((:actor IS NOT NULL AND NOT ${WITHOUT_INVITATION})
    OR (SELECT count(*) FROM members WHERE user = :subject) < ${ORGANIZATIONS_MAX})`,
};

/**
 * Adds a precondition to the batch: making `subject` a member, or inviting `subject`, stays within the limits. Otherwise the
 * batch fails with `limit-reached`.
 * @param membership.invitedBy the subject who invites or adds the user; `null` if `subject` accepts an invitation
 */
export function requireMembershipRoom(
  batch: Batch,
  env: Database,
  { organization, subject, invitedBy }: { organization: string; subject: string; invitedBy: string | null },
): void {
  const parameters = { organization, subject, actor: invitedBy };
  batch.require('limit-reached', `${IS_MEMBER} OR (${Object.values(ROOM).join(' AND ')})`, parameters, () =>
    reachedLimit(env, organization, subject),
  );
}

async function reachedLimit(env: Database, organization: string, subject: string): Promise<Particulars> {
  const row = await prepare(env, `SELECT ${ROOM.members} AS members, ${ROOM.invitations} AS invitations`, {
    organization,
    subject,
  }).first<Record<'members' | 'invitations', number>>();
  const user = nameOf(subject);
  const reached = !row?.members
    ? `${organization} has ${MEMBERS_MAX} members, the most there can be`
    : !row.invitations
      ? `${organization} has ${INVITATIONS_MAX} open invitations, the most there can be: withdraw some first`
      : `${user} belongs to ${ORGANIZATIONS_MAX} organizations, the most there can be: ${user} has to leave one first`;
  return { message: `${reached}. Nothing was changed.` };
}

/**
 * Removes a member from the organization and from its teams. Allow statements in the policies of the organization's
 * repositories no longer name the user. Deny statements still do.
 * @returns the repositories whose policies allowed something to the user
 * @throws not-found, last-owner
 */
export async function removeMember(env: Database, organization: string, user: string, by: Actor): Promise<Grants> {
  const subject = `user:${user}`;
  const batch = newBatch(env);
  batch.require('not-found', IS_MEMBER, { subject, organization });
  requireAnotherOwner(batch, organization, user);
  const grants = queryGrants(batch, only(subject), organization);
  recordRemoved(batch, organization, subject, by);
  removeGrants(batch, only(subject), organization);
  batch.run('DELETE FROM team_members WHERE user = :subject AND team >= :from AND team < :before', {
    subject,
    ...allOf('team', organization),
  });
  batch.run('DELETE FROM members WHERE user = :subject AND organization = :organization', { subject, organization });
  return grantsIn((await batch.commit()).first(grants));
}

/**
 * Adds a precondition to the batch: without this user, the organization still has an owner who can log in. Otherwise the batch
 * fails with `last-owner`.
 */
function requireAnotherOwner(batch: Batch, organization: string, user: string): void {
  batch.require(
    'last-owner',
    `NOT EXISTS (SELECT 1 FROM members WHERE user = :subject AND organization = :organization AND role = 'owner')
     OR EXISTS (SELECT 1 FROM members INDEXED BY members_by_organization JOIN accounts ON subject = user
       WHERE organization = :organization AND role = 'owner' AND user <> :subject AND disabled = 0)`,
    { subject: `user:${user}`, organization },
    { message: `${user} is the last owner of ${organization}. Nothing was changed: make somebody else an owner first` },
  );
}

function recordRemoved(batch: Batch, organization: string, subject: string, by: Actor): void {
  const member = `'subject', 'organization:' || :organization, 'user', user, 'role', role`;
  recordEvent(batch, {
    about: aboutOf(`organization:${organization}`),
    by,
    select: `SELECT 'team-member.removed' AS type, json_object('subject', team, 'user', user) AS target
        FROM team_members WHERE user = :subject AND team >= :from AND team < :before
      UNION ALL SELECT 'member.removed', 
          iif(grants = '[]', json_object(${member}), json_object(${member}, 'grants', json(grants)))
        FROM members, (SELECT ${listOfGrants(':subject', ':organization')} AS grants)
        WHERE user = :subject AND organization = :organization`,
    parameters: { organization, subject, ...allOf('team', organization) },
  });
}
