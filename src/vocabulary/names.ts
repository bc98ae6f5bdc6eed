/**
 * Names of users, organizations, teams and robots, and how statements and tokens write them down: `user:alice`,
 * `team:acme/dev`, `robot:acme/ci`. Pure.
 */
import { Refusal } from './refusal.ts';

/** Everybody, anonymous callers included. */
export const EVERYONE = '*';

/** A first component of repository names (distribution-spec, "Pulling manifests"), with single separators. */
const ACCOUNT = /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/;
const ACCOUNT_MAX_LENGTH = 64;

/**
 * Skeletons of reserved names: paths of the registry, words with a meaning to programs, and names that pass for the registry.
 */
const RESERVED = new Set(
  `admin administrator all anonymous anyone api auth aws berth cdn-cgi ci dashboard docs everyone explore health help invitation
  join key keys library login logout me new none nobody null org organization organizations owner public registry repositories
  repository robot robots root search settings signin signup staff status support system team teams token undefined user users
  v1 v2 www`
    .split(/\s+/)
    .map(confusableSkeleton),
);

/**
 * A name for a new user, organization, team or robot, in lower case.
 * @throws request-invalid for a name outside the grammar, or a reserved one
 */
export function parseNewName(text: string): string {
  const name = parseName(text);
  if (RESERVED.has(confusableSkeleton(name)))
    throw new Refusal('request-invalid', { message: `the name "${name}" is reserved: choose another one` });
  return name;
}

/** Names are case-insensitive: they are kept in lower case. @throws request-invalid */
export function parseName(text: string): string {
  const name = lowerCaseOf(text);
  if (isAccountName(name)) return name;
  throw new Refusal('request-invalid', {
    message: `a name has up to ${ACCOUNT_MAX_LENGTH} characters: letters and digits, separated by one of . _ or -`,
  });
}

/** ASCII only: the lower case of some other letters, such as the Kelvin sign, is an ASCII letter. */
function lowerCaseOf(text: string): string {
  return text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/**
 * Names that can be confused have the same skeleton (UTS 39): `acme-io` and `acmeio`, `paypa1` and `paypal`, `rnail` and
 * `mail`.
 */
export function confusableSkeleton(name: string): string {
  return name
    .replaceAll(/[._-]/g, '')
    .replaceAll('0', 'o')
    .replaceAll(/[1i]/g, 'l')
    .replaceAll('5', 's')
    .replaceAll('rn', 'm')
    .replaceAll('w', 'vv');
}

/** The part after the kind: `acme/dev` of `team:acme/dev`. */
export function nameOf(subject: string): string {
  return subject.slice(subject.indexOf(':') + 1);
}

/** The organization that a team, a robot or a rule belongs to; empty for one of the registry as a whole. */
export function organizationOf(subject: string): string {
  const name = nameOf(subject);
  return name.includes('/') ? (name.split('/', 1)[0] as string) : '';
}

/**
 * The organization or user that a repository's name begins with; empty for `myfirstapp`, which belongs to the registry itself.
 */
export function namespaceOf(repository: string): string {
  return repository.includes('/') ? (repository.split('/', 1)[0] as string) : '';
}

/** The user name for a password: `alice`, and `acme+ci` for a robot, as it cannot contain a slash. */
export function loginNameOf(subject: string): string {
  return nameOf(subject).replace('/', '+');
}

/** Trust rules are not among them: a rule has its own statements. */
const PRINCIPAL_KINDS = ['user', 'organization', 'team', 'robot'];

/** True for a valid principal of a statement: everyone, or a user, organization, team or robot. */
export function isPrincipal(text: string): boolean {
  if (text === EVERYONE) return true;
  const kind = text.slice(0, Math.max(0, text.indexOf(':')));
  const parts = nameOf(text).split('/');
  const long = kind === 'team' || kind === 'robot';
  return PRINCIPAL_KINDS.includes(kind) && parts.length === (long ? 2 : 1) && parts.every(isAccountName);
}

/** @throws request-invalid unless `subject` names something of this kind */
export function requireSubject(kind: 'team' | 'robot', subject: string): void {
  if (subject.startsWith(`${kind}:`) && isPrincipal(subject)) return;
  throw new Refusal('request-invalid', { message: `"${subject}" is not a ${kind}: it must be ${kind}:ORGANIZATION/NAME` });
}

/** `ci:acme/deploy`, or `ci:deploy` of the registry as a whole. */
export function isRuleSubject(text: string): boolean {
  const parts = nameOf(text).split('/');
  return text.startsWith('ci:') && parts.length <= 2 && parts.every(isAccountName);
}

function isAccountName(text: string): boolean {
  return text.length <= ACCOUNT_MAX_LENGTH && ACCOUNT.test(text);
}
