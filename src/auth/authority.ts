/**
 * The authority of a caller: who the caller is, and all statements from which `policy.ts` decides what the caller may do. It is
 * built from a credential and from the rows that `rights/lookup.ts` loads. This module does no I/O.
 */

import { ACTIONS } from '../vocabulary/actions.ts';
import { EVERYONE, loginNameOf, nameOf, organizationOf } from '../vocabulary/names.ts';
import type { Circumstances } from './conditions.ts';
import type { Credential, CredentialOrigin, OutsideLogin } from './credential.ts';
import type { LoadedRights } from './loaded-rights.ts';
import type { Sourced, Statement } from './statement.ts';

export interface Authority {
  /**
   * The subject of the caller, for example `user:alice`, `robot:acme/ci` or `ci:acme/deploy`. Empty for an anonymous caller.
   */
  subject: string;
  /** The subject, all groups to which it belongs, and everyone (`*`). */
  principals: string[];
  /** The statements of these principals, of the caller's roles, and of the repositories in the request. */
  statements: Sourced[];
  /**
   * The subjects whose policies were too long to read. `*` means that the caller has more organizations or teams than are read.
   */
  unread: string[];
  /** The limits of the credential. Each is a list of statements that must also allow a request. */
  bounds: Sourced[][];
  administrator: boolean;
  /** The names of the organizations that the caller owns, and of all organizations to which the caller belongs. */
  owns: string[];
  belongsTo: string[];
  /** The kind of the caller's credential. `session` means a signed-in browser, and `login` any other token of this registry. */
  credentialKind: 'none' | 'password' | 'key' | 'session' | 'login' | 'ci';
  /** The circumstances of the caller's request; absent for a question about somebody. */
  circumstances?: Circumstances;
  /**
   * What a token that is issued to this caller must store as its origin, and when it must expire at the latest, in seconds
   * since the epoch (`null` if it need not).
   */
  credentialOrigin: CredentialOrigin;
  until: number | null;
  /** The id of the caller's access key if this is its first use today, otherwise `null`. */
  unused: string | null;
  /** The caller's outside token if this is its first use, otherwise `null`. */
  unseen: OutsideLogin | null;
  /** The login to which the caller's refresh token belongs. `current` is false if the token was replaced by a newer one. */
  login: { id: string; generation: number; current: boolean } | null;
}

/**
 * Returns statements that deny everything that policies which could not be read might deny. The policy of a repository might
 * deny access to that repository, the policy of a team or robot to the repositories of its organization, and any other policy
 * to all repositories.
 */
export function unreadDenials(unread: readonly string[]): Sourced[] {
  return unread.map((subject) => ({
    from: subject,
    unread: true,
    statement: { effect: 'deny', actions: ACTIONS, repositories: [rangeOf(subject)] },
  }));
}

function rangeOf(subject: string): string {
  if (subject.startsWith('repository:')) return nameOf(subject);
  return organizationOf(subject) === '' ? '*' : `${organizationOf(subject)}/*`;
}

export function anonymous(loaded: LoadedRights): Authority {
  return {
    subject: '',
    principals: [EVERYONE],
    statements: statementsOnRepositories(loaded),
    unread: loaded.unread,
    bounds: [],
    administrator: false,
    owns: [],
    belongsTo: [],
    credentialKind: 'none',
    credentialOrigin: { epoch: 0 },
    until: null,
    unused: null,
    unseen: null,
    login: null,
  };
}

export function statementsOnRepositories(loaded: LoadedRights): Sourced[] {
  const read = loaded.policies
    .filter(({ subject }) => subject.startsWith('repository:'))
    .flatMap(({ subject, statements }) => onRepository(nameOf(subject), statements));
  return [...read, ...unreadDenials(loaded.unread.filter((subject) => subject.startsWith('repository:')))];
}

/** Limits the statements of a repository's policy to this repository and to the principals that they name. */
export function onRepository(repository: string, statements: readonly Statement[]): Sourced[] {
  const from = `repository:${repository}`;
  return statements.map((statement) => ({
    from,
    statement: { ...statement, repositories: [repository], principals: statement.principals ?? [] },
  }));
}

/**
 * Removes the principals from the statements of a user, robot, team or key, because they apply to every caller with this
 * identity.
 */
export function onIdentity(from: string, statements: readonly Statement[]): Sourced[] {
  return statements.map(({ principals: _, ...statement }) => ({ from, statement }));
}

/**
 * Returns the authority of a caller with an account. Returns `null` if the account is disabled, or the credential has expired
 * or was revoked.
 */
export function fromAccount(credential: Exclude<Credential, { kind: 'outside' }>, loaded: LoadedRights): Authority | null {
  const { account, key, login } = loaded;
  const credentialOrigin = originOf(credential, account?.epoch ?? 0);
  const keyId = credentialOrigin.key;
  if (!account || account.disabled || account.epoch !== credentialOrigin.epoch) return null;
  if (keyId !== undefined && (!key || key.ended || key.owner !== account.subject)) return null;
  if (credential.kind === 'key' && !isNameFor(credential.name, account.subject, credential.key)) return null;
  const refresh = credential.kind === 'token' ? (credential.login ?? null) : null;
  if (refresh && (!login || login.ended)) return null;
  const { subject } = account;
  // For administrators, policies that could not be read deny nothing, because an administrator could change these policies.
  const known = account.administrator === 1 ? { ...loaded, unread: [] } : loaded;
  const unread = known.unread.filter((one) => !one.startsWith('repository:'));
  return {
    ...anonymous(loaded),
    subject,
    principals: [
      subject,
      ...loaded.members.map(({ organization }) => `organization:${organization}`),
      ...loaded.teams,
      EVERYONE,
    ],
    statements: [
      ...rolesOf(subject, account.administrator === 1, ownedBy(loaded)),
      ...loaded.policies
        .filter((policy) => !policy.subject.startsWith('repository:'))
        .flatMap((policy) => onIdentity(policy.subject, policy.statements)),
      ...unreadDenials(unread),
      ...statementsOnRepositories(known),
    ],
    unread: loaded.unread,
    bounds: key?.statements ? [onIdentity(`key:${key.id}`, key.statements)] : [],
    administrator: account.administrator === 1,
    owns: ownedBy(loaded),
    belongsTo: loaded.members.map(({ organization }) => organization),
    credentialKind: kindOf(credential),
    credentialOrigin,
    until: endOf(credential, key?.expires_at ?? null),
    unused: key?.unused ? key.id : null,
    login: refresh && login ? { ...refresh, current: login.generation === refresh.generation } : null,
  };
}

function kindOf(credential: Exclude<Credential, { kind: 'outside' }>): Authority['credentialKind'] {
  if (credential.kind !== 'token') return credential.kind;
  return credential.session ? 'session' : 'login';
}

function originOf(credential: Exclude<Credential, { kind: 'outside' }>, epoch: number): CredentialOrigin {
  if (credential.kind === 'token') {
    const { credentialOrigin, until, login } = credential;
    return login ? credentialOrigin : { ...credentialOrigin, until };
  }
  return credential.kind === 'key' ? { epoch, key: credential.key } : { epoch, password: credential.mark };
}

function ownedBy(loaded: LoadedRights): string[] {
  return loaded.members.filter(({ role }) => role === 'owner').map(({ organization }) => organization);
}

/**
 * Returns true if the user name sent with a key is that of the key or its owner, or if none was sent. A login password is
 * accepted with any user name, because docker requires one.
 */
function isNameFor(name: string | null, owner: string, key: string): boolean {
  return name === null || name.toUpperCase() === key || name.toLowerCase() === loginNameOf(owner);
}

/**
 * Returns the time when a credential expires, or `null` if it never does. This is the earliest expiry of the credential and of
 * the credentials for which it was issued. The expiry of a refresh token does not count, because each use issues a new one.
 */
function endOf(credential: Credential, keyEnd: number | null): number | null {
  const own =
    credential.kind !== 'token' ? null : credential.login ? (credential.credentialOrigin.until ?? null) : credential.until;
  const ends = [own, keyEnd].filter((end) => end !== null);
  return ends.length === 0 ? null : Math.min(...ends);
}

/**
 * Returns the rights that roles give, as statements: for administrators, for owners of an organization, and for users in their
 * own namespace.
 */
export function rolesOf(subject: string, administrator: boolean, owns: readonly string[]): Sourced[] {
  const all = (from: string, pattern: string): Sourced => ({
    from,
    standing: true,
    statement: { effect: 'allow', actions: ACTIONS, repositories: [pattern] },
  });
  return [
    ...(administrator ? [all('administrator', '*')] : []),
    ...owns.map((organization) => all(`owner of ${organization}`, `${organization}/*`)),
    ...(subject.startsWith('user:') ? [all(`namespace of ${subject}`, `${nameOf(subject)}/*`)] : []),
  ];
}
