/**
 * Users as they are kept: found, listed, changed and logged out, each change as one batch with its event (invariant 6). A user
 * is never deleted, so that the name cannot pass to somebody else: to disable one is all that a deletion would do.
 */
import { refuseUnless, tryBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { booleanIn, changesIn, record } from '../../events/outbox.ts';
import { type Page, pageOf } from '../../oci/page.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { BOOTSTRAP, type Database } from '../directory.ts';
import { nameOf } from '../names.ts';
import { only } from '../within.ts';
import { revokeKeysOf } from './key-revocation.ts';

export interface User {
  /** `user:alice` */
  subject: string;
  name: string;
  administrator: boolean;
  disabled: boolean;
  /** Has ever had a way in: an access key, or the password of the first administrator. */
  joined: boolean;
  description: string;
  /** Seconds since the epoch. */
  createdAt: number;
  /** The one-time link that is open. */
  invitation: { id: string; until: number } | null;
  version: number;
}

export interface UserChange {
  administrator?: boolean | undefined;
  disabled?: boolean | undefined;
  description?: string | undefined;
}

/** Of a row of accounts: only accepting an invitation takes it away, and gives a key. */
const JOINED = `(invitation IS NULL OR subject = '${BOOTSTRAP}'
  OR EXISTS (SELECT 1 FROM access_keys WHERE owner = accounts.subject))`;

const COLUMNS = `subject, administrator, disabled, description, created_at, version, invitation, invited_until,
  ${JOINED} AS joined, invited_until > unixepoch() AS open`;

interface Row {
  subject: string;
  administrator: number;
  disabled: number;
  description: string;
  created_at: number;
  version: number;
  invitation: string | null;
  invited_until: number | null;
  joined: number;
  open: number | null;
}

function userOf(row: Row): User {
  const { subject, invitation, invited_until: until } = row;
  return {
    subject,
    name: nameOf(subject),
    administrator: row.administrator === 1,
    disabled: row.disabled === 1,
    joined: row.joined === 1,
    description: row.description,
    createdAt: row.created_at,
    invitation: row.open && invitation !== null && until !== null ? { id: invitation, until } : null,
    version: row.version,
  };
}

/** For the end of a batch; `userIn` reads its results. */
export function selectUser(env: Database, subject: string): D1PreparedStatement {
  return env.DB.prepare(`SELECT ${COLUMNS} FROM accounts WHERE subject = ?1`).bind(subject);
}

export function userIn(results: D1Result[]): User {
  return userOf(results.at(-1)?.results[0] as Row);
}

export async function findUser(env: Database, subject: string): Promise<User | null> {
  const row = await selectUser(env, subject).first<Row>();
  return row && userOf(row);
}

/** @throws not-found */
export async function getUser(env: Database, subject: string): Promise<User> {
  const user = await findUser(env, subject);
  if (!user) throw new Refusal('not-found');
  return user;
}

/**
 * By name.
 * @param query `after` is the name that the page before ended with, '' for the first; `search` a part of name or description
 */
export async function listUsers(
  env: Database,
  { after, limit, search }: { after: string; limit: number; search: string },
): Promise<Page<User>> {
  const { results } = await env.DB.prepare(
    `SELECT ${COLUMNS} FROM accounts WHERE subject > 'user:' || ?1 AND subject < 'user;'
       AND (instr(substr(subject, 6), lower(?3)) > 0 OR instr(lower(description), lower(?3)) > 0)
     ORDER BY subject LIMIT ?2`,
  )
    .bind(after, limit + 1, search)
    .all<Row>();
  return pageOf(results.map(userOf), limit);
}

export async function shareOrganization(env: Database, one: string, other: string): Promise<boolean> {
  const shared = await env.DB.prepare(
    'SELECT 1 FROM members a JOIN members b ON b.organization = a.organization AND b.user = ?2 WHERE a.user = ?1 LIMIT 1',
  )
    .bind(one, other)
    .first();
  return shared !== null;
}

/** Account ?1 as it is with change ?2, in JSON; no row where that changes nothing. In `record`, both are counted from ?3. */
function changed(subject: string, change: string): string {
  return `SELECT new.* FROM accounts old JOIN (
      SELECT subject, coalesce(${change} ->> 'administrator', administrator) AS administrator,
        coalesce(${change} ->> 'disabled', disabled) AS disabled,
        coalesce(${change} ->> 'description', description) AS description
      FROM accounts WHERE subject = ${subject}) new ON new.subject = old.subject
    WHERE new.administrator <> old.administrator OR new.disabled <> old.disabled OR new.description <> old.description`;
}

const was = (column: string) => `(SELECT ${column} FROM accounts WHERE subject = ?3)`;
const CHANGES = changesIn([
  ['administrator', booleanIn(was('administrator')), booleanIn('new.administrator')],
  ['disabled', booleanIn(was('disabled')), booleanIn('new.disabled')],
  ['description', was('description'), 'new.description'],
]);

/** Whoever is disabled is logged out, and the link that was open stays closed when they are enabled again. */
const APPLY = `UPDATE accounts SET administrator = new.administrator, description = new.description, disabled = new.disabled,
    epoch = epoch + (new.disabled > accounts.disabled),
    invited_until = iif(new.disabled AND invitation IS NOT NULL, min(invited_until, unixepoch()), invited_until),
    version = version + 1
  FROM (${changed('?1', '?2')}) new WHERE accounts.subject = new.subject`;

/** Somebody has to be left who can undo it. An invitation that nobody has accepted yet is nobody. */
const HAS_ADMINISTRATOR = `EXISTS (SELECT 1 FROM accounts
  WHERE subject > 'user:' AND subject < 'user;' AND administrator = 1 AND disabled = 0 AND ${JOINED})`;

/**
 * What is not in `change` stays as it is.
 * @param ifVersion the version that it is made to; `null` for any
 * @throws not-found, version-mismatch, conflict where no administrator would be left
 */
export async function changeUser(
  env: Database,
  subject: string,
  change: UserChange,
  { ifVersion, by }: { ifVersion: number | null; by: Actor },
): Promise<User> {
  const wanted = JSON.stringify(change);
  const results = await tryBatch(env, [
    refuseUnless(
      env,
      'EXISTS (SELECT 1 FROM accounts WHERE subject = ?1 AND (?2 IS NULL OR version = ?2))',
      subject,
      ifVersion,
    ),
    record(env, {
      about: aboutOf(subject),
      by,
      select: `SELECT 'user.changed' AS type, json_object('subject', subject,
          'administrator', json(iif(administrator, 'true', 'false')), 'disabled', json(iif(disabled, 'true', 'false')),
          'description', description) AS target, ${CHANGES} AS changes
        FROM (${changed('?3', '?4')}) new`,
      parameters: [subject, wanted],
      hasChanges: true,
    }),
    env.DB.prepare(APPLY).bind(subject, wanted),
    refuseUnless(env, HAS_ADMINISTRATOR),
    selectUser(env, subject),
  ]);
  if (results) return userIn(results);
  const { version } = await getUser(env, subject);
  if (ifVersion !== null && version !== ifVersion) throw new Refusal('version-mismatch');
  throw new Refusal('last-administrator', {
    message: `${nameOf(subject)} is the last administrator: make somebody else one first`,
  });
}

/**
 * Ends every login of a user or robot: login passwords and refresh tokens at once, and access tokens for whatever changes
 * something.
 * @param keys their access keys as well
 * @throws not-found
 */
export async function endLogins(env: Database, subject: string, { keys, by }: { keys: boolean; by: Actor }): Promise<void> {
  const ended = await tryBatch(env, [
    refuseUnless(env, 'EXISTS (SELECT 1 FROM accounts WHERE subject = ?1)', subject),
    record(env, {
      about: aboutOf(subject),
      by,
      select: `SELECT 'login.ended' AS type, json_object('subject', ?3) AS target`,
      parameters: [subject],
    }),
    env.DB.prepare('UPDATE accounts SET epoch = epoch + 1 WHERE subject = ?1').bind(subject),
    ...(keys ? revokeKeysOf(env, only(subject), by) : []),
  ]);
  if (!ended) throw new Refusal('not-found');
}
