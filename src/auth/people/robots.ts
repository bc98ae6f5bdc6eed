/**
 * Robots: accounts of organizations for programs. The row of a deleted robot is kept but hidden. Policies of repositories may
 * still name the robot, so nobody else may take its name.
 */
import { type Batch, type Database, newBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { booleanIn, changesIn, recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import type { Page, PageQuery } from '../../oci/page.ts';
import { organizationOf } from '../../vocabulary/names.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { type Grants, grantsIn, listOfGrants, queryGrants, removeGrants } from '../rights/policy-names.ts';
import { requireRoomInOrganization } from '../team-limits.ts';
import {
  allOf,
  type Change,
  DELETED,
  listWithin,
  ORGANIZATION_EXISTS,
  only,
  requireOrganization,
  requireVersion,
  type SubjectRange,
} from '../within.ts';
import { revokeKeysOf } from './access-keys.ts';

export interface Robot {
  /** The subject, for example `robot:acme/ci`. */
  subject: string;
  description: string;
  disabled: boolean;
  /** In seconds since the epoch. */
  createdAt: number;
  version: number;
}

/** A change of a robot. `undefined` leaves a field unchanged. */
export interface RobotChange {
  description?: string | undefined;
  disabled?: boolean | undefined;
}

const COLUMNS = 'subject, description, disabled, created_at AS createdAt, version';

/** SQL condition: robot :subject exists and is not deleted. */
const ROBOT_EXISTS = `EXISTS (SELECT 1 FROM accounts WHERE subject = :subject AND disabled <> ${DELETED})`;

const VERSION = `SELECT version FROM accounts WHERE subject = :subject AND disabled <> ${DELETED}`;

const SELECT_ROBOT = `SELECT ${COLUMNS} FROM accounts WHERE subject = :subject AND disabled <> ${DELETED}`;

type Row = Omit<Robot, 'disabled'> & { disabled: number };

function robotOf(row: Row): Robot {
  return { ...row, disabled: row.disabled !== 0 };
}

/** @throws not-found if the robot does not exist */
export async function getRobot(env: Database, subject: string): Promise<Robot> {
  const row = await prepare(env, SELECT_ROBOT, { subject }).first<Row>();
  if (!row) throw new Refusal('not-found');
  return robotOf(row);
}

/** Lists robots by name. @throws not-found if the organization does not exist */
export async function listRobots(env: Database, organization: string, { after, limit }: PageQuery): Promise<Page<Robot>> {
  const { items, more } = await listWithin<Row>(
    env,
    ORGANIZATION_EXISTS,
    `SELECT ${COLUMNS} FROM accounts WHERE subject > :from || :after AND subject < :before AND disabled <> ${DELETED}
     ORDER BY subject LIMIT :rows`,
    { organization, ...allOf('robot', organization), after, limit },
  );
  return { items: items.map(robotOf), more };
}

const CHANGES = changesIn([
  ['description', 'description', 'coalesce(:description, description)'],
  ['disabled', booleanIn('disabled'), booleanIn('coalesce(:disabled, disabled)')],
]);

/**
 * Creates or changes a robot. Disabling a robot ends its logins.
 * @throws not-found if the organization does not exist; version-mismatch; limit-reached; name-taken if a robot
 *   with this name was deleted
 */
export async function putRobot(
  env: Database,
  subject: string,
  { description, disabled }: RobotChange,
  { ifVersion, by }: Change,
): Promise<{ robot: Robot; created: boolean }> {
  const parameters = { subject, description: description ?? null, disabled: disabled ?? null };
  const batch = newBatch(env);
  requireOrganization(batch, organizationOf(subject));
  requireVersion(batch, VERSION, { subject }, ifVersion);
  requireRoomInOrganization(batch, subject);
  batch.require(
    'name-taken',
    `NOT EXISTS (SELECT 1 FROM accounts WHERE subject = :subject AND disabled = ${DELETED})`,
    { subject },
    { message: `${subject} was deleted, and its name is not given again. Nothing was created: choose another name` },
  );
  recordEvent(batch, {
    about: aboutOf(subject),
    by,
    select: `SELECT iif(subject IS NULL, 'robot.created', 'robot.changed') AS type,
        json_object('subject', :subject, 'description', coalesce(:description, description, ''),
          'disabled', ${booleanIn('coalesce(:disabled, disabled, 0)')}) AS target,
        iif(subject IS NULL, NULL, ${CHANGES}) AS changes
      FROM (SELECT 1) LEFT JOIN accounts ON subject = :subject
      WHERE subject IS NULL OR description <> :description OR disabled <> :disabled`,
    parameters,
    hasChanges: true,
  });
  const written = batch.query<{ version: number }>(
    `INSERT INTO accounts (subject, description, disabled, created_at)
     VALUES (:subject, coalesce(:description, ''), coalesce(:disabled, 0), unixepoch())
     ON CONFLICT (subject) DO UPDATE SET description = coalesce(:description, description),
       disabled = coalesce(:disabled, disabled), epoch = epoch + (disabled < coalesce(:disabled, disabled)),
       version = version + 1
     WHERE description <> :description OR disabled <> :disabled RETURNING version`,
    parameters,
  );
  const robot = batch.query<Row>(SELECT_ROBOT, { subject });
  const results = await batch.commit();
  return { robot: robotOf(results.first(robot) as Row), created: results.first(written)?.version === 1 };
}

/**
 * Deletes a robot with its keys and its policy. Allow statements in the policies of the organization's repositories no longer
 * name the robot.
 * @returns the repositories whose policies allowed something to the robot
 * @throws not-found, version-mismatch
 */
export async function deleteRobot(env: Database, subject: string, { ifVersion, by }: Change): Promise<Grants> {
  const batch = newBatch(env);
  batch.require('not-found', ROBOT_EXISTS, { subject });
  requireVersion(batch, VERSION, { subject }, ifVersion);
  const grants = queryGrants(batch, only(subject), organizationOf(subject));
  removeRobots(batch, only(subject), by);
  return grantsIn((await batch.commit()).first(grants));
}

/** Adds statements to the batch that delete the robots in this range. */
export function removeRobots(batch: Batch, range: SubjectRange, by: Actor): void {
  const organization = organizationOf(range.from);
  revokeKeysOf(batch, range, by);
  recordEvent(batch, {
    about: aboutOf(range.from),
    by,
    select: `SELECT 'robot.deleted' AS type,
        iif(grants = '[]', json_object('subject', subject), json_object('subject', subject, 'grants', json(grants))) AS target
      FROM (SELECT subject, ${listOfGrants('accounts.subject', ':organization')} AS grants FROM accounts
        WHERE subject >= :from AND subject < :before AND disabled <> ${DELETED})`,
    parameters: { ...range, organization },
  });
  removeGrants(batch, range, organization);
  batch.run('DELETE FROM policies WHERE subject >= :from AND subject < :before', range);
  batch.run(
    `UPDATE accounts SET disabled = ${DELETED}, epoch = epoch + 1, version = version + 1
     WHERE subject >= :from AND subject < :before AND disabled <> ${DELETED}`,
    range,
  );
}
