/**
 * Users: read, list, change them, and log them out. Each change is one batch with its event (invariant 6). A user can be
 * disabled but not deleted, so that nobody else can take the name.
 */
import { type Batch, type Database, type Handle, newBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { booleanIn, changesIn, recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import { type Page, pageOf } from '../../oci/page.ts';
import { nameOf } from '../../vocabulary/names.ts';
import { BOOTSTRAP } from '../directory.ts';
import { type Change, DELETED, only, requireVersion } from '../within.ts';
import { revokeKeysOf } from './access-keys.ts';

export interface User {
  /** The subject, for example `user:alice`. */
  subject: string;
  name: string;
  administrator: boolean;
  disabled: boolean;
  /** True if the user has accepted an invitation, or is the first administrator, who has a password instead. */
  joined: boolean;
  description: string;
  /** In seconds since the epoch. */
  createdAt: number;
  /** The open invitation, whose one-time link still works, or `null` if there is none. */
  invitation: { id: string; until: number } | null;
  version: number;
}

/** A change of a user. `undefined` leaves a field unchanged. */
export interface AccountChange {
  administrator?: boolean | undefined;
  disabled?: boolean | undefined;
  description?: string | undefined;
}

/** SQL condition on a row of `accounts`: the user has joined. Accepting an invitation deletes it and creates an access key. */
const JOINED = `(invitation IS NULL OR subject = '${BOOTSTRAP}'
  OR EXISTS (SELECT 1 FROM access_keys WHERE owner = accounts.subject))`;

const COLUMNS = `subject, administrator, disabled, description, created_at, version, invitation, invited_until,
  ${JOINED} AS joined, invited_until > unixepoch() AS open`;

/** SQL condition: account :subject exists. */
const ACCOUNT_EXISTS = 'EXISTS (SELECT 1 FROM accounts WHERE subject = :subject)';

interface UserRow {
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

/** Converts the row that `queryUser` reads. @throws Error if there is no row */
export function userOf(row: UserRow | null): User {
  if (!row) throw new Error('the batch that wrote a user did not read it back');
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

const SELECT_USER = `SELECT ${COLUMNS} FROM accounts WHERE subject = :subject`;

export function queryUser(batch: Batch, subject: string): Handle<UserRow> {
  return batch.query(SELECT_USER, { subject });
}

export async function findUser(env: Database, subject: string): Promise<User | null> {
  const row = await prepare(env, SELECT_USER, { subject }).first<UserRow>();
  return row && userOf(row);
}

/**
 * Lists users by name.
 * @param query `after` is the last name of the previous page, or the empty string for the first page; `search` is a part of a
 * name or description
 */
export async function listUsers(
  env: Database,
  { after, limit, search }: { after: string; limit: number; search: string },
): Promise<Page<User>> {
  const { results } = await prepare(
    env,
    `SELECT ${COLUMNS} FROM accounts WHERE subject > 'user:' || :after AND subject < 'user;'
       AND (instr(substr(subject, 6), lower(:search)) > 0 OR instr(lower(description), lower(:search)) > 0)
     ORDER BY subject LIMIT :rows`,
    { after, search, rows: limit + 1 },
  ).all<UserRow>();
  return pageOf(results.map(userOf), limit);
}

/** Adds a query to the batch that yields the subjects that are accounts and not deleted. */
export function queryAccounts(batch: Batch, subjects: readonly string[]): Handle<{ subject: string }> {
  return batch.query(
    `SELECT subject FROM accounts WHERE subject IN (SELECT value FROM json_each(:subjects)) AND disabled <> ${DELETED}`,
    { subjects },
  );
}

/** Returns true if both users are members of the same organization. */
export async function shareOrganization(env: Database, one: string, other: string): Promise<boolean> {
  const shared = await prepare(
    env,
    'SELECT 1 FROM members a JOIN members b ON b.organization = a.organization AND b.user = :other WHERE a.user = :one LIMIT 1',
    { one, other },
  ).first();
  return shared !== null;
}

/** SQL query: account :subject as it will be after :change (JSON). It yields no row if nothing would change. */
const CHANGED_ACCOUNT = `SELECT new.* FROM accounts old JOIN (
      SELECT subject, coalesce(:change ->> 'administrator', administrator) AS administrator,
        coalesce(:change ->> 'disabled', disabled) AS disabled,
        coalesce(:change ->> 'description', description) AS description
      FROM accounts WHERE subject = :subject) new ON new.subject = old.subject
    WHERE new.administrator <> old.administrator OR new.disabled <> old.disabled OR new.description <> old.description`;

const before = (column: string) => `(SELECT ${column} FROM accounts WHERE subject = :subject)`;
const CHANGES = changesIn([
  ['administrator', booleanIn(before('administrator')), booleanIn('new.administrator')],
  ['disabled', booleanIn(before('disabled')), booleanIn('new.disabled')],
  ['description', before('description'), 'new.description'],
]);

/**
 * SQL statement that changes the account. Disabling a user increases the epoch, which logs the user out. It also ends an open
 * invitation; enabling the user again does not open it again.
 */
const APPLY_CHANGE = `UPDATE accounts SET administrator = new.administrator, description = new.description,
  disabled = new.disabled,
    epoch = epoch + (new.disabled > accounts.disabled),
    invited_until = iif(new.disabled AND invitation IS NOT NULL, min(invited_until, unixepoch()), invited_until),
    version = version + 1
  FROM (${CHANGED_ACCOUNT}) new WHERE accounts.subject = new.subject`;

/**
 * SQL condition: there is an administrator who can log in. An administrator who was invited and has not joined does not count.
 */
const HAS_ADMINISTRATOR = `EXISTS (SELECT 1 FROM accounts
  WHERE subject > 'user:' AND subject < 'user;' AND administrator = 1 AND disabled = 0 AND ${JOINED})`;

/** @throws not-found, version-mismatch, last-administrator */
export async function changeUser(
  env: Database,
  subject: string,
  wanted: AccountChange,
  { ifVersion, by }: Change,
): Promise<User> {
  const batch = newBatch(env);
  const change = JSON.stringify(wanted);
  batch.require('not-found', ACCOUNT_EXISTS, { subject });
  requireVersion(batch, 'SELECT version FROM accounts WHERE subject = :subject', { subject }, ifVersion);
  recordEvent(batch, {
    about: aboutOf(subject),
    by,
    select: `SELECT 'user.changed' AS type, json_object('subject', subject,
        'administrator', ${booleanIn('administrator')}, 'disabled', ${booleanIn('disabled')},
        'description', description) AS target, ${CHANGES} AS changes
      FROM (${CHANGED_ACCOUNT}) new`,
    parameters: { subject, change },
    hasChanges: true,
  });
  batch.run(APPLY_CHANGE, { subject, change });
  batch.require(
    'last-administrator',
    HAS_ADMINISTRATOR,
    {},
    {
      message: `${nameOf(subject)} is the last administrator: nothing was changed. Make somebody else an administrator first`,
    },
  );
  const user = queryUser(batch, subject);
  return userOf((await batch.commit()).first(user));
}

/**
 * Ends all logins of a user or robot. Login passwords and refresh tokens end at once. An access token ends at the next request
 * that changes something.
 * @param keys true to revoke all access keys too
 * @throws not-found if the account does not exist
 */
export async function endLogins(env: Database, subject: string, { keys, by }: { keys: boolean; by: Actor }): Promise<void> {
  const batch = newBatch(env);
  batch.require('not-found', ACCOUNT_EXISTS, { subject });
  recordEvent(batch, {
    about: aboutOf(subject),
    by,
    select: `SELECT 'login.ended' AS type, json_object('subject', :subject) AS target`,
    parameters: { subject },
  });
  batch.run('UPDATE accounts SET epoch = epoch + 1 WHERE subject = :subject', { subject });
  if (keys) revokeKeysOf(batch, only(subject), by);
  await batch.commit();
}
