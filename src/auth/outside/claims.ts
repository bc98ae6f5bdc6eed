/**
 * Claims of outside tokens, and conditions on them. The author of a branch chooses values of claims, so a value is never read
 * as a pattern. Pure.
 */
import { matches } from '../../oci/pattern.ts';

/** Claims as text, numbers and booleans included. */
export type Claims = Record<string, string>;

/** By claim: the pattern, or one of the patterns, that it must match. */
export type Conditions = Record<string, string | string[]>;

/**
 * Both forms of GitHub's subject (GitHub Docs, "OpenID Connect reference"): that of repositories made after July 2026 has ids.
 */
const SUBJECT = /^repo:([^@:/]+)(?:@(\d+))?\/([^@:/]+)(?:@(\d+))?:(.*)$/s;

/** The claims that are text, a number or a boolean. Conditions cannot compare others. */
export function claimsOf(payload: Record<string, unknown>): Claims {
  const comparable = ['string', 'number', 'boolean'];
  const found = Object.entries(payload).filter(([, value]) => comparable.includes(typeof value));
  return Object.fromEntries(found.map(([name, value]) => [name, String(value)]));
}

/** The claims that conditions read. */
export function namesIn(conditions: Conditions): string[] {
  const names = Object.keys(conditions);
  return names.includes('sub') ? [...names, 'repository_owner_id', 'repository_id'] : names;
}

export function allHold(conditions: Conditions, claims: Claims): boolean {
  return unmet(conditions, claims).length === 0;
}

/** The claims whose conditions are not fulfilled. An absent claim fulfils none. */
export function unmet(conditions: Conditions, claims: Claims): string[] {
  return Object.keys(conditions).filter((name) => {
    const texts = textsOf(name, claims);
    return !claimPatterns(conditions, name).some((pattern) => texts.some((text) => matches(pattern, text)));
  });
}

/** The texts that conditions on a claim compare: its value, or each form of a subject. */
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

/** A subject in each of its forms. None if the ids in it differ from those in the claims. */
function subjectsOf(claims: Claims): string[] {
  const subject = valueIn(claims, 'sub');
  if (subject === undefined) return [];
  const [ownerId, repositoryId] = [valueIn(claims, 'repository_owner_id'), valueIn(claims, 'repository_id')];
  const [, owner, ownerInIt, name, repositoryInIt, rest] = SUBJECT.exec(subject) ?? [];
  if (owner === undefined || ownerId === undefined || repositoryId === undefined) return [subject];
  if ((ownerInIt ?? ownerId) !== ownerId || (repositoryInIt ?? repositoryId) !== repositoryId) return [];
  return [`repo:${owner}/${name}:${rest}`, `repo:${owner}@${ownerId}/${name}@${repositoryId}:${rest}`];
}

/** Claims that a rule is found by, the narrowest first: ids that never pass to somebody else. */
const IDS = ['repository_id', 'project_id', 'repository_owner_id', 'namespace_id', 'enterprise_id', 'sub'];

/** Claims that many jobs of an issuer share. A rule is not found by them. */
const SHARED = new Set(
  `iss aud exp nbf iat jti ref ref_type ref_path ref_protected head_ref base_ref event_name pipeline_source build_source
  environment environment_protected runner_environment workflow job_workflow_ref repository_visibility project_visibility
  user_access_level`.split(/\s+/),
);

/** A rule is found by one claim with an exact value of up to this length. */
type Key = [claim: string, value: string];
const KEY_MAX_LENGTH = 255;

/** The keys by which a rule is found. A rule without keys is read for every token of its issuer. */
export function keysOfRule(conditions: Conditions): Key[] {
  const exact = Object.keys(conditions).filter((name) =>
    claimPatterns(conditions, name).every((pattern) => !pattern.includes('*')),
  );
  const claim = IDS.find((name) => exact.includes(name)) ?? exact.filter((name) => !SHARED.has(name)).sort()[0];
  return claim === undefined ? [] : [...new Set(claimPatterns(conditions, claim))].map((value) => [claim, value]);
}

/** The keys of the rules that may apply to a token with these claims. */
export function keysOfClaims(claims: Claims): Key[] {
  return Object.keys(claims)
    .filter((name) => !SHARED.has(name))
    .flatMap((name) => textsOf(name, claims).map((value): Key => [name, value]))
    .filter(([, value]) => value.length <= KEY_MAX_LENGTH);
}
