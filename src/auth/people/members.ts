/** Users in organizations, and the two roles they can have there. An organization that has an owner always has one. */
import { refuseUnless, tryBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import { RegistryError } from '../../oci/errors.ts';
import type { Page, PageQuery } from '../../oci/page.ts';
import type { Database } from '../directory.ts';
import { nameOf } from '../names.ts';
import { allOf, listWithin, organizationRow, requireOrganization } from '../within.ts';

export type Role = 'owner' | 'member';

export interface Member {
  /** A user's name. */
  user: string;
  role: Role;
}

/** By name. @throws NOT_FOUND */
export async function listMembers(env: Database, organization: string, { after, limit }: PageQuery): Promise<Page<Member>> {
  const rows = env.DB.prepare(
    `SELECT user, role FROM members INDEXED BY members_by_organization
     WHERE organization = ?1 AND user > 'user:' || ?2 ORDER BY user LIMIT ?3`,
  ).bind(organization, after, limit + 1);
  const { items, more } = await listWithin<Member>(env, organizationRow(env, organization), rows, limit);
  return { items: items.map(({ user, role }) => ({ user: nameOf(user), role })), more };
}

/**
 * Adds a user, or gives them another role.
 * @throws NOT_FOUND where there is no such organization or user, or the user is disabled; CONFLICT for the last owner
 */
export async function putMember(
  env: Database,
  organization: string,
  { user, role }: Member,
  by: Actor,
): Promise<{ added: boolean }> {
  const subject = `user:${user}`;
  const done = await tryBatch(env, [
    requireOrganization(env, organization),
    refuseUnless(env, 'EXISTS (SELECT 1 FROM accounts WHERE subject = ?1 AND disabled = 0)', subject),
    ...(role === 'owner' ? [] : [requireAnotherOwner(env, organization, subject)]),
    env.DB.prepare('SELECT role FROM members WHERE user = ?1 AND organization = ?2').bind(subject, organization),
    record(env, {
      about: aboutOf(`organization:${organization}`),
      by,
      select: `SELECT 'member.changed' AS type,
          json_object('subject', 'organization:' || ?3, 'user', ?4, 'role', ?5, 'previous', role) AS target
        FROM (SELECT 1) LEFT JOIN members ON user = ?4 AND organization = ?3 WHERE role IS NOT ?5`,
      parameters: [organization, subject, role],
    }),
    env.DB.prepare(
      `INSERT INTO members (user, organization, role) VALUES (?1, ?2, ?3)
       ON CONFLICT DO UPDATE SET role = ?3 WHERE role <> ?3`,
    ).bind(subject, organization, role),
  ]);
  if (!done) throw await refusalOf(env, organization, user);
  return { added: done.at(-3)?.results.length === 0 };
}

/** They leave the organization's teams too. @throws NOT_FOUND, CONFLICT for the last owner */
export async function removeMember(env: Database, organization: string, user: string, by: Actor): Promise<void> {
  const subject = `user:${user}`;
  const { from, before } = allOf('team', organization);
  const done = await tryBatch(env, [
    requireAnotherOwner(env, organization, subject),
    record(env, {
      about: aboutOf(`organization:${organization}`),
      by,
      select: `SELECT 'team-member.removed' AS type, json_object('subject', team, 'user', user) AS target
          FROM team_members WHERE user = ?4 AND team >= ?5 AND team < ?6
        UNION ALL SELECT 'member.removed', json_object('subject', 'organization:' || ?3, 'user', user, 'role', role)
          FROM members WHERE user = ?4 AND organization = ?3`,
      parameters: [organization, subject, from, before],
    }),
    env.DB.prepare('DELETE FROM team_members WHERE user = ?1 AND team >= ?2 AND team < ?3').bind(subject, from, before),
    env.DB.prepare('DELETE FROM members WHERE user = ?1 AND organization = ?2 RETURNING user').bind(subject, organization),
  ]);
  if (!done) throw lastOwner(organization, user);
  if (!done.at(-1)?.results.length) throw new RegistryError('NOT_FOUND');
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

async function refusalOf(env: Database, organization: string, user: string): Promise<RegistryError> {
  const [there, account] = await env.DB.batch([
    organizationRow(env, organization),
    env.DB.prepare(`SELECT 1 FROM accounts WHERE subject = 'user:' || ?1 AND disabled = 0`).bind(user),
  ]);
  if (!there?.results.length) return new RegistryError('NOT_FOUND');
  if (!account?.results.length)
    return new RegistryError('NOT_FOUND', { message: `there is no user "${user}", or not any more` });
  return lastOwner(organization, user);
}

function lastOwner(organization: string, user: string): RegistryError {
  return new RegistryError('CONFLICT', {
    message: `${user} is the last owner of ${organization}: make somebody else one first`,
  });
}
