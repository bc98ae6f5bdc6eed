/**
 * Invitations: how a user comes to be, and how one who lost every key comes back. Whoever holds the link gets an access key,
 * once. The link is a token that names the user and the invitation; the database knows which invitation is open.
 */
import { settings, type Vars } from '../../env.ts';
import { refuseUnless, tryBatch, tryBatchTwice } from '../../events/batch.ts';
import { type Actor, aboutOf } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import type { Secrets } from '../../secrets.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { Database } from '../directory.ts';
import { type Kind, mint, verify } from '../jwt.ts';
import { confusableSkeleton, nameOf, parseNewName } from '../names.ts';
import type { TokenContext } from '../runtime.ts';
import { accessKeySecret, keyIdFrom } from '../secrets.ts';
import type { Minted } from '../tokens.ts';
import { DAY, insertKey } from './access-keys.ts';
import { changeUser, findUser, getUser, selectUser, type User, type UserChange, userIn } from './accounts.ts';

const INVITATION: Kind = { label: 'invitation', typ: 'berth-invitation+jwt', lifetime: 7 * DAY };

const FIRST_KEY = 'first key';

/**
 * Makes the user, or changes one that is there, and has an invitation open for whoever has not joined yet. Asked again, it
 * changes nothing.
 * @throws request-invalid for a name that nobody can have; conflict for one too much like another's; version-mismatch
 */
export async function inviteUser(
  env: Database,
  subject: string,
  wanted: Omit<UserChange, 'disabled'>,
  { ifVersion, by }: { ifVersion: number | null; by: Actor },
): Promise<{ user: User; made: boolean }> {
  const made = (await findUser(env, subject)) ? null : await makeUser(env, subject, wanted, { ifVersion, by });
  if (made) return { user: made, made: true };
  if (ifVersion === 0) throw new Refusal('version-mismatch', { message: `${nameOf(subject)} is there already` });
  const user = await changeUser(env, subject, wanted, { ifVersion, by });
  if (user.joined || user.disabled || user.invitation) return { user, made: false };
  return { user: await openInvitation(env, subject, { keepOpen: true, by }), made: false };
}

/** `null` where somebody else has just made it. */
async function makeUser(
  env: Database,
  subject: string,
  { administrator = false, description = '' }: Omit<UserChange, 'disabled'>,
  { ifVersion, by }: { ifVersion: number | null; by: Actor },
): Promise<User | null> {
  const likeness = confusableSkeleton(parseNewName(nameOf(subject)));
  if (ifVersion) throw new Refusal('version-mismatch');
  const results = await tryBatch(env, [
    refuseUnless(env, 'NOT EXISTS (SELECT 1 FROM accounts WHERE likeness = ?1 OR subject = ?2)', likeness, subject),
    env.DB.prepare(
      `INSERT INTO accounts (subject, likeness, administrator, description, invitation, invited_until, created_at)
       VALUES (?1, ?2, ?3, ?4, ?5, unixepoch() + ?6, unixepoch())`,
    ).bind(subject, likeness, administrator ? 1 : 0, description, crypto.randomUUID(), INVITATION.lifetime),
    recordInvited(env, subject, by),
    selectUser(env, subject),
  ]);
  if (results) return userIn(results);
  if (await findUser(env, subject)) return null;
  throw new Refusal('name-taken', { message: `${nameOf(subject)} is too much like a name that is taken` });
}

function recordInvited(env: Database, subject: string, by: Actor, condition = 'TRUE'): D1PreparedStatement {
  return record(env, {
    about: aboutOf(subject),
    by,
    select: `SELECT 'user.invited' AS type,
        json_object('subject', subject, 'administrator', json(iif(administrator, 'true', 'false'))) AS target
      FROM accounts WHERE subject = ?3 AND ${condition}`,
    parameters: [subject],
  });
}

/**
 * A new link for a user; the one before, if there is one, opens nothing any more.
 * @param keepOpen not where one is open
 * @throws not-found; conflict for a user who is disabled
 */
export async function openInvitation(
  env: Database,
  subject: string,
  { keepOpen, by }: { keepOpen: boolean; by: Actor },
): Promise<User> {
  const needed = keepOpen ? 'coalesce(invited_until <= unixepoch(), TRUE)' : 'TRUE';
  const results = await tryBatch(env, [
    refuseUnless(env, 'EXISTS (SELECT 1 FROM accounts WHERE subject = ?1 AND disabled = 0)', subject),
    recordInvited(env, subject, by, needed),
    env.DB.prepare(
      `UPDATE accounts SET invitation = ?2, invited_until = unixepoch() + ?3, version = version + 1
       WHERE subject = ?1 AND ${needed}`,
    ).bind(subject, crypto.randomUUID(), INVITATION.lifetime),
    selectUser(env, subject),
  ]);
  if (results) return userIn(results);
  await getUser(env, subject);
  throw new Refusal('disabled', { message: `${nameOf(subject)} is disabled: enable them first` });
}

/** The token of the open invitation, the same in all that counts each time; `null` where none is open. */
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

/**
 * Whoever holds the token joins, and is given an access key; of two at once, one. `expired`: a token that was right until its
 * time. `closed`: one of ours that opens nothing any more. `null`: no token of ours.
 */
export async function acceptInvitation(
  env: Database & Secrets & Vars,
  token: string,
  context: TokenContext,
): Promise<Accepted | 'expired' | 'closed' | null> {
  const claims = await verify(env, INVITATION, token, context);
  if (claims === null || claims === 'expired') return claims;
  const { sub: subject, invitation } = claims;
  if (subject === undefined || typeof invitation !== 'string') return null;
  const id = await keyIdFrom(env, crypto.randomUUID());
  // Carried out again, where the first answer was lost, it finds its own key and changes nothing.
  const open = `NOT EXISTS (SELECT 1 FROM access_keys WHERE id = ?1) AND EXISTS (SELECT 1 FROM accounts
    WHERE subject = ?2 AND invitation = ?3 AND invited_until > unixepoch() AND disabled = 0)`;
  const results = await tryBatchTwice(env, [
    refuseUnless(env, `EXISTS (SELECT 1 FROM access_keys WHERE id = ?1) OR ${open}`, id, subject, invitation),
    recordJoined(env, subject, id),
    ...insertFirstKey(env, subject, id),
    env.DB.prepare(
      `UPDATE accounts SET invitation = NULL, invited_until = NULL, version = version + 1
       WHERE subject = ?1 AND invitation = ?2`,
    ).bind(subject, invitation),
    env.DB.prepare('SELECT expires_at AS expiresAt FROM access_keys WHERE id = ?1').bind(id),
    selectUser(env, subject),
  ]);
  if (!results) return 'closed';
  const made = results.at(-2)?.results[0] as { expiresAt: number };
  return { user: userIn(results), key: { id, secret: await accessKeySecret(env, id), ...made } };
}

function recordJoined(env: Database, subject: string, key: string): D1PreparedStatement {
  const select = `SELECT 'user.joined' AS type, json_object('subject', ?3) AS target
    WHERE NOT EXISTS (SELECT 1 FROM access_keys WHERE id = ?4)`;
  return record(env, { about: aboutOf(subject), by: { subject }, select, parameters: [subject, key] });
}

function insertFirstKey(env: Database & Vars, owner: string, id: string): D1PreparedStatement[] {
  const { keyDefaultDays, keyMaxDays } = settings(env);
  const days = Math.min(keyDefaultDays, keyMaxDays);
  return insertKey(env, id, { owner, name: FIRST_KEY, statements: null, days, by: { subject: owner } });
}
