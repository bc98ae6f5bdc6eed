/** Users: list, read, invite and change them, and log them out. */
import {
  changeUser as changeRow,
  endLogins,
  findUser,
  listUsers as listRows,
  shareOrganization,
  type User,
} from '../auth/people/accounts.ts';
import {
  type Acceptance,
  acceptInvitation as accept,
  invitationToken,
  inviteUser as inviteRow,
  openInvitation as open,
} from '../auth/people/invitations.ts';
import { isNarrowed, isUnscopedUser } from '../auth/policy.ts';
import { type Grants, grantsOf } from '../auth/rights/policy-names.ts';
import { type UserChange, type UserInvitation, userChange, userInvitation } from '../contract/people.ts';
import { valid } from '../contract/valid.ts';
import type { Page } from '../oci/page.ts';
import { nameOf } from '../vocabulary/names.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { actorOf, requireAdministrator, requireLogin } from './access.ts';
import type { Call } from './call.ts';
import { reviewOwners } from './webhook-owners.ts';

export type { User } from '../auth/people/accounts.ts';
export type { Accepted, Used } from '../auth/people/invitations.ts';

/** The fields of a user that users of the same organization see. */
type Colleague = Pick<User, 'name' | 'subject'>;

export interface Invited {
  user: User;
  /**
   * The open invitation, or `null` if there is none. `expiresAt` is in seconds since the epoch. The token is a part of the link
   * that the user opens.
   */
  invitation: { token: string; expiresAt: number } | null;
}

/** @param search a text that the name or the description must contain */
export async function listUsers(
  call: Call,
  { after, limit, search }: { after: string; limit: number; search: string },
): Promise<Page<User>> {
  requireAdministrator(call);
  return listRows(call.env, { after: after.toLowerCase(), limit, search });
}

/**
 * Returns a user. Administrators and the user get all fields. Users of the same organization get only the name. A narrowed
 * credential gets only the name of its own owner.
 * @throws unauthenticated; not-found if the user does not exist or the caller may not know of the user
 */
export async function getUser(call: Call, subject: string): Promise<User | Colleague> {
  requireLogin(call);
  const { env, authority } = call;
  if (isNarrowed(authority)) {
    if (subject !== authority.subject) throw new Refusal('not-found');
    return { name: nameOf(subject), subject };
  }
  const user = await findUser(env, subject);
  if (!user) throw new Refusal('not-found');
  if (authority.subject === subject || (authority.administrator && isUnscopedUser(authority))) return user;
  if (!(await shareOrganization(env, authority.subject, subject))) throw new Refusal('not-found');
  return { name: user.name, subject };
}

/**
 * Creates a user with an open invitation. If the user exists, changes the user, and opens a new invitation if the user has not
 * joined yet.
 * @throws request-invalid if the name is reserved; name-taken if the name can be confused with another one; version-mismatch
 */
export async function inviteUser(
  call: Call,
  subject: string,
  wanted: UserInvitation,
  ifVersion: number | null,
): Promise<Invited & { created: boolean }> {
  requireAdministrator(call);
  const { user, made } = await inviteRow(call.env, subject, valid(userInvitation, wanted), { ifVersion, by: actorOf(call) });
  if (!made) await reviewOwners(call, { people: [subject] });
  return { ...(await invited(call, user)), created: made };
}

/** Opens a new invitation for a user. The link of the previous invitation stops working. @throws not-found, disabled */
export async function openInvitation(call: Call, subject: string): Promise<Invited> {
  requireAdministrator(call);
  return invited(call, await open(call.env, subject, { keepOpen: false, by: actorOf(call) }));
}

async function invited(call: Call, user: User): Promise<Invited> {
  return { user, invitation: await invitationToken(call.env, user, call) };
}

/**
 * Changes a user.
 * @returns the user. If the change disables the user, `remainingGrants` are the repositories whose policies still name the user
 * @throws last-administrator, version-mismatch, not-found
 */
export async function changeUser(
  call: Call,
  subject: string,
  change: UserChange,
  ifVersion: number | null,
): Promise<{ user: User; remainingGrants: Grants | null }> {
  requireAdministrator(call);
  const wanted = valid(userChange, change);
  const user = await changeRow(call.env, subject, wanted, { ifVersion, by: actorOf(call) });
  await reviewOwners(call, { people: [subject] });
  return { user, remainingGrants: wanted.disabled === true ? await grantsOf(call.env, subject) : null };
}

/** Ends all logins of a user. @param keys true to revoke also the user's access keys */
export async function logOutUser(call: Call, subject: string, { keys }: { keys: boolean }): Promise<void> {
  requireAdministrator(call);
  await endLogins(call.env, subject, { keys, by: actorOf(call) });
}

/** Accepts an invitation. The invited user gets an access key. */
export function acceptInvitation(call: Pick<Call, 'env' | 'service' | 'now'>, token: string): Promise<Acceptance> {
  return accept(call.env, token, call);
}
