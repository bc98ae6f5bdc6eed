/**
 * The names of users, organizations, teams and robots, and the subjects that identify them in statements and tokens:
 * `user:alice`, `team:acme/dev`, `robot:acme/ci`. This module does no I/O.
 */
import { Refusal } from './refusal.ts';

/** The principal that stands for all callers, including anonymous ones. */
export const EVERYONE = '*';

/**
 * The grammar of account names. A valid name is also valid as the first component of a repository name (distribution-spec,
 * "Pulling manifests"), but may have only single separators.
 */
const ACCOUNT = /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/;
const ACCOUNT_MAX_LENGTH = 64;

/**
 * Reserved names, as skeletons (see `confusableSkeleton`): parts of the registry's paths, keywords of programs, and names that
 * look official.
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
 * Parses the name of a new user, organization, team or robot. Returns the name in lower case.
 * @throws request-invalid if the name is malformed or reserved
 */
export function parseNewName(text: string): string {
  const name = parseName(text);
  if (RESERVED.has(confusableSkeleton(name)))
    throw new Refusal('request-invalid', { message: `the name "${name}" is reserved: choose another one` });
  return name;
}

/**
 * Parses a name. Returns the name in lower case, because names are case-insensitive. @throws request-invalid if the name is
 * malformed
 */
export function parseName(text: string): string {
  const name = lowerCaseOf(text);
  if (isAccountName(name)) return name;
  throw new Refusal('request-invalid', {
    message: `a name has up to ${ACCOUNT_MAX_LENGTH} characters: letters and digits, separated by one of . _ or -`,
  });
}

/** Lowers ASCII letters only. Some other letters, such as the Kelvin sign, would become ASCII letters. */
function lowerCaseOf(text: string): string {
  return text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/**
 * Returns the skeleton of a name (UTS 39). Names that look alike have the same skeleton: `acme-io` and `acmeio`, `paypa1` and
 * `paypal`, `rnail` and `mail`. Only one of such names can be registered.
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

/** Returns the part of a subject after its kind, for example `acme/dev` for `team:acme/dev`. */
export function nameOf(subject: string): string {
  return subject.slice(subject.indexOf(':') + 1);
}

/** Returns the organization of a team, robot or trust rule. Returns the empty string for a trust rule of the whole registry. */
export function organizationOf(subject: string): string {
  const name = nameOf(subject);
  return name.includes('/') ? (name.split('/', 1)[0] as string) : '';
}

/**
 * Returns the namespace of a repository: the part of its name before the slash, which is the name of an organization or user.
 * Returns the empty string for a name without a slash, such as `myfirstapp`; such a repository belongs to the registry itself.
 */
export function namespaceOf(repository: string): string {
  return repository.includes('/') ? (repository.split('/', 1)[0] as string) : '';
}

/**
 * Returns the user name for a login with a password: `alice`, or `acme+ci` for the robot `robot:acme/ci`, because a user name
 * cannot contain a slash.
 */
export function loginNameOf(subject: string): string {
  return nameOf(subject).replace('/', '+');
}

/**
 * The kinds of principals that a statement can name. Trust rules are no principals, because each trust rule has statements of
 * its own.
 */
const PRINCIPAL_KINDS = ['user', 'organization', 'team', 'robot'];

/** Returns true if the text is a valid principal of a statement: everyone, a user, an organization, a team or a robot. */
export function isPrincipal(text: string): boolean {
  if (text === EVERYONE) return true;
  const kind = text.slice(0, Math.max(0, text.indexOf(':')));
  const parts = nameOf(text).split('/');
  const long = kind === 'team' || kind === 'robot';
  return PRINCIPAL_KINDS.includes(kind) && parts.length === (long ? 2 : 1) && parts.every(isAccountName);
}

/** @throws request-invalid if `subject` is not a valid subject of this kind */
export function requireSubject(kind: 'team' | 'robot', subject: string): void {
  if (subject.startsWith(`${kind}:`) && isPrincipal(subject)) return;
  throw new Refusal('request-invalid', { message: `"${subject}" is not a ${kind}: it must be ${kind}:ORGANIZATION/NAME` });
}

/** Returns true if the text is the subject of a trust rule: `ci:acme/deploy`, or `ci:deploy` for the whole registry. */
export function isRuleSubject(text: string): boolean {
  const parts = nameOf(text).split('/');
  return text.startsWith('ci:') && parts.length <= 2 && parts.every(isAccountName);
}

function isAccountName(text: string): boolean {
  return text.length <= ACCOUNT_MAX_LENGTH && ACCOUNT.test(text);
}
