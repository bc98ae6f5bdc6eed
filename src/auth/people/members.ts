/** Users in organizations, and the two roles they can have there. An organization that has an owner always has one. */
import { refuseUnless, tryBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import type { Page, PageQuery } from '../../oci/page.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { Database } from '../directory.ts';
import { nameOf } from '../names.ts';
import { type Grants, grantsIn, listOfGrants, removeGrants, selectGrants } from '../policy-names.ts';
import { allOf, listWithin, only, organizationRow, requireOrganization } from '../within.ts';

export type Role = 'owner' | 'member';

export interface Member {
  /** A user's name. */
  user: string;
  role: Role;
}

/** By name. @throws not-found */
export async function listMembers(env: Database, organization: string, { after, limit }: PageQuery): Promise<Page<Member>> {
  const rows = env.DB.prepare(
    `SELECT user, role FROM members INDEXED BY members_by_organization
     WHERE organization = ?1 AND user > 'user:' || ?2 ORDER BY user LIMIT ?3`,
  ).bind(organization, after, limit + 1);
  const { items, more } = await listWithin<Member>(env, organizationRow(env, organization), rows, limit);
  return { items: items.map(({ user, role }) => ({ user: nameOf(user), role })), more };
}

/** Days that an invitation to join is open. */
const INVITATION_DAYS = 30;

/** Members and open invitations of one organization. */
const MEMBERS_MAX = 5000;
const INVITATIONS_MAX = 200;
/** Organizations that one user belongs to: what they say counts in each of the user's requests. */
const ORGANIZATIONS_MAX = 50;

/** `invited`: they have to accept first, see `member-invitations.ts`. */
export type Outcome = 'added' | 'changed' | 'invited';

/**
 * Gives a member another role, and invites somebody who is none. Only an administrator of the registry adds without asking: they
 * set up organizations with their first owner, and could act in the user's place anyway.
 * @throws not-found where there is no such organization or user, or the user is disabled; conflict for the last owner, and beyond
 *   the limits of members, invitations or organizations
 */
export async function putMember(
  env: Database,
  organization: string,
  { user, role }: Member,
  by: Actor,
): Promise<{ outcome: Outcome; expiresAt: number | null }> {
  const subject = `user:${user}`;
  const about = aboutOf(`organization:${organization}`);
  const done = await tryBatch(env, [
    requireOrganization(env, organization),
    refuseUnless(env, 'EXISTS (SELECT 1 FROM accounts WHERE subject = ?1 AND disabled = 0)', subject),
    ...(role === 'owner' ? [] : [requireAnotherOwner(env, organization, subject)]),
    requireRoom(env, organization, subject),
    env.DB.prepare('SELECT role FROM members WHERE user = ?1 AND organization = ?2').bind(subject, organization),
    record(env, {
      about,
      by,
      select: `SELECT iif(${DIRECTLY}, 'member.changed', 'member.invited') AS type,
          json_object('subject', 'organization:' || ?4, 'user', ?3, 'role', ?5, 'previous', members.role) AS target
        FROM (SELECT 1) LEFT JOIN members ON members.user = ?3 AND members.organization = ?4
        WHERE members.role IS NOT ?5 AND (${DIRECTLY} OR NOT EXISTS (SELECT 1 FROM organization_invitations
          WHERE user = ?3 AND organization = ?4 AND role = ?5 AND expires_at > unixepoch()))`,
      parameters: [subject, organization, role],
    }),
    env.DB.prepare(
      `INSERT INTO organization_invitations (user, organization, role, invited_by, created_at, expires_at)
       SELECT ?3, ?4, ?5, ?2, unixepoch(), unixepoch() + ?1 WHERE NOT ${DIRECTLY}
       ON CONFLICT DO UPDATE SET role = ?5, invited_by = ?2, expires_at = excluded.expires_at`,
    ).bind(INVITATION_DAYS * 86400, by.subject, subject, organization, role),
    env.DB.prepare(
      `INSERT INTO members (user, organization, role) SELECT ?3, ?4, ?5 WHERE ?1 AND ${DIRECTLY}
       ON CONFLICT DO UPDATE SET role = ?5 WHERE role <> ?5`,
    ).bind(1, by.subject, subject, organization, role),
    env.DB.prepare(
      `DELETE FROM organization_invitations WHERE user = ?1 AND organization = ?2
         AND EXISTS (SELECT 1 FROM members WHERE user = ?1 AND organization = ?2)`,
    ).bind(subject, organization),
    env.DB.prepare('SELECT expires_at FROM organization_invitations WHERE user = ?1 AND organization = ?2').bind(
      subject,
      organization,
    ),
  ]);
  if (!done) throw await refusalOf(env, organization, user);
  const invited = done.at(-1)?.results[0] as { expires_at: number } | undefined;
  if (invited) return { outcome: 'invited', expiresAt: invited.expires_at };
  return { outcome: done.at(-6)?.results.length === 0 ? 'added' : 'changed', expiresAt: null };
}

/** SQL: user ?3 is a member of ?4 already, or whoever asks (?2) is an administrator. */
const DIRECTLY = `(EXISTS (SELECT 1 FROM members WHERE user = ?3 AND organization = ?4)
  OR EXISTS (SELECT 1 FROM accounts WHERE subject = ?2 AND administrator = 1 AND disabled = 0))`;

const ROOM = {
  members: `(SELECT count(*) FROM members INDEXED BY members_by_organization WHERE organization = ?1) < ${MEMBERS_MAX}`,
  invitations: `(SELECT count(*) FROM organization_invitations INDEXED BY organization_invitations_by_organization
    WHERE organization = ?1 AND user <> ?2 AND expires_at > unixepoch()) < ${INVITATIONS_MAX}`,
  organizations: `(SELECT count(*) FROM members WHERE user = ?2) < ${ORGANIZATIONS_MAX}`,
};

/** For a batch that makes `subject` a member, or invites them: refuses it beyond the limits. Those who are members may stay. */
export function requireRoom(env: Database, organization: string, subject: string): D1PreparedStatement {
  const member = 'EXISTS (SELECT 1 FROM members WHERE user = ?2 AND organization = ?1)';
  return refuseUnless(env, `${member} OR (${Object.values(ROOM).join(' AND ')})`, organization, subject);
}

/** For the same, after it was refused: `null` where it was for something else. */
export async function roomRefusal(env: Database, organization: string, subject: string): Promise<Refusal | null> {
  const row = await env.DB.prepare(
    `SELECT ${ROOM.members} AS members, ${ROOM.invitations} AS invitations, ${ROOM.organizations} AS organizations`,
  )
    .bind(organization, subject)
    .first<Record<keyof typeof ROOM, number>>();
  const full = (message: string) => new Refusal('limit-reached', { message: `${message}. Nothing was changed.` });
  if (!row?.members) return full(`${organization} has ${MEMBERS_MAX} members already, as many as an organization may have`);
  if (!row.invitations) return full(`${organization} has ${INVITATIONS_MAX} open invitations: take back some first`);
  if (row.organizations) return null;
  return full(
    `${nameOf(subject)} belongs to ${ORGANIZATIONS_MAX} organizations already, as many as one user may: leave one first`,
  );
}

/**
 * They leave the organization's teams too, and its repositories allow them nothing by name any more; what is denied to them stays.
 * Anybody may remove themselves. Returns what was taken from policies.
 * @throws not-found, conflict for the last owner
 */
export async function removeMember(env: Database, organization: string, user: string, by: Actor): Promise<Grants> {
  const subject = `user:${user}`;
  const { from, before } = allOf('team', organization);
  const isMember = 'EXISTS (SELECT 1 FROM members WHERE user = ?1 AND organization = ?2)';
  const done = await tryBatch(env, [
    refuseUnless(env, isMember, subject, organization),
    requireAnotherOwner(env, organization, subject),
    selectGrants(env, only(subject), organization),
    recordRemoved(env, organization, subject, by),
    ...removeGrants(env, only(subject), organization),
    env.DB.prepare('DELETE FROM team_members WHERE user = ?1 AND team >= ?2 AND team < ?3').bind(subject, from, before),
    env.DB.prepare('DELETE FROM members WHERE user = ?1 AND organization = ?2').bind(subject, organization),
  ]);
  if (done) return grantsIn(done[2]);
  const there = await env.DB.prepare(`SELECT 1 WHERE ${isMember}`).bind(subject, organization).first();
  throw there ? lastOwner(organization, user) : new Refusal('not-found');
}

/** For a batch after which `subject` is no owner any more: refuses it where no other could act as one. */
function requireAnotherOwner(env: Database, organization: string, subject: string): D1PreparedStatement {
  return refuseUnless(
    env,
    `NOT EXISTS (SELECT 1 FROM members WHERE user = ?2 AND organization = ?1 AND role = 'owner')
     OR EXISTS (SELECT 1 FROM members INDEXED BY members_by_organization JOIN accounts ON subject = user
       WHERE organization = ?1 AND role = 'owner' AND user <> ?2 AND disabled = 0)`,
    organization,
    subject,
  );
}

async function refusalOf(env: Database, organization: string, user: string): Promise<Refusal> {
  const [there, account] = await env.DB.batch([
    organizationRow(env, organization),
    env.DB.prepare(`SELECT 1 FROM accounts WHERE subject = 'user:' || ?1 AND disabled = 0`).bind(user),
  ]);
  if (!there?.results.length) return new Refusal('not-found');
  if (!account?.results.length) return new Refusal('not-found', { message: `there is no user "${user}", or not any more` });
  return (await roomRefusal(env, organization, `user:${user}`)) ?? lastOwner(organization, user);
}

function recordRemoved(env: Database, organization: string, subject: string, by: Actor): D1PreparedStatement {
  const { from, before } = allOf('team', organization);
  const member = `'subject', 'organization:' || ?3, 'user', user, 'role', role`;
  return record(env, {
    about: aboutOf(`organization:${organization}`),
    by,
    select: `SELECT 'team-member.removed' AS type, json_object('subject', team, 'user', user) AS target
        FROM team_members WHERE user = ?4 AND team >= ?5 AND team < ?6
      UNION ALL SELECT 'member.removed', iif(grants = '[]', json_object(${member}), json_object(${member}, 'grants', json(grants)))
        FROM members, (SELECT ${listOfGrants('?4', '?3')} AS grants) WHERE user = ?4 AND organization = ?3`,
    parameters: [organization, subject, from, before],
  });
}

function lastOwner(organization: string, user: string): Refusal {
  return new Refusal('last-owner', {
    message: `${user} is the last owner of ${organization}: make somebody else one first`,
  });
}
