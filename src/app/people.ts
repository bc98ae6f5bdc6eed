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
  type Accepted,
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
export type { Accepted } from '../auth/people/invitations.ts';

/** A user as members of a common organization see them. */
type Colleague = Pick<User, 'name' | 'subject'>;

export interface Invited {
  user: User;
  /** The open invitation, if there is one. */
  invitation: { token: string; expiresAt: number } | null;
}

/** @param search part of a name or description */
export async function listUsers(
  call: Call,
  { after, limit, search }: { after: string; limit: number; search: string },
): Promise<Page<User>> {
  requireAdministrator(call);
  return listRows(call.env, { after: after.toLowerCase(), limit, search });
}

/**
 * Administrators and the user get everything, members of a common organization only the name, and narrowed credentials only the
 * name of their owner.
 * @throws not-found to all others
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
 * Creates a user with an open invitation. An existing user is changed, and invited again if they have not joined.
 * @throws request-invalid for a reserved name; name-taken for one that can be confused with another; version-mismatch
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

/** Opens a new invitation; the link before stops working. @throws not-found, disabled */
export async function openInvitation(call: Call, subject: string): Promise<Invited> {
  requireAdministrator(call);
  return invited(call, await open(call.env, subject, { keepOpen: false, by: actorOf(call) }));
}

async function invited(call: Call, user: User): Promise<Invited> {
  return { user, invitation: await invitationToken(call.env, user, call) };
}

/**
 * @returns the user, and after disabling them the policies that still name them
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

/** Ends all logins of a user. @param keys also revokes their access keys */
export async function logOutUser(call: Call, subject: string, { keys }: { keys: boolean }): Promise<void> {
  requireAdministrator(call);
  await endLogins(call.env, subject, { keys, by: actorOf(call) });
}

/**
 * Accepts an invitation: its holder becomes the user and gets an access key.
 * @returns `expired`: the token was valid until its time. `closed`: it was used or replaced. `null`: it is not from this
 *   registry
 */
export function acceptInvitation(
  call: Pick<Call, 'env' | 'service' | 'now'>,
  token: string,
): Promise<Accepted | 'expired' | 'closed' | null> {
  return accept(call.env, token, call);
}
