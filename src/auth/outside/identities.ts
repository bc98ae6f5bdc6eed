/**
 * Identities at sign-in providers that are linked to accounts. A user who is signed in to both links them. An equal e-mail
 * address does not link an identity, because a provider may give an address to somebody else.
 */
import { type Database, newBatch } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import type { Identity } from './provider.ts';

/** The maximum number of identities of one account. */
const IDENTITIES_MAX = 10;

export interface LinkedIdentity extends Identity {
  /** In seconds since the epoch. */
  createdAt: number;
}

/**
 * Returns the account to which an identity is linked, with its epoch. Returns `null` if it is linked to none, or to a disabled
 * one.
 */
export async function accountOfIdentity(
  env: Database,
  { issuer, subject }: Identity,
): Promise<{ subject: string; epoch: number } | null> {
  return prepare(
    env,
    `SELECT a.subject, a.epoch FROM identities i JOIN accounts a ON a.subject = i.account
     WHERE i.issuer = :issuer AND i.subject = :subject AND a.disabled = 0`,
    { issuer, subject },
  ).first<{ subject: string; epoch: number }>();
}

/** Returns the identities of an account, the oldest first. */
export async function identitiesOf(env: Database, account: string): Promise<LinkedIdentity[]> {
  const sql =
    'SELECT issuer, subject, created_at AS createdAt FROM identities WHERE account = :account ORDER BY created_at, issuer';
  return (await prepare(env, sql, { account }).all<LinkedIdentity>()).results;
}

/** Links an identity to an account. @throws name-taken if it is linked to an account already; limit-reached */
export async function linkIdentity(env: Database, account: string, { issuer, subject }: Identity, by: Actor): Promise<void> {
  const batch = newBatch(env);
  const parameters = { account, issuer, subject };
  batch.require(
    'name-taken',
    'NOT EXISTS (SELECT 1 FROM identities WHERE issuer = :issuer AND subject = :subject)',
    parameters,
    {
      message: 'this identity is linked to an account already: nothing was changed',
    },
  );
  batch.require('limit-reached', `(SELECT count(*) FROM identities WHERE account = :account) < ${IDENTITIES_MAX}`, parameters, {
    message: `an account has up to ${IDENTITIES_MAX} identities: nothing was changed`,
  });
  recordEvent(batch, {
    about: aboutOf(account),
    by,
    select: `SELECT 'identity.linked' AS type, json_object('subject', :account, 'issuer', :issuer) AS target`,
    parameters: { account, issuer },
  });
  batch.run(
    'INSERT INTO identities (issuer, subject, account, created_at) VALUES (:issuer, :subject, :account, unixepoch())',
    parameters,
  );
  await batch.commit();
}

/** Removes an identity from an account. @throws not-found */
export async function unlinkIdentity(env: Database, account: string, { issuer, subject }: Identity, by: Actor): Promise<void> {
  const batch = newBatch(env);
  const parameters = { account, issuer, subject };
  const own = 'SELECT 1 FROM identities WHERE issuer = :issuer AND subject = :subject AND account = :account';
  batch.require('not-found', `EXISTS (${own})`, parameters);
  recordEvent(batch, {
    about: aboutOf(account),
    by,
    select: `SELECT 'identity.unlinked' AS type, json_object('subject', :account, 'issuer', :issuer) AS target`,
    parameters: { account, issuer },
  });
  batch.run('DELETE FROM identities WHERE issuer = :issuer AND subject = :subject AND account = :account', parameters);
  await batch.commit();
}
