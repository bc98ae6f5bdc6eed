/**
 * Invitations to join an organization. Policies of an organization apply to its members' requests, so nobody becomes a member
 * without agreeing: the invited user accepts or declines, and an owner can withdraw the invitation.
 */
import { type Batch, type Database, newBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import { type Page, type PageQuery, pageOf } from '../../oci/page.ts';
import { nameOf } from '../../vocabulary/names.ts';
import { listWithin, ORGANIZATION_EXISTS, requireOrganization } from '../within.ts';
import { type Member, type Role, requireMembershipRoom } from './members.ts';

export interface MemberInvitation {
  organization: string;
  /** A user's name. */
  user: string;
  role: Role;
  /** `user:alice` */
  invitedBy: string;
  /** Seconds since the epoch. */
  expiresAt: number;
}

const COLUMNS = 'organization, substr(user, 6) AS user, role, invited_by AS invitedBy, expires_at AS expiresAt';

/** SQL: the invitation of this row can be accepted. */
const OPEN = 'expires_at > unixepoch()';

/** Lists the open invitations of one user, by organization. */
export async function invitationsOf(
  env: Database,
  subject: string,
  { after, limit }: PageQuery,
): Promise<Page<MemberInvitation>> {
  const { results } = await prepare(
    env,
    `SELECT ${COLUMNS} FROM organization_invitations WHERE user = :subject AND organization > :after AND ${OPEN}
     ORDER BY organization LIMIT :rows`,
    { subject, after, rows: limit + 1 },
  ).all<MemberInvitation>();
  return pageOf(results, limit);
}

/** Lists the open invitations to one organization, by user. @throws not-found */
export function invitationsTo(
  env: Database,
  organization: string,
  { after, limit }: PageQuery,
): Promise<Page<MemberInvitation>> {
  return listWithin(
    env,
    ORGANIZATION_EXISTS,
    `SELECT ${COLUMNS} FROM organization_invitations INDEXED BY organization_invitations_by_organization
     WHERE organization = :organization AND user > 'user:' || :after AND ${OPEN} ORDER BY user LIMIT :rows`,
    { organization, after, limit },
  );
}

/** The invited user joins. @throws conflict if no invitation is open; limit-reached for the user or the organization */
export async function acceptMembership(env: Database, organization: string, by: Actor): Promise<Member> {
  const parameters = { subject: by.subject, organization };
  const batch = newBatch(env);
  batch.require(
    'conflict',
    `EXISTS (SELECT 1 FROM organization_invitations WHERE user = :subject AND organization = :organization AND ${OPEN})
     AND EXISTS (SELECT 1 FROM accounts WHERE subject = :subject AND disabled = 0) AND ${ORGANIZATION_EXISTS}`,
    parameters,
    { message: `you have no open invitation to ${organization}. Nothing was changed: ask an owner for another one` },
  );
  requireMembershipRoom(batch, env, organization, by.subject);
  recordEvent(batch, {
    about: aboutOf(`organization:${organization}`),
    by,
    select: `SELECT 'member.changed' AS type,
        json_object('subject', 'organization:' || organization, 'user', user, 'role', role, 'previous', NULL) AS target
      FROM organization_invitations WHERE user = :subject AND organization = :organization`,
    parameters,
  });
  batch.run(
    `INSERT INTO members (user, organization, role)
     SELECT user, organization, role FROM organization_invitations WHERE user = :subject AND organization = :organization
     ON CONFLICT DO NOTHING`,
    parameters,
  );
  deleteInvitation(batch, organization, by.subject);
  const member = batch.query<{ role: Role }>(
    'SELECT role FROM members WHERE user = :subject AND organization = :organization',
    parameters,
  );
  const results = await batch.commit();
  return { user: nameOf(by.subject), role: results.first(member)?.role ?? 'member' };
}

/** The user declines, or an owner withdraws the invitation. Does nothing if none is open. @throws not-found to an owner */
export async function endInvitation(env: Database, organization: string, user: string, by: Actor): Promise<void> {
  const subject = `user:${user}`;
  const batch = newBatch(env);
  if (by.subject !== subject) requireOrganization(batch, organization);
  recordEvent(batch, {
    about: aboutOf(`organization:${organization}`),
    by,
    select: `SELECT 'member.uninvited' AS type, json_object('subject', 'organization:' || organization, 'user', user) AS target
      FROM organization_invitations WHERE user = :subject AND organization = :organization AND ${OPEN}`,
    parameters: { subject, organization },
  });
  deleteInvitation(batch, organization, subject);
  await batch.commit();
}

function deleteInvitation(batch: Batch, organization: string, subject: string): void {
  batch.run('DELETE FROM organization_invitations WHERE user = :subject AND organization = :organization', {
    subject,
    organization,
  });
}
