/** The caller: who they are, login passwords, and logging out everywhere. */
import type { Authority } from '../auth/authority.ts';
import { noteIssued } from '../auth/logins.ts';
import { endLogins } from '../auth/people/accounts.ts';
import { type Minted, mintLoginPassword } from '../auth/tokens.ts';
import { loginPasswordRequest } from '../contract/people.ts';
import { valid } from '../contract/valid.ts';
import { report } from '../telemetry.ts';
import { LOGIN_PASSWORD_MAX_LIFETIME } from '../vocabulary/limits.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { actorOf, requireLogin, requireNotNarrowed, requireUnscopedUser } from './access.ts';
import type { Call } from './call.ts';

export interface DescribedCaller {
  subject: string;
  administrator: boolean;
  organizations: { name: string; role: 'owner' | 'member' }[];
  /** `acme/dev` */
  teams: string[];
  /** Subjects whose policies are larger than one request reads. */
  unread: string[];
  credential: {
    kind: Exclude<Authority['credentialKind'], 'none'>;
    key: string | null;
    narrowed: boolean;
    /** Seconds since the epoch. */
    expiresAt: number | null;
  };
}

const NOBODY: Pick<Authority, 'administrator' | 'owns' | 'belongsTo' | 'principals'> = {
  administrator: false,
  owns: [],
  belongsTo: [],
  principals: [],
};

/** A narrowed credential is not told the roles of its owner, since it cannot use them. */
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

/** Ends all logins of the caller. @param keys also revokes their access keys, which needs a credential that is not narrowed */
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
 * A password for docker that expires by itself. It allows no more, and works no longer, than the caller's own credential.
 * @param lifetime seconds; default: the maximum
 */
export async function createLoginPassword(call: Call, lifetime: number | undefined): Promise<Minted> {
  requireLogin(call);
  valid(loginPasswordRequest, { lifetime });
  const { env, authority, address } = call;
  const password = await mintLoginPassword(env, authority, lifetime ?? LOGIN_PASSWORD_MAX_LIFETIME, call);
  // If the event cannot be recorded, the password is issued anyway.
  await noteIssued(env, authority, { address }, password.expiresAt).catch((error: unknown) =>
    report('login.not-recorded', { error }),
  );
  return password;
}
