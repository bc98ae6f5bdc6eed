/**
 * Questions about others: may they, and why. Asked of the same statements and the same engine as every
 * request, so that an explanation cannot differ from what happens.
 */
import type { Authority } from './authority.ts';
import { type Database, READ_MAX_BYTES } from './directory.ts';
import { authoritiesOf, authorityOfGroup, authorityOfKey, authorityOfRule } from './lookup.ts';
import { nameOf, namespaceOf, organizationOf } from './names.ts';
import { explain } from './policy.ts';
import { shownPrincipal } from './policy-names.ts';
import { type Decision, evaluate, type RepositoryAction, type Sourced, type Statement } from './statement.ts';

export interface Asked {
  principal: string;
  action: RepositoryAction;
  repository: string;
  tag: string | null;
  /** Of a trust rule's token. */
  claims: Record<string, string>;
}

export interface Explained extends Decision {
  /** In words. */
  reason: string;
  /** The key whose own statements do not allow it. */
  limitedBy: string | null;
}

export async function explainFor(env: Database, { principal, action, repository, tag, claims }: Asked): Promise<Explained> {
  const authority = await authorityOfPrincipal(env, principal, repository, claims);
  if (!authority) {
    return { allowed: false, decidedBy: null, matched: [], limitedBy: null, reason: `${principal} is not there, or has ended` };
  }
  const found = decided(authority, { principal, action, repository, tag });
  if (action !== 'retag' || !found.allowed) return found;
  // A tag is moved by pushing to it.
  const push = decided(authority, { principal, action: 'push', repository, tag: null });
  return push.allowed ? found : { ...push, reason: `to move a tag takes the right to push as well: ${push.reason}` };
}

function decided(authority: Authority, { principal, action, repository, tag }: Omit<Asked, 'claims'>): Explained {
  const { limited, ...decision } = explain(authority, action, repository, tag);
  const limitedBy = decision.decidedBy?.statement.effect === 'allow' && limited ? principal : null;
  return { ...decision, limitedBy, reason: reasonOf(decision, limitedBy, action) };
}

async function authorityOfPrincipal(
  env: Database,
  principal: string,
  repository: string,
  claims: Record<string, string>,
): Promise<Authority | null> {
  const kind = principal.slice(0, Math.max(0, principal.indexOf(':')));
  if (kind === 'user' || kind === 'robot') return (await authoritiesOf(env, [principal], [repository]))[0] ?? null;
  if (kind === 'key') return authorityOfKey(env, nameOf(principal), [repository]);
  if (kind === 'ci') return authorityOfRule(env, principal, claims, [repository]);
  const group = await authorityOfGroup(env, principal, [repository]);
  // Whoever is in a team is in its organization.
  return kind === 'team' ? { ...group, principals: [...group.principals, `organization:${organizationOf(principal)}`] } : group;
}

function reasonOf({ decidedBy, allowed }: Decision, limitedBy: string | null, action: RepositoryAction): string {
  if (limitedBy) return `whoever holds it may, but ${limitedBy} is narrowed and does not reach that far`;
  if (decidedBy?.unread) return `denied, as what hangs on ${decidedBy.from} is larger than one request reads: make it smaller`;
  if (!decidedBy) return `nothing allows it: the right to ${action} is missing`;
  return allowed ? `allowed by ${decidedBy.from}` : `denied by ${decidedBy.from}, and a statement that denies wins`;
}

/** Owners that are named. */
const OWNERS_MAX = 100;

/**
 * As far as one request reads: administrators, owners of the namespace, and whom statements of the repository or of its organization's teams let administer.
 */
export async function whoCanGrant(env: Database, repository: string): Promise<string[]> {
  const namespace = namespaceOf(repository);
  const { results } = await env.DB.prepare(
    `SELECT subject, NULL AS statements FROM accounts WHERE administrator = 1 AND disabled = 0
     UNION ALL SELECT * FROM (SELECT subject, NULL FROM members JOIN accounts ON subject = user
       WHERE organization = ?1 AND role = 'owner' AND disabled = 0 LIMIT ${OWNERS_MAX})
     UNION ALL SELECT subject, NULL FROM accounts WHERE subject = 'user:' || ?1 AND disabled = 0
     UNION ALL SELECT subject, statements FROM (
       SELECT subject, statements, sum(octet_length(statements)) OVER (ORDER BY subject) AS total FROM policies
       WHERE subject >= 'team:' || ?1 || '/' AND subject < 'team:' || ?1 || '0' AND instr(statements, '"admin"') > 0)
       WHERE total <= ${READ_MAX_BYTES}
     UNION ALL SELECT subject, statements FROM policies
       WHERE subject = 'repository:' || ?2 AND octet_length(statements) <= ${READ_MAX_BYTES}`,
  )
    .bind(namespace, repository)
    .all<{ subject: string; statements: string | null }>();
  const granting = results.flatMap(({ subject, statements }) =>
    statements === null ? [subject] : administrating(subject, JSON.parse(statements) as Statement[], repository),
  );
  return [...new Set(granting)].sort();
}

function administrating(subject: string, statements: readonly Statement[], repository: string): string[] {
  if (!subject.startsWith('repository:')) {
    const question = { action: 'admin', repository, tag: null, principals: [] } as const;
    const own = statements.map((statement): Sourced => ({ from: subject, statement }));
    return evaluate(own, question).allowed ? [subject] : [];
  }
  const allowing = statements.filter(({ effect, actions }) => effect === 'allow' && actions.includes('admin'));
  return allowing.flatMap(({ principals }) => principals?.map(shownPrincipal) ?? []);
}
