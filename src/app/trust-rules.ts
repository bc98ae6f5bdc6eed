/**
 * Trust rules. A rule says which tokens of an issuer outside the registry (such as a CI service) may log in, and what jobs with
 * these tokens may do. A rule belongs to an organization or to the whole registry. `auth/outside/rule-check.ts` checks that a
 * rule is safe.
 */
import type { RuleStatement } from '../auth/outside/oidc.ts';
import { getRule, listRules, putRule, deleteRule as removeRule, type StoredRule } from '../auth/outside/trust-rules.ts';
import { getOrganization } from '../auth/people/organizations.ts';
import { pushWithoutPull } from '../auth/rights/mistakes.ts';
import { actionsIn } from '../contract/statements.ts';
import { type NewTrustRule, newTrustRule } from '../contract/trust-rules.ts';
import { valid } from '../contract/valid.ts';
import type { Page, PageQuery } from '../oci/page.ts';
import { organizationOf } from '../vocabulary/names.ts';
import { actorOf, requireAdministrator, requireOwner } from './access.ts';
import { bareNames } from './bare-names.ts';
import type { Call } from './call.ts';
import { reviewOwners } from './webhook-owners.ts';

export type TrustRule = StoredRule;

/**
 * Returns the subject of a rule. @param organization the owner of the rule, or the empty string for a rule of the whole
 * registry
 */
export function ruleSubject(organization: string, name: string): string {
  return organization === '' ? `ci:${name}` : `ci:${organization}/${name}`;
}

/**
 * @param organization the owner of the rules, or the empty string for rules of the whole registry
 * @param page its cursor is the name of a rule
 */
export async function listTrustRules(call: Call, organization: string, page: PageQuery): Promise<Page<TrustRule>> {
  requireMayEdit(call, organization);
  if (organization !== '') await getOrganization(call.env, organization);
  const after = page.after && ruleSubject(organization, page.after);
  return listRules(call.env, organization, { after, limit: page.limit });
}

export async function getTrustRule(call: Call, subject: string): Promise<TrustRule> {
  requireMayEdit(call, organizationOf(subject));
  return getRule(call.env, subject);
}

/**
 * Creates a rule, or replaces the existing one.
 * @param ifVersion the version that the rule must have. 0 means that it must not exist; `null` means any version
 * @throws request-invalid if the rule is not safe; limit-reached, version-mismatch, not-found
 */
export async function putTrustRule(
  call: Call,
  subject: string,
  sent: NewTrustRule,
  ifVersion: number | null,
): Promise<{ rule: TrustRule; warnings: string[] }> {
  requireMayEdit(call, organizationOf(subject));
  const { statements, audience, description = '', ...rest } = valid(newTrustRule, sent);
  const wanted = {
    ...rest,
    subject,
    audience: audience ?? call.service,
    description,
    statements: statements.map(storedRuleStatement),
  };
  const rule = await putRule(call.env, wanted, { ifVersion, by: actorOf(call) });
  await reviewOwners(call, { people: [subject] });
  const warnings = [...pushWithoutPull(rule.statements, 'identity'), ...(await bareNames(call, rule.statements))];
  return { rule, warnings };
}

/** Deletes a rule. The logins that it allowed end at once. */
export async function deleteTrustRule(call: Call, subject: string, ifVersion: number | null): Promise<void> {
  requireMayEdit(call, organizationOf(subject));
  await removeRule(call.env, subject, { ifVersion, by: actorOf(call) });
  await reviewOwners(call, { people: [subject] });
}

function requireMayEdit(call: Call, organization: string): void {
  if (organization === '') requireAdministrator(call);
  else requireOwner(call, organization);
}

function storedRuleStatement({ actions, tags, when, ...rest }: NewTrustRule['statements'][number]): RuleStatement {
  return {
    ...rest,
    actions: actionsIn(actions),
    ...(tags ? { tags } : {}),
    ...(when ? { when } : {}),
  };
}
