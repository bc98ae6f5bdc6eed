/**
 * Claims of outside tokens, and conditions on them. Anybody who can create a branch can choose the values of some claims, so a
 * value is never interpreted as a pattern. This module does no I/O.
 */
import { matches } from '../../oci/pattern.ts';

/** Claims as text. Numbers and booleans are converted to text. */
export type Claims = Record<string, string>;

/** Conditions, by the name of the claim. The value of the claim must match the pattern, or one of the patterns. */
export type Conditions = Record<string, string | string[]>;

/**
 * The grammar of GitHub's subject, with or without ids (GitHub Docs, "OpenID Connect reference"). The subjects of repositories
 * created after July 2026 contain ids.
 */
const SUBJECT = /^repo:([^@:/]+)(?:@(\d+))?\/([^@:/]+)(?:@(\d+))?:(.*)$/s;

/** Returns the claims whose values are text, numbers or booleans. Conditions cannot compare other values. */
export function claimsOf(payload: Record<string, unknown>): Claims {
  const comparable = ['string', 'number', 'boolean'];
  const found = Object.entries(payload).filter(([, value]) => comparable.includes(typeof value));
  return Object.fromEntries(found.map(([name, value]) => [name, String(value)]));
}

/**
 * Returns the names of the claims that the conditions read. A condition on `sub` also reads the ids with which `subjectsOf`
 * compares the subject.
 */
export function namesIn(conditions: Conditions): string[] {
  const names = Object.keys(conditions);
  return names.includes('sub') ? [...names, 'repository_owner_id', 'repository_id'] : names;
}

export function allHold(conditions: Conditions, claims: Claims): boolean {
  return unmet(conditions, claims).length === 0;
}

/** Returns the names of the claims that do not meet their condition. An absent claim meets no condition. */
export function unmet(conditions: Conditions, claims: Claims): string[] {
  return Object.keys(conditions).filter((name) => {
    const texts = textsOf(name, claims);
    return !claimPatterns(conditions, name).some((pattern) => texts.some((text) => matches(pattern, text)));
  });
}

/** Returns the texts with which a condition on a claim is compared: the claim's value, or each form of a subject. */
function textsOf(name: string, claims: Claims): string[] {
  const text = valueIn(claims, name);
  return name === 'sub' ? subjectsOf(claims) : text === undefined ? [] : [text];
}

export function claimPatterns(conditions: Conditions, name: string): string[] {
  return Object.hasOwn(conditions, name) ? [conditions[name] ?? []].flat() : [];
}

export function valueIn(claims: Claims, name: string): string | undefined {
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}

/**
 * Returns the subject in each of its forms, with and without ids. Returns none if the ids in the subject differ from those in
 * the other claims.
 */
function subjectsOf(claims: Claims): string[] {
  const subject = valueIn(claims, 'sub');
  if (subject === undefined) return [];
  const [ownerId, repositoryId] = [valueIn(claims, 'repository_owner_id'), valueIn(claims, 'repository_id')];
  const [, owner, ownerInIt, name, repositoryInIt, rest] = SUBJECT.exec(subject) ?? [];
  if (owner === undefined || ownerId === undefined || repositoryId === undefined) return [subject];
  if ((ownerInIt ?? ownerId) !== ownerId || (repositoryInIt ?? repositoryId) !== repositoryId) return [];
  return [`repo:${owner}/${name}:${rest}`, `repo:${owner}@${ownerId}/${name}@${repositoryId}:${rest}`];
}

/**
 * The claims by which a rule is found, in order of preference: first ids, which are never given to anybody else, then the
 * subject.
 */
const IDS = ['repository_id', 'project_id', 'repository_owner_id', 'namespace_id', 'enterprise_id', 'sub'];

/** The claims whose values many jobs of an issuer have in common. They are not used to find a rule. */
const SHARED = new Set(
  `iss aud exp nbf iat jti ref ref_type ref_path ref_protected head_ref base_ref event_name pipeline_source build_source
  environment environment_protected runner_environment workflow job_workflow_ref repository_visibility project_visibility
  user_access_level`.split(/\s+/),
);

/** A key by which a rule is found: a claim and its exact value. The value has at most `KEY_MAX_LENGTH` characters. */
type Key = [claim: string, value: string];
const KEY_MAX_LENGTH = 255;

/** Returns the keys by which a rule is found in the index. A rule without keys is read for every token of its issuer. */
export function keysOfRule(conditions: Conditions): Key[] {
  const exact = Object.keys(conditions).filter((name) =>
    claimPatterns(conditions, name).every((pattern) => !pattern.includes('*')),
  );
  const claim = IDS.find((name) => exact.includes(name)) ?? exact.filter((name) => !SHARED.has(name)).sort()[0];
  return claim === undefined ? [] : [...new Set(claimPatterns(conditions, claim))].map((value) => [claim, value]);
}

/** Returns the keys of the rules that may apply to a token with these claims. */
export function keysOfClaims(claims: Claims): Key[] {
  return Object.keys(claims)
    .filter((name) => !SHARED.has(name))
    .flatMap((name) => textsOf(name, claims).map((value): Key => [name, value]))
    .filter(([, value]) => value.length <= KEY_MAX_LENGTH);
}
