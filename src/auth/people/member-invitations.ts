/**
 * Invitations to join an organization. What an organization says of its members counts in their requests, so nobody becomes one
 * without having agreed: the invited user accepts or declines, and its owners may take the invitation back.
 */
import { refuseUnless, tryBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import { type Page, type PageQuery, pageOf } from '../../oci/page.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { Database } from '../directory.ts';
import { nameOf } from '../names.ts';
import { listWithin, organizationRow, requireOrganization } from '../within.ts';
import { type Member, type Role, requireRoom, roomRefusal } from './members.ts';

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

const OPEN = 'expires_at > unixepoch()';

/** Those of one user, by organization. */
export async function invitationsOf(
  env: Database,
  subject: string,
  { after, limit }: PageQuery,
): Promise<Page<MemberInvitation>> {
  const { results } = await env.DB.prepare(
    `SELECT ${COLUMNS} FROM organization_invitations WHERE user = ?1 AND organization > ?2 AND ${OPEN}
     ORDER BY organization LIMIT ?3`,
  )
    .bind(subject, after, limit + 1)
    .all<MemberInvitation>();
  return pageOf(results, limit);
}

/** Those of one organization, by user. @throws not-found */
export function invitationsTo(
  env: Database,
  organization: string,
  { after, limit }: PageQuery,
): Promise<Page<MemberInvitation>> {
  const rows = env.DB.prepare(
    `SELECT ${COLUMNS} FROM organization_invitations INDEXED BY organization_invitations_by_organization
     WHERE organization = ?1 AND user > 'user:' || ?2 AND ${OPEN} ORDER BY user LIMIT ?3`,
  ).bind(organization, after, limit + 1);
  return listWithin(env, organizationRow(env, organization), rows, limit);
}

/** The invited user joins. @throws conflict where no invitation is open, or one of the two has no room */
export async function acceptMembership(env: Database, organization: string, by: Actor): Promise<Member> {
  const user = nameOf(by.subject);
  const invited = `SELECT 1 FROM organization_invitations WHERE user = ?1 AND organization = ?2 AND ${OPEN}`;
  const done = await tryBatch(env, [
    requireOrganization(env, organization),
    refuseUnless(
      env,
      `EXISTS (${invited}) AND EXISTS (SELECT 1 FROM accounts WHERE subject = ?1 AND disabled = 0)`,
      by.subject,
      organization,
    ),
    requireRoom(env, organization, by.subject),
    record(env, {
      about: aboutOf(`organization:${organization}`),
      by,
      select: `SELECT 'member.changed' AS type,
          json_object('subject', 'organization:' || organization, 'user', user, 'role', role, 'previous', NULL) AS target
        FROM organization_invitations WHERE user = ?3 AND organization = ?4`,
      parameters: [by.subject, organization],
    }),
    env.DB.prepare(
      `INSERT INTO members (user, organization, role)
       SELECT user, organization, role FROM organization_invitations WHERE user = ?1 AND organization = ?2 ON CONFLICT DO NOTHING`,
    ).bind(by.subject, organization),
    forgetInvitation(env, organization, by.subject),
    env.DB.prepare('SELECT role FROM members WHERE user = ?1 AND organization = ?2').bind(by.subject, organization),
  ]);
  const made = done?.at(-1)?.results[0] as { role: Role } | undefined;
  if (made) return { user, role: made.role };
  const full = await roomRefusal(env, organization, by.subject);
  const open = await env.DB.prepare(invited).bind(by.subject, organization).first();
  if (open && full) throw full;
  throw new Refusal('conflict', {
    message: `no invitation of yours to ${organization} is open: ask an owner for another`,
  });
}

/** The user declines, or an owner takes it back. Where none is open nothing happens. @throws not-found to an owner of nothing */
export async function endInvitation(env: Database, organization: string, user: string, by: Actor): Promise<void> {
  const subject = `user:${user}`;
  const done = await tryBatch(env, [
    ...(by.subject === subject ? [] : [requireOrganization(env, organization)]),
    record(env, {
      about: aboutOf(`organization:${organization}`),
      by,
      select: `SELECT 'member.uninvited' AS type, json_object('subject', 'organization:' || organization, 'user', user) AS target
        FROM organization_invitations WHERE user = ?3 AND organization = ?4 AND ${OPEN}`,
      parameters: [subject, organization],
    }),
    forgetInvitation(env, organization, subject),
  ]);
  if (!done) throw new Refusal('not-found');
}

function forgetInvitation(env: Database, organization: string, subject: string): D1PreparedStatement {
  return env.DB.prepare('DELETE FROM organization_invitations WHERE user = ?1 AND organization = ?2').bind(
    subject,
    organization,
  );
}
