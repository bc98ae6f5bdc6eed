/** Operations on the caller's own account: describe the caller, create a login password, log out everywhere. */
import { noteIssued } from '../auth/audit-log.ts';
import type { Authority } from '../auth/authority.ts';
import { endLogins } from '../auth/people/accounts.ts';
import { type Minted, mintLoginPassword } from '../auth/tokens.ts';
import { loginPasswordRequest } from '../contract/people.ts';
import { valid } from '../contract/valid.ts';
import { report } from '../telemetry.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { actorOf, requireLogin, requireNoSession, requireNotNarrowed, requireUnscopedUser } from './access.ts';
import type { Call } from './call.ts';

export interface DescribedCaller {
  subject: string;
  administrator: boolean;
  organizations: { name: string; role: 'owner' | 'member' }[];
  /** The names of the caller's teams, for example `acme/dev`. */
  teams: string[];
  /**
   * The subjects whose policies were not read, because they are too long to read in one request. Their statements do not apply
   * to this request.
   */
  unread: string[];
  credential: {
    kind: Exclude<Authority['credentialKind'], 'none' | 'session'>;
    key: string | null;
    narrowed: boolean;
    /** The end of the credential, in seconds since the epoch. `null` if the credential does not expire by itself. */
    expiresAt: number | null;
  };
}

const NOBODY: Pick<Authority, 'administrator' | 'owns' | 'belongsTo' | 'principals'> = {
  administrator: false,
  owns: [],
  belongsTo: [],
  principals: [],
};

/**
 * Describes the caller. For a narrowed credential, the roles of its owner are left out, because the credential cannot use them.
 */
export function describeCaller(call: Call): DescribedCaller {
  requireLogin(call);
  const { subject, credentialKind, credentialOrigin, until, unread, ...authority } = call.authority;
  const narrowed = authority.bounds.length > 0;
  const { administrator, owns, belongsTo, principals } = narrowed ? NOBODY : authority;
  return {
    subject,
    administrator,
    organizations: belongsTo.map((name) => ({ name, role: owns.includes(name) ? 'owner' : 'member' })),
    teams: principals.flatMap((principal) => (principal.startsWith('team:') ? [principal.slice('team:'.length)] : [])),
    unread,
    credential: {
      kind: credentialKind as DescribedCaller['credential']['kind'],
      key: credentialOrigin.key ?? null,
      narrowed,
      expiresAt: until,
    },
  };
}

/**
 * Ends all logins of the caller.
 * @param keys true to revoke also the caller's access keys, which needs a user's access key or the administrator's password
 * @throws unauthenticated, forbidden; request-invalid for a CI token
 */
export async function logOutEverywhere(call: Call, { keys }: { keys: boolean }): Promise<void> {
  requireLogin(call);
  if (call.authority.credentialKind === 'ci') {
    throw new Refusal('request-invalid', {
      message: 'a CI token has no account to log out: it expires by itself',
    });
  }
  requireNotNarrowed(call);
  if (keys) requireUnscopedUser(call);
  await endLogins(call.env, call.authority.subject, { keys, by: actorOf(call) });
}

/**
 * Creates a temporary password for `docker login`. It never has more rights than the caller's credential, and never lasts
 * longer.
 * @param lifetime the lifetime in seconds; `undefined` means the maximum
 */
export async function createLoginPassword(call: Call, lifetime: number | undefined): Promise<Minted> {
  requireLogin(call);
  requireNoSession(call);
  const { lifetime: seconds } = valid(loginPasswordRequest, { lifetime });
  const { env, authority, address } = call;
  const password = await mintLoginPassword(env, authority, seconds, call);
  // If recording the event fails, the password is issued anyway.
  await noteIssued(env, authority, { address }, password.expiresAt).catch((error: unknown) =>
    report('login.not-recorded', { error }),
  );
  return password;
}
