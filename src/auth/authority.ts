/**
 * The authority of a caller: its identity, and all statements on which `policy.ts` decides. It is made from a credential and
 * from the rows that `rights/lookup.ts` loads. Pure.
 */

import { ACTIONS } from '../vocabulary/actions.ts';
import { EVERYONE, loginNameOf, nameOf, organizationOf } from '../vocabulary/names.ts';
import type { Credential, CredentialOrigin, OutsideLogin } from './credential.ts';
import type { LoadedRights } from './directory.ts';
import type { Sourced, Statement } from './statement.ts';

export interface Authority {
  /** For example `user:alice`, `robot:acme/ci` or `ci:acme/deploy`; empty for an anonymous caller. */
  subject: string;
  /** The subject, all groups that it belongs to, and everyone. */
  principals: string[];
  /** The statements of these principals, of the caller's roles, and of the repositories in the request. */
  statements: Sourced[];
  /**
   * The subjects whose policies were too large to read. `*` means that the caller has more
   * organizations or teams than are read.
   */
  unread: string[];
  /** The limits of the credential, each a list of statements. Each limit must allow a request too. */
  bounds: Sourced[][];
  administrator: boolean;
  /** The names of the organizations that the caller owns, and of all organizations that it belongs to. */
  owns: string[];
  belongsTo: string[];
  /** The kind of the caller's credential. `session` means a signed-in browser, and `login` any other token of this registry. */
  credentialKind: 'none' | 'password' | 'key' | 'session' | 'login' | 'ci';
  /**
   * The origin to store in a token that is made for this caller, and the latest end of such a token in seconds since the epoch
   * (`null` if there is no such limit).
   */
  credentialOrigin: CredentialOrigin;
  until: number | null;
  /** The id of the caller's access key if this is the first use of the key today, otherwise `null`. */
  unused: string | null;
  /** The caller's outside token if this is the first use of the token, otherwise `null`. */
  unseen: OutsideLogin | null;
  /** The login that the caller's refresh token belongs to. `current` is false if the token was already used up. */
  login: { id: string; generation: number; current: boolean } | null;
}

/**
 * Returns statements that deny everything that the unread policies could deny. The policy of a repository could deny
 * access to that repository, the policy of a team or robot to the repositories of its organization, and any other
 * policy to all repositories.
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

/** Makes a repository's statements apply to this repository only, and only to the principals that they name. */
export function onRepository(repository: string, statements: readonly Statement[]): Sourced[] {
  const from = `repository:${repository}`;
  return statements.map((statement) => ({
    from,
    statement: { ...statement, repositories: [repository], principals: statement.principals ?? [] },
  }));
}

/** Makes the statements of a user, robot, team or key apply to every caller that has this identity. */
export function onIdentity(from: string, statements: readonly Statement[]): Sourced[] {
  return statements.map(({ principals: _, ...statement }) => ({ from, statement }));
}

/** Returns the authority of a caller with an account; `null` if the account is disabled, or the credential has ended. */
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
  // Unread policies deny nothing to administrators, because an administrator could change these policies.
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
 * True if the user name that came with a key belongs to the key or its owner, or if none came. A login password is accepted
 * with any user name, because docker requires one.
 */
function isNameFor(name: string | null, owner: string, key: string): boolean {
  return name === null || name.toUpperCase() === key || name.toLowerCase() === loginNameOf(owner);
}

/**
 * Returns the time at which a credential expires, or `null` if it never does. This is the earliest expiry of the credential and
 * of the credentials that it was issued for. The expiry of a refresh token does not count, because each use issues a new one.
 */
function endOf(credential: Credential, keyEnd: number | null): number | null {
  const own =
    credential.kind !== 'token' ? null : credential.login ? (credential.credentialOrigin.until ?? null) : credential.until;
  const ends = [own, keyEnd].filter((end) => end !== null);
  return ends.length === 0 ? null : Math.min(...ends);
}

/**
 * Returns the rights of roles as statements: those of administrators, of owners of an organization, and of
 * users in their own namespace.
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
