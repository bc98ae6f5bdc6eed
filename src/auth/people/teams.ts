/**
 * Teams of organizations and who is in them. What is left of a deleted team is an empty policy: policies of repositories may
 * still name it, and what they give must not come to whoever makes a team of that name.
 */
import { commit, refuseUnless, tryBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { changesIn, record } from '../../events/outbox.ts';
import type { Page, PageQuery } from '../../oci/page.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { Authority } from '../authority.ts';
import type { Database } from '../directory.ts';
import { nameOf, organizationOf } from '../names.ts';
import { namedInTrash } from '../policies.ts';
import { allows } from '../policy.ts';
import { listOfGrants } from '../policy-names.ts';
import { memberRoomRefusal, requireMemberRoom, requireRoomFor, roomForRefusal } from '../team-limits.ts';
import { allOf, type Change, listWithin, only, organizationRow, requireOrganization, type Span } from '../within.ts';

export interface Team {
  /** `team:acme/dev` */
  subject: string;
  description: string;
  /** Seconds since the epoch. */
  createdAt: number;
  version: number;
}

const COLUMNS = 'subject, description, created_at AS createdAt, version';

function select(env: Database, subject: string): D1PreparedStatement {
  return env.DB.prepare(`SELECT ${COLUMNS} FROM teams WHERE subject = ?1`).bind(subject);
}

/** @throws not-found */
export async function getTeam(env: Database, subject: string): Promise<Team> {
  const team = await select(env, subject).first<Team>();
  if (!team) throw new Refusal('not-found');
  return team;
}

/** By name. @throws not-found */
export function listTeams(env: Database, organization: string, { after, limit }: PageQuery): Promise<Page<Team>> {
  const { from, before } = allOf('team', organization);
  const rows = env.DB.prepare(
    `SELECT ${COLUMNS} FROM teams WHERE subject > ?1 || ?3 AND subject < ?2 ORDER BY subject LIMIT ?4`,
  ).bind(from, before, after, limit + 1);
  return listWithin(env, organizationRow(env, organization), rows, limit);
}

/**
 * Makes a team, or changes what is said of it.
 * @param description left out, it stays as it is
 * @param authority whoever asks: a refusal names the repositories that they may see
 * @throws not-found, version-mismatch, conflict while policies name a deleted team of this name, and beyond the number of teams
 */
export async function putTeam(
  env: Database,
  subject: string,
  description: string | undefined,
  { ifVersion, by, authority }: Change & { authority: Authority },
): Promise<{ team: Team; created: boolean }> {
  const saved = await tryBatch(env, [
    requireOrganization(env, organizationOf(subject)),
    requireVersion(env, subject, ifVersion),
    requireRoomFor(env, subject),
    refuseUnless(
      env,
      `EXISTS (SELECT 1 FROM teams WHERE subject = ?1) OR NOT EXISTS (SELECT 1 FROM policies WHERE subject = ?1)
       OR NOT EXISTS (SELECT 1 FROM policy_principals WHERE principal = ?1) AND NOT ${namedInTrash('?1')}`,
      subject,
    ),
    record(env, {
      about: aboutOf(subject),
      by,
      select: `SELECT iif(subject IS NULL, 'team.created', 'team.changed') AS type,
          json_object('subject', ?3, 'description', coalesce(?4, '')) AS target,
          iif(subject IS NULL, NULL, ${changesIn([['description', 'description', '?4']])}) AS changes
        FROM (SELECT 1) LEFT JOIN teams ON subject = ?3 WHERE subject IS NULL OR description <> ?4`,
      parameters: [subject, description ?? null],
      hasChanges: true,
    }),
    env.DB.prepare(
      `INSERT INTO teams (subject, description, created_at) VALUES (?1, coalesce(?2, ''), unixepoch())
       ON CONFLICT DO UPDATE SET description = ?2, version = version + 1 WHERE description <> ?2 RETURNING version`,
    ).bind(subject, description ?? null),
    select(env, subject),
  ]);
  if (!saved) throw await refusalOf(env, subject, ifVersion, authority);
  const [written, team] = saved.slice(-2).map(({ results }) => results[0]);
  return { team: team as Team, created: (written as { version: number } | undefined)?.version === 1 };
}

function requireVersion(env: Database, subject: string, ifVersion: number | null): D1PreparedStatement {
  const version = 'SELECT version FROM teams WHERE subject = ?1';
  return refuseUnless(env, `?2 IS NULL OR coalesce((${version}), 0) = ?2`, subject, ifVersion);
}

const NAMED_MAX = 100;

async function refusalOf(env: Database, subject: string, ifVersion: number | null, authority: Authority): Promise<Refusal> {
  const [there, team, naming] = await env.DB.batch([
    organizationRow(env, organizationOf(subject)),
    select(env, subject),
    env.DB.prepare('SELECT repository FROM policy_principals WHERE principal = ?1 ORDER BY repository LIMIT ?2').bind(
      subject,
      NAMED_MAX,
    ),
  ]);
  if (!there?.results.length) return new Refusal('not-found');
  const version = (team?.results[0] as Team | undefined)?.version ?? 0;
  if (ifVersion !== null && version !== ifVersion) return new Refusal('version-mismatch');
  const full = team?.results.length ? null : await roomForRefusal(env, subject);
  if (full) return full;
  const all = ((naming?.results ?? []) as { repository: string }[]).map(({ repository }) => repository);
  const repositories = all.filter((repository) => allows(authority, 'pull', repository));
  const named = [...repositories, ...(repositories.length < all.length ? ['repositories that you may not see'] : [])];
  return new Refusal('conflict', {
    message: `there was a team of this name, and policies still name it: take it out of them first (${named.join(', ')})`,
    detail: { repositories },
  });
}

/** Its members and its policy go with it. @throws not-found, version-mismatch */
export async function deleteTeam(env: Database, subject: string, { ifVersion, by }: Change): Promise<void> {
  const deleted = await tryBatch(env, [requireVersion(env, subject, ifVersion), ...removeTeams(env, only(subject), by)]);
  if (deleted?.at(-1)?.results.length) return;
  if (!deleted) await getTeam(env, subject);
  throw new Refusal(deleted ? 'not-found' : 'version-mismatch');
}

/** For a batch: what takes these teams away. The last yields them. */
export function removeTeams(env: Database, { from, before }: Span, by: Actor): D1PreparedStatement[] {
  return [
    record(env, {
      about: aboutOf(from),
      by,
      // Policies that name it go on doing so, and give nothing: they keep the name from whoever would make another team.
      select: `SELECT 'team.deleted' AS type,
          iif(grants = '[]', json_object('subject', subject), json_object('subject', subject, 'grants', json(grants))) AS target
        FROM (SELECT subject, ${listOfGrants('teams.subject', '?5')} AS grants FROM teams WHERE subject >= ?3 AND subject < ?4)`,
      parameters: [from, before, organizationOf(from)],
    }),
    env.DB.prepare(
      `INSERT INTO policies (subject, statements) SELECT subject, '[]' FROM teams WHERE subject >= ?1 AND subject < ?2
       ON CONFLICT DO UPDATE SET statements = '[]', version = version + 1`,
    ).bind(from, before),
    env.DB.prepare('DELETE FROM team_members WHERE team >= ?1 AND team < ?2').bind(from, before),
    env.DB.prepare('DELETE FROM teams WHERE subject >= ?1 AND subject < ?2 RETURNING subject').bind(from, before),
  ];
}

/** Users' names. @throws not-found */
export async function listTeamMembers(env: Database, subject: string, { after, limit }: PageQuery): Promise<Page<string>> {
  const rows = env.DB.prepare(
    `SELECT user FROM team_members WHERE team = ?1 AND user > 'user:' || ?2 ORDER BY user LIMIT ?3`,
  ).bind(subject, after, limit + 1);
  const { items, more } = await listWithin<{ user: string }>(env, select(env, subject), rows, limit);
  return { items: items.map(({ user }) => nameOf(user)), more };
}

/** @throws not-found, conflict for somebody who is no member of the organization, and beyond the limits */
export async function addTeamMember(env: Database, subject: string, user: string, by: Actor): Promise<{ added: boolean }> {
  const organization = organizationOf(subject);
  const done = await tryBatch(env, [
    refuseUnless(env, 'EXISTS (SELECT 1 FROM teams WHERE subject = ?1)', subject),
    refuseUnless(env, `EXISTS (SELECT 1 FROM members WHERE user = 'user:' || ?1 AND organization = ?2)`, user, organization),
    requireMemberRoom(env, subject, `user:${user}`),
    record(env, {
      about: aboutOf(subject),
      by,
      select: `SELECT 'team-member.added' AS type, json_object('subject', ?3, 'user', 'user:' || ?4) AS target
        WHERE NOT EXISTS (SELECT 1 FROM team_members WHERE user = 'user:' || ?4 AND team = ?3)`,
      parameters: [subject, user],
    }),
    env.DB.prepare(
      `INSERT INTO team_members (user, team) VALUES ('user:' || ?1, ?2) ON CONFLICT DO NOTHING RETURNING user`,
    ).bind(user, subject),
  ]);
  if (done) return { added: (done.at(-1)?.results.length ?? 0) > 0 };
  await getTeam(env, subject);
  const member = env.DB.prepare(`SELECT 1 FROM members WHERE user = 'user:' || ?1 AND organization = ?2`);
  const full = (await member.bind(user, organization).first()) && (await memberRoomRefusal(env, subject, `user:${user}`));
  if (full) throw full;
  throw new Refusal('conflict', {
    message: `${user} is no member of ${organization}: only its members can be in a team of it`,
  });
}

/** @throws not-found */
export async function removeTeamMember(env: Database, subject: string, user: string, by: Actor): Promise<void> {
  const [, removed] = await commit(env, [
    record(env, {
      about: aboutOf(subject),
      by,
      select: `SELECT 'team-member.removed' AS type, json_object('subject', team, 'user', user) AS target
        FROM team_members WHERE user = 'user:' || ?3 AND team = ?4`,
      parameters: [user, subject],
    }),
    env.DB.prepare(`DELETE FROM team_members WHERE user = 'user:' || ?1 AND team = ?2 RETURNING user`).bind(user, subject),
  ]);
  if (!removed?.results.length) throw new Refusal('not-found');
}
