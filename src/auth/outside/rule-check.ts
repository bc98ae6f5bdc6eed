/**
 * Checks a trust rule before it is saved. A rule must identify particular jobs by claims that nobody else can get, and it must
 * apply only within its organization. The error messages say what to write instead. This module does no I/O.
 */

import { isRepositoryPattern, isTagPattern } from '../../oci/pattern.ts';
import { ACTIONS, TAG_ACTIONS } from '../../vocabulary/actions.ts';
import { RULE_LIFETIME_MAX, RULE_LIFETIME_MIN } from '../../vocabulary/limits.ts';
import { isRuleSubject, organizationOf } from '../../vocabulary/names.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import type { Conditions } from './claims.ts';
import { isIssuer } from './issuers.ts';
import type { RuleStatement, TrustRule } from './oidc.ts';
import { ambiguityIn, PLACEHOLDER } from './templates.ts';

const MAX_CONDITIONS = 20;
const MAX_STATEMENTS = 20;
const MAX_PATTERNS = 20;
const MAX_TEXT_LENGTH = 255;
/**
 * The maximum number of UTF-8 bytes of a rule's conditions and statements, as JSON. Every request of a job with this rule reads
 * them.
 */
const MAX_RULE_BYTES = 16 * 1024;

const CLAIM_NAME = /^[A-Za-z0-9_.:/-]{1,128}$/;

/** The claims that do not identify a job (RFC 7519, section 4.1). Issuer and audience have fields of their own in a rule. */
const SAY_NOTHING = new Set(['iss', 'aud', 'exp', 'nbf', 'iat', 'jti']);

/**
 * The claims with ids that a platform never gives to anybody else. A name can pass to somebody else after its account or
 * project was deleted.
 */
const GITHUB_IDS = ['repository_id', 'repository_owner_id', 'enterprise_id'];
const GITLAB_IDS = ['project_id', 'namespace_id'];

/**
 * @param organization the organization of the rule, or the empty string for a rule of the whole registry
 * @throws request-invalid with a message that says what is wrong with the rule
 */
export function checkRule(rule: TrustRule, organization: string, insecureIssuers: boolean): void {
  const { subject, issuer, audience, claims, statements, lifetime } = rule;
  demand(
    isRuleSubject(subject) && organizationOf(subject) === organization,
    'the rule does not belong to this organization: its name must be ci:ORGANIZATION/NAME',
  );
  demand(
    isIssuer(issuer, insecureIssuers),
    'issuer: must be the https URL that tokens have in "iss", with a public host and without query, fragment or user',
  );
  demand(isText(audience), 'audience: must be the text that tokens have in "aud"; use the host of this registry');
  const bytes = new TextEncoder().encode(JSON.stringify([claims, statements])).byteLength;
  demand(
    bytes <= MAX_RULE_BYTES,
    `a trust rule has up to ${MAX_RULE_BYTES} bytes of claims and statements, as JSON in UTF-8; this one has ${bytes}. ` +
      `Nothing was saved`,
  );
  demand(
    Number.isInteger(lifetime) && lifetime >= RULE_LIFETIME_MIN && lifetime <= RULE_LIFETIME_MAX,
    `lifetime: must be ${RULE_LIFETIME_MIN} to ${RULE_LIFETIME_MAX} seconds`,
  );
  checkConditions('claims', claims);
  checkNarrow(claims);
  checkIds(issuer, claims);
  demand(statements.length > 0 && statements.length <= MAX_STATEMENTS, `statements: must be a list of 1 to ${MAX_STATEMENTS}`);
  statements.forEach((statement, n) => {
    checkStatement(`statements[${n}]`, statement, organization);
    checkTemplates(`statements[${n}]`, statement);
  });
}

function demand(condition: boolean, message: string): void {
  if (!condition) throw new Refusal('request-invalid', { message });
}

/** Returns true for a text of limited length without control characters. */
function isText(text: string): boolean {
  return text.length > 0 && text.length <= MAX_TEXT_LENGTH && !/\p{Cc}/u.test(text);
}

function checkConditions(where: string, conditions: Conditions): void {
  const entries = Object.entries(conditions);
  demand(entries.length <= MAX_CONDITIONS, `${where}: must have up to ${MAX_CONDITIONS} conditions`);
  for (const [name, patterns] of entries) {
    const list = [patterns].flat();
    demand(CLAIM_NAME.test(name), `${where}: "${name}" is not a valid name of a claim`);
    demand(list.length > 0 && list.length <= MAX_PATTERNS, `${where}.${name}: must have 1 to ${MAX_PATTERNS} patterns`);
    demand(list.every(isText), `${where}.${name}: a pattern must have 1 to ${MAX_TEXT_LENGTH} characters`);
  }
}

function checkNarrow(claims: Conditions): void {
  const narrowing = Object.entries(claims).filter(
    ([name, patterns]) => !SAY_NOTHING.has(name) && [patterns].flat().every(saysSomething),
  );
  demand(
    narrowing.length > 0,
    'claims: must have a condition that only some tokens of the issuer fulfil, such as "sub" with more than "*"',
  );
}

function saysSomething(pattern: string): boolean {
  return /[^*]/.test(pattern);
}

/**
 * Requires a condition on an id for GitHub and GitLab. Somebody who registers the name of a deleted account also gets the names
 * of its repositories, but not their ids.
 */
function checkIds(issuer: string, claims: Conditions): void {
  const wanted = [isGitHub(issuer) && GITHUB_IDS, (issuer === 'https://gitlab.com' || usesPaths(claims)) && GITLAB_IDS];
  for (const ids of wanted.filter((one) => one !== false)) {
    demand(
      ids.some((id) => Object.hasOwn(claims, id) && [claims[id]].flat().every((pattern) => /^\d+$/.test(pattern ?? ''))),
      `claims: must have one of ${ids.join(', ')} as an exact number, because names can pass to somebody else`,
    );
  }
}

/**
 * Returns true for an issuer of GitHub: github.com (also with the custom issuer of an enterprise), data residency, or
 * Enterprise Server.
 */
function isGitHub(issuer: string): boolean {
  const { hostname, pathname } = new URL(issuer);
  return (
    hostname === 'token.actions.githubusercontent.com' ||
    /^token\.actions\.[a-z0-9-]+\.ghe\.com$/.test(hostname) ||
    /\/_services\/token\/?$/.test(pathname)
  );
}

/** Returns true if the conditions use claims of GitLab. A self-managed GitLab can be recognized only by them. */
function usesPaths(claims: Conditions): boolean {
  const subjects = [claims.sub ?? []].flat();
  return (
    'project_path' in claims || 'namespace_path' in claims || subjects.some((pattern) => pattern.startsWith('project_path:'))
  );
}

function checkStatement(where: string, statement: RuleStatement, organization: string): void {
  const { effect, actions, repositories, tags, principals, when } = statement;
  demand(effect === 'allow' || effect === 'deny', `${where}.effect: must be allow or deny`);
  demand(
    isListOf(actions, (action) => ACTIONS.includes(action)),
    `${where}.actions: must be a list of ${ACTIONS.join(', ')}`,
  );
  demand(
    isListOf(repositories, isTemplate(isRepositoryPattern)),
    `${where}.repositories: must be 1 to ${MAX_PATTERNS} names or patterns, such as acme/api or acme/*`,
  );
  demand(
    organization === '' || repositories.every((pattern) => pattern.startsWith(`${organization}/`)),
    `${where}.repositories: must begin with ${organization}/, because the rule belongs to ${organization}`,
  );
  demand(
    principals === undefined,
    `${where}.principals: must be left out, because the claims of the rule say whom it is about`,
  );
  if (tags) {
    demand(
      isListOf(tags, isTemplate(isTagPattern)),
      `${where}.tags: must be 1 to ${MAX_PATTERNS} patterns, such as v* or pr-{pull_request}-*`,
    );
    demand(
      actions.every((action) => TAG_ACTIONS.includes(action)),
      `${where}.tags: limit only ${TAG_ACTIONS.join(', ')}: put the other actions into a statement without tags`,
    );
  }
  if (when) checkConditions(`${where}.when`, when);
}

function checkTemplates(where: string, { repositories, tags = [] }: RuleStatement): void {
  for (const [name, kind, patterns] of [
    ['repositories', 'repository', repositories],
    ['tags', 'tag', tags],
  ] as const) {
    for (const pattern of patterns) {
      const ambiguity = ambiguityIn(pattern, kind);
      demand(ambiguity === null, `${where}.${name}: "${pattern}" is ambiguous: ${ambiguity}`);
    }
  }
}

function isListOf<T>(list: readonly T[], check: (one: T) => boolean): boolean {
  return list.length > 0 && list.length <= MAX_PATTERNS && list.every(check);
}

/** Returns a function that accepts patterns in which parts may be replaced by placeholders. */
function isTemplate(isPattern: (text: string) => boolean): (text: string) => boolean {
  return (text) => text.length <= MAX_TEXT_LENGTH && isPattern(text.replaceAll(PLACEHOLDER, 'x'));
}
