/**
 * Invitations of users. An invitation creates a user, or helps a user who lost all access keys. The first person who opens the
 * link gets an access key. The link contains a token with the user and the id of the invitation. D1 stores which invitation is
 * open.
 */
import { settings, type Vars } from '../../env.ts';
import { type Batch, type Database, newBatch, withRetries } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { booleanIn, recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import type { Secrets } from '../../secrets.ts';
import { confusableSkeleton, nameOf, parseNewName } from '../../vocabulary/names.ts';
import { isRefusal, Refusal } from '../../vocabulary/refusal.ts';
import type { TokenContext } from '../runtime.ts';
import { accessKeySecret, keyIdFrom } from '../secrets.ts';
import { type Kind, type Minted, mint, verify } from '../tokens.ts';
import type { Change } from '../within.ts';
import { DAY, insertKey } from './access-keys.ts';
import { type AccountChange, changeUser, findUser, queryUser, type User, userOf } from './accounts.ts';

const INVITATION: Kind = { label: 'invitation', typ: 'berth-invitation+jwt', lifetime: 7 * DAY };

const FIRST_KEY = 'first key';

/**
 * Creates a user with an open invitation, or changes an existing user. If an existing user has not joined and has no open
 * invitation, opens one. A repeated request changes nothing.
 * @throws request-invalid if the name is malformed or reserved; name-taken if it can be confused with another name;
 * version-mismatch
 */
export function inviteUser(
  env: Database,
  subject: string,
  wanted: Omit<AccountChange, 'disabled'>,
  { ifVersion, by }: Change,
): Promise<{ user: User; made: boolean }> {
  return withRetries(async () => {
    if (!(await findUser(env, subject))) {
      return { user: await createUser(env, subject, wanted, { ifVersion, by }), made: true };
    }
    if (ifVersion === 0)
      throw new Refusal('version-mismatch', { message: `${nameOf(subject)} exists already: nothing was changed` });
    const user = await changeUser(env, subject, wanted, { ifVersion, by });
    if (user.joined || user.disabled || user.invitation) return { user, made: false };
    return { user: await openInvitation(env, subject, { keepOpen: true, by }), made: false };
  });
}

/** @throws overtaken if the user exists; name-taken, version-mismatch, request-invalid */
async function createUser(
  env: Database,
  subject: string,
  { administrator = false, description = '' }: Omit<AccountChange, 'disabled'>,
  { ifVersion, by }: Change,
): Promise<User> {
  const skeleton = confusableSkeleton(parseNewName(nameOf(subject)));
  if (ifVersion) throw new Refusal('version-mismatch');
  const batch = newBatch(env);
  batch.require('overtaken', 'NOT EXISTS (SELECT 1 FROM accounts WHERE subject = :subject)', { subject });
  batch.require(
    'name-taken',
    'NOT EXISTS (SELECT 1 FROM accounts WHERE likeness = :skeleton)',
    { skeleton },
    {
      message: `${nameOf(subject)} could be confused with a name that is taken. Nothing was created: choose another name`,
    },
  );
  batch.run(
    `INSERT INTO accounts (subject, likeness, administrator, description, invitation, invited_until, created_at)
     VALUES (:subject, :skeleton, :administrator, :description, :invitation, unixepoch() + :lifetime, unixepoch())`,
    { subject, skeleton, administrator, description, invitation: crypto.randomUUID(), lifetime: INVITATION.lifetime },
  );
  recordInvited(batch, subject, by, 'TRUE');
  const user = queryUser(batch, subject);
  return userOf((await batch.commit()).first(user));
}

function recordInvited(batch: Batch, subject: string, by: Actor, condition: string): void {
  recordEvent(batch, {
    about: aboutOf(subject),
    by,
    select: `SELECT 'user.invited' AS type,
        json_object('subject', subject, 'administrator', ${booleanIn('administrator')}) AS target
      FROM accounts WHERE subject = :subject AND ${condition}`,
    parameters: { subject },
  });
}

/**
 * Opens a new invitation for a user. The link of the previous invitation stops working.
 * @param keepOpen true to do nothing if an invitation is open
 * @throws not-found, disabled
 */
export async function openInvitation(
  env: Database,
  subject: string,
  { keepOpen, by }: { keepOpen: boolean; by: Actor },
): Promise<User> {
  const isNeeded = keepOpen ? 'coalesce(invited_until <= unixepoch(), TRUE)' : 'TRUE';
  const batch = newBatch(env);
  batch.require('not-found', 'EXISTS (SELECT 1 FROM accounts WHERE subject = :subject)', { subject });
  batch.require(
    'disabled',
    'EXISTS (SELECT 1 FROM accounts WHERE subject = :subject AND disabled = 0)',
    { subject },
    {
      message: `${nameOf(subject)} is disabled. Nothing was changed: enable them first`,
    },
  );
  recordInvited(batch, subject, by, isNeeded);
  batch.run(
    `UPDATE accounts SET invitation = :invitation, invited_until = unixepoch() + :lifetime, version = version + 1
     WHERE subject = :subject AND ${isNeeded}`,
    { subject, invitation: crypto.randomUUID(), lifetime: INVITATION.lifetime },
  );
  const user = queryUser(batch, subject);
  return userOf((await batch.commit()).first(user));
}

/** Returns a token for the user's open invitation, or `null` if none is open. */
export async function invitationToken(env: Secrets, user: User, context: TokenContext): Promise<Minted | null> {
  if (!user.invitation) return null;
  const { id, until } = user.invitation;
  const token = await mint(env, INVITATION, { subject: user.subject, claims: { invitation: id }, until }, context);
  return { token, expiresAt: until };
}

export interface Accepted {
  user: User;
  key: { id: string; secret: string; expiresAt: number };
}

/** An invitation that was accepted before. `at` is in seconds since the epoch. */
export interface Used {
  name: string;
  at: number;
}

export type Acceptance = Accepted | Used | 'expired' | 'closed' | null;

/**
 * Accepts an invitation: the user joins and gets an access key. If two requests accept it at once, only one of them succeeds.
 * @returns when it was accepted, if this is the last invitation that the user accepted; `expired` if the token was valid until
 * it expired; `closed` if its invitation is not open for another reason; `null` if it is no token of this registry
 */
export async function acceptInvitation(
  env: Database & Secrets & Vars,
  token: string,
  context: TokenContext,
): Promise<Acceptance> {
  const claims = await verify(env, INVITATION, token, context);
  if (claims === null || claims === 'expired') return claims;
  const { sub: subject, invitation } = claims;
  if (subject === undefined || typeof invitation !== 'string') return null;
  try {
    return await join(env, subject, invitation);
  } catch (error) {
    if (!isRefusal(error, 'conflict')) throw error;
    const at = await usedAt(env, subject, invitation);
    return at === null ? 'closed' : { name: nameOf(subject), at };
  }
}

function usedAt(env: Database, subject: string, invitation: string): Promise<number | null> {
  return prepare(env, 'SELECT accepted_at AS at FROM accounts WHERE subject = :subject AND accepted_invitation = :invitation', {
    subject,
    invitation,
  }).first<number>('at');
}

/**
 * SQL condition: key :key exists. In that case this batch was committed before, its answer was lost, and it is sent again now.
 */
const HAS_JOINED = 'EXISTS (SELECT 1 FROM access_keys WHERE id = :key)';

/** @throws conflict if the invitation is not open */
async function join(env: Database & Secrets & Vars, subject: string, invitation: string): Promise<Accepted> {
  const id = await keyIdFrom(env, crypto.randomUUID());
  const parameters = { key: id, subject, invitation };
  const batch = newBatch(env);
  batch.require(
    'conflict',
    `${HAS_JOINED} OR EXISTS (SELECT 1 FROM accounts
       WHERE subject = :subject AND invitation = :invitation AND invited_until > unixepoch() AND disabled = 0)`,
    parameters,
  );
  recordEvent(batch, {
    about: aboutOf(subject),
    by: { subject },
    select: `SELECT 'user.joined' AS type, json_object('subject', :subject) AS target WHERE NOT ${HAS_JOINED}`,
    parameters,
  });
  const { keyDefaultDays, keyMaxDays } = settings(env);
  const lifetime = Math.min(keyDefaultDays, keyMaxDays) * DAY;
  insertKey(batch, id, { owner: subject, name: FIRST_KEY, statements: null, lifetime, by: { subject } });
  batch.run(
    `UPDATE accounts SET invitation = NULL, invited_until = NULL, accepted_invitation = :invitation,
       accepted_at = unixepoch(), version = version + 1
     WHERE subject = :subject AND invitation = :invitation`,
    parameters,
  );
  const key = batch.query<{ expiresAt: number }>('SELECT expires_at AS expiresAt FROM access_keys WHERE id = :key', parameters);
  const user = queryUser(batch, subject);
  const results = await batch.commit({ repeatable: true });
  const expiresAt = results.first(key)?.expiresAt ?? 0;
  return { user: userOf(results.first(user)), key: { id, secret: await accessKeySecret(env, id), expiresAt } };
}
