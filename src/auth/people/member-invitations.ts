/**
 * Invitations to join an organization. The policies of an organization apply to all requests of its members, so nobody becomes
 * a member without agreeing. The invited user accepts or declines, and an owner can withdraw the invitation.
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
  /** The name of the invited user. */
  user: string;
  role: Role;
  /** The subject of the user who invited, for example `user:alice`. */
  invitedBy: string;
  /** In seconds since the epoch. */
  expiresAt: number;
}

const COLUMNS = 'organization, substr(user, 6) AS user, role, invited_by AS invitedBy, expires_at AS expiresAt';

/** SQL condition on a row of `organization_invitations`: the invitation has not expired. */
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

/** Lists the open invitations to one organization, by user. @throws not-found if the organization does not exist */
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

/**
 * Accepts an invitation: the user becomes a member. @throws conflict if no invitation is open; limit-reached for the user or
 * the organization
 */
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
  requireMembershipRoom(batch, env, { organization, subject: by.subject, invitedBy: null });
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

/**
 * Ends an invitation, because the invited user declines it or an owner withdraws it. If no invitation is open, nothing happens.
 * @throws not-found if an owner withdraws it and the organization does not exist
 */
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
