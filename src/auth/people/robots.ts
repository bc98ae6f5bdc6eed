/**
 * Robots: accounts of organizations for programs. One that was deleted stays as a row that nothing shows, as policies of
 * repositories may still name it: its name passes to nobody.
 */
import { refuseUnless, tryBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { booleanIn, changesIn, record } from '../../events/outbox.ts';
import type { Page, PageQuery } from '../../oci/page.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { Database } from '../directory.ts';
import { organizationOf } from '../names.ts';
import { type Grants, grantsIn, listOfGrants, removeGrants, selectGrants } from '../policy-names.ts';
import { requireRoomFor, roomForRefusal } from '../team-limits.ts';
import { allOf, type Change, DELETED, listWithin, only, organizationRow, requireOrganization, type Span } from '../within.ts';
import { revokeKeysOf } from './key-revocation.ts';

export interface Robot {
  /** `robot:acme/ci` */
  subject: string;
  description: string;
  disabled: boolean;
  /** Seconds since the epoch. */
  createdAt: number;
  version: number;
}

/** What is left out stays as it is. */
export interface RobotChange {
  description?: string | undefined;
  disabled?: boolean | undefined;
}

const COLUMNS = 'subject, description, disabled, created_at AS createdAt, version';

type Row = Omit<Robot, 'disabled'> & { disabled: number };

function robotOf(row: Row): Robot {
  return { ...row, disabled: row.disabled !== 0 };
}

function select(env: Database, subject: string): D1PreparedStatement {
  return env.DB.prepare(`SELECT ${COLUMNS} FROM accounts WHERE subject = ?1 AND disabled <> ${DELETED}`).bind(subject);
}

/** @throws not-found */
export async function getRobot(env: Database, subject: string): Promise<Robot> {
  const row = await select(env, subject).first<Row>();
  if (!row) throw new Refusal('not-found');
  return robotOf(row);
}

/** By name. @throws not-found */
export async function listRobots(env: Database, organization: string, { after, limit }: PageQuery): Promise<Page<Robot>> {
  const { from, before } = allOf('robot', organization);
  const rows = env.DB.prepare(
    `SELECT ${COLUMNS} FROM accounts WHERE subject > ?1 || ?3 AND subject < ?2 AND disabled <> ${DELETED}
     ORDER BY subject LIMIT ?4`,
  ).bind(from, before, after, limit + 1);
  const { items, more } = await listWithin<Row>(env, organizationRow(env, organization), rows, limit);
  return { items: items.map(robotOf), more };
}

const CHANGES = changesIn([
  ['description', 'description', 'coalesce(?4, description)'],
  ['disabled', booleanIn('disabled'), booleanIn('coalesce(?5, disabled)')],
]);

/**
 * Makes a robot, or changes one. To disable it ends its logins: they do not come back when it is enabled again, as its keys do.
 * @throws not-found, version-mismatch, conflict where there was one of this name, and beyond the number of robots
 */
export async function putRobot(
  env: Database,
  subject: string,
  { description, disabled }: RobotChange,
  { ifVersion, by }: Change,
): Promise<{ robot: Robot; created: boolean }> {
  const changes = [subject, description ?? null, disabled === undefined ? null : Number(disabled)];
  const saved = await tryBatch(env, [
    requireOrganization(env, organizationOf(subject)),
    requireVersion(env, subject, ifVersion),
    requireRoomFor(env, subject),
    refuseUnless(env, `NOT EXISTS (SELECT 1 FROM accounts WHERE subject = ?1 AND disabled = ${DELETED})`, subject),
    record(env, {
      about: aboutOf(subject),
      by,
      select: `SELECT iif(subject IS NULL, 'robot.created', 'robot.changed') AS type,
          json_object('subject', ?3, 'description', coalesce(?4, description, ''),
            'disabled', json(iif(coalesce(?5, disabled, 0), 'true', 'false'))) AS target,
          iif(subject IS NULL, NULL, ${CHANGES}) AS changes
        FROM (SELECT 1) LEFT JOIN accounts ON subject = ?3 WHERE subject IS NULL OR description <> ?4 OR disabled <> ?5`,
      parameters: changes,
      hasChanges: true,
    }),
    env.DB.prepare(
      `INSERT INTO accounts (subject, description, disabled, created_at)
       VALUES (?1, coalesce(?2, ''), coalesce(?3, 0), unixepoch())
       ON CONFLICT (subject) DO UPDATE SET description = coalesce(?2, description), disabled = coalesce(?3, disabled),
         epoch = epoch + (disabled < coalesce(?3, disabled)), version = version + 1
       WHERE description <> ?2 OR disabled <> ?3 RETURNING version`,
    ).bind(...changes),
    select(env, subject),
  ]);
  if (!saved) throw await refusalOf(env, subject, ifVersion);
  const [written, row] = saved.slice(-2).map(({ results }) => results[0]);
  return { robot: robotOf(row as Row), created: (written as { version: number } | undefined)?.version === 1 };
}

function requireVersion(env: Database, subject: string, ifVersion: number | null): D1PreparedStatement {
  const version = `SELECT version FROM accounts WHERE subject = ?1 AND disabled <> ${DELETED}`;
  return refuseUnless(env, `?2 IS NULL OR coalesce((${version}), 0) = ?2`, subject, ifVersion);
}

async function refusalOf(env: Database, subject: string, ifVersion: number | null): Promise<Refusal> {
  const [there, robot] = await env.DB.batch([organizationRow(env, organizationOf(subject)), select(env, subject)]);
  if (!there?.results.length) return new Refusal('not-found');
  const version = (robot?.results[0] as Row | undefined)?.version ?? 0;
  if (ifVersion !== null && version !== ifVersion) return new Refusal('version-mismatch');
  const full = robot?.results.length ? null : await roomForRefusal(env, subject);
  if (full) return full;
  return new Refusal('name-taken', { message: `${subject} was deleted, and its name is not given again` });
}

/**
 * Its keys end, its policy is forgotten, and its organization's repositories allow it nothing by name any more. Returns what was
 * taken from policies.
 * @throws not-found, version-mismatch
 */
export async function deleteRobot(env: Database, subject: string, { ifVersion, by }: Change): Promise<Grants> {
  const organization = organizationOf(subject);
  const deleted = await tryBatch(env, [
    requireVersion(env, subject, ifVersion),
    selectGrants(env, only(subject), organization),
    ...removeRobots(env, only(subject), by),
  ]);
  if (deleted?.at(-1)?.results.length) return grantsIn(deleted[1]);
  if (!deleted) await getRobot(env, subject);
  throw new Refusal(deleted ? 'not-found' : 'version-mismatch');
}

/** For a batch: what takes these robots away. The last yields them. */
export function removeRobots(env: Database, { from, before }: Span, by: Actor): D1PreparedStatement[] {
  return [
    ...revokeKeysOf(env, { from, before }, by),
    record(env, {
      about: aboutOf(from),
      by,
      select: `SELECT 'robot.deleted' AS type,
          iif(grants = '[]', json_object('subject', subject), json_object('subject', subject, 'grants', json(grants))) AS target
        FROM (SELECT subject, ${listOfGrants('accounts.subject', '?5')} AS grants FROM accounts
          WHERE subject >= ?3 AND subject < ?4 AND disabled <> ${DELETED})`,
      parameters: [from, before, organizationOf(from)],
    }),
    ...removeGrants(env, { from, before }, organizationOf(from)),
    env.DB.prepare('DELETE FROM policies WHERE subject >= ?1 AND subject < ?2').bind(from, before),
    env.DB.prepare(
      `UPDATE accounts SET disabled = ${DELETED}, epoch = epoch + 1, version = version + 1
       WHERE subject >= ?1 AND subject < ?2 AND disabled <> ${DELETED} RETURNING subject`,
    ).bind(from, before),
  ];
}
