/**
 * The authority of a caller: who it is, and all statements that `policy.ts` decides on. Made of a credential and of what
 * `rights/lookup.ts` loads from the database. Pure.
 */

import { ACTIONS } from '../vocabulary/actions.ts';
import { EVERYONE, loginNameOf, nameOf, organizationOf } from '../vocabulary/names.ts';
import type { Credential, CredentialOrigin, OutsideLogin } from './credential.ts';
import type { LoadedRights } from './directory.ts';
import type { Sourced, Statement } from './statement.ts';

export interface Authority {
  /** `user:alice`, `robot:acme/ci`, `ci:acme/deploy`; empty for an anonymous caller. */
  subject: string;
  /** The subject and all groups that it belongs to, everyone included. */
  principals: string[];
  /** The statements of these principals, of their roles, and of the repositories that were asked for. */
  statements: Sourced[];
  /** Subjects whose policies were too large to read; `*`: more organizations or teams than are read. */
  unread: string[];
  /** Limits of the credential: each of them must allow a request too. */
  bounds: Sourced[][];
  administrator: boolean;
  /** Organizations, by role. */
  owns: string[];
  belongsTo: string[];
  /** The kind of the caller's credential. `login`: a token of this registry. */
  credentialKind: 'none' | 'password' | 'key' | 'login' | 'ci';
  /** The origin that a token made for this caller names, and its latest end (seconds since the epoch). */
  credentialOrigin: CredentialOrigin;
  until: number | null;
  /** The id of an access key that was not used today yet. */
  unused: string | null;
  /** An outside token that is used for the first time. */
  unseen: OutsideLogin | null;
  /** The login that a refresh token continues. `current`: the token was not used up yet. */
  login: { id: string; generation: number; current: boolean } | null;
}

/**
 * Statements that deny all that unread policies could deny: for a team or robot the repositories of its organization, for a
 * user all repositories.
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

/** Attaches a repository's statements to it: they apply to this repository, and to the principals that they name. */
export function onRepository(repository: string, statements: readonly Statement[]): Sourced[] {
  const from = `repository:${repository}`;
  return statements.map((statement) => ({
    from,
    statement: { ...statement, repositories: [repository], principals: statement.principals ?? [] },
  }));
}

/** Attaches statements to a user, robot, team or key: they apply to whoever has this identity. */
export function onIdentity(from: string, statements: readonly Statement[]): Sourced[] {
  return statements.map(({ principals: _, ...statement }) => ({ from, statement }));
}

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
  // Unread policies deny nothing to an administrator, who could change them anyway.
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
    credentialKind: credential.kind === 'token' ? 'login' : credential.kind,
    credentialOrigin,
    until: endOf(credential, key?.expires_at ?? null),
    unused: key?.unused ? key.id : null,
    login: refresh && login ? { ...refresh, current: login.generation === refresh.generation } : null,
  };
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

/** True if a user name fits a key. A login password comes with any user name, as docker requires one. */
function isNameFor(name: string | null, owner: string, key: string): boolean {
  return name === null || name.toUpperCase() === key || name.toLowerCase() === loginNameOf(owner);
}

/**
 * The earliest end of a credential and of what it was made with. A refresh token has none itself, as each use gives a new one.
 */
function endOf(credential: Credential, keyEnd: number | null): number | null {
  const own =
    credential.kind !== 'token' ? null : credential.login ? (credential.credentialOrigin.until ?? null) : credential.until;
  const ends = [own, keyEnd].filter((end) => end !== null);
  return ends.length === 0 ? null : Math.min(...ends);
}

/** The rights of roles, as statements: administrators, owners of an organization, and users in their own namespace. */
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
