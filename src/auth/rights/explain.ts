/**
 * Explains whether a principal may do something, and why. It uses the same statements and the same policy engine as every
 * request, so an explanation cannot differ from the decision on a request.
 */

import type { Database } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { RepositoryAction } from '../../vocabulary/actions.ts';
import { EVERYONE, nameOf, namespaceOf, organizationOf } from '../../vocabulary/names.ts';
import type { Authority } from '../authority.ts';
import { READ_MAX_BYTES, readable } from '../directory.ts';
import { allows, explainDecision } from '../policy.ts';
import { type Decision, evaluate, type Sourced, type Statement } from '../statement.ts';
import { authorityOfGroup, authorityOfKey, authorityOfRule } from './lookup.ts';
import { shownPrincipal } from './policy-names.ts';
import { groupByName, knowsOf, type Seen, seen, seesGroup, statementsOfRepositories, type Viewer, viewerOf } from './viewer.ts';

interface Asked {
  principal: string;
  action: RepositoryAction;
  repository: string;
  tag: string | null;
  /** The claims of the CI job's token, if the principal is a trust rule. */
  claims: Record<string, string>;
}

interface Explained extends Decision {
  /** The explanation, as text for users. */
  reason: string;
  /** The principal, if it is a key whose own limit forbids the action; otherwise `null`. */
  limitedBy: string | null;
  /** True if the result may depend on something that the caller may not see. */
  partial: boolean;
}

/**
 * Explains what a principal may do. @param asker the caller. What the caller may not see is left out, and `partial` is then
 * true
 */
export async function explainFor(
  env: Database,
  { principal, action, repository, tag, claims }: Asked,
  asker: Authority,
): Promise<Explained> {
  const viewer = viewerOf(asker);
  const { authority, whole } = await seenPrincipal(env, viewer, { principal, repository, claims });
  if (!authority) {
    const reason = `${principal} does not exist, has ended, or is nobody whom you may ask about`;
    return {
      allowed: false,
      decidedBy: null,
      matched: [],
      limitedBy: null,
      partial: false,
      reason: viewer.administrator ? `${principal} does not exist, or has ended` : reason,
    };
  }
  const partial = !whole || namesHidden(viewer, principal, authority);
  const result = { ...decidedWithPush(authority, { principal, action, repository, tag }), partial };
  return partial ? { ...result, reason: `as far as you may know: ${result.reason}` } : result;
}

/**
 * Explains to callers what they may do themselves. Statements in the policy of a repository are shown only to callers who may
 * pull from it, because they reveal that the repository exists.
 */
export function explainOwn(authority: Authority, asked: Pick<Asked, 'action' | 'repository' | 'tag'>): Explained {
  const { key } = authority.credentialOrigin;
  const principal = key === undefined ? authority.subject : `key:${key}`;
  const found = { ...decidedWithPush(authority, { principal, ...asked }), partial: false };
  if (allows(authority, 'pull', asked.repository)) return found;
  const isOwn = ({ from }: Sourced) => !from.startsWith('repository:');
  const decidedBy = found.decidedBy && isOwn(found.decidedBy) ? found.decidedBy : null;
  const shown = { ...found, matched: found.matched.filter(isOwn), decidedBy };
  return decidedBy === found.decidedBy ? shown : { ...shown, reason: reasonOf(shown, null, asked.action) };
}

/** Returns the decision. Moving a tag (`retag`) also requires the right to push. */
function decidedWithPush(authority: Authority, asked: Omit<Asked, 'claims'>): Omit<Explained, 'partial'> {
  const found = decided(authority, asked);
  if (asked.action !== 'retag' || !found.allowed) return found;
  const push = decided(authority, { ...asked, action: 'push', tag: null });
  return push.allowed ? found : { ...push, reason: `moving a tag takes the right to push too: ${push.reason}` };
}

/**
 * Returns true if the policy of the repository names groups whose members the viewer may not see. `seen` leaves such groups out
 * of the authority.
 */
function namesHidden(viewer: Viewer, principal: string, { statements }: Authority): boolean {
  if (
    viewer.administrator ||
    principal === viewer.subject ||
    principal === EVERYONE ||
    /^(?:team|organization|key|ci):/.test(principal)
  ) {
    return false;
  }
  const named = statements.flatMap(({ statement }) => statement.principals ?? []);
  return named.some((one) => /^(?:team|organization):/.test(one) && !seesGroup(viewer, one));
}

function decided(
  authority: Authority,
  { principal, action, repository, tag }: Omit<Asked, 'claims'>,
): Omit<Explained, 'partial'> {
  const { limited, ...decision } = explainDecision(authority, action, repository, tag);
  const limitedBy = decision.decidedBy?.statement.effect === 'allow' && limited ? principal : null;
  return { ...decision, limitedBy, reason: reasonOf(decision, limitedBy, action) };
}

interface Subject {
  principal: string;
  repository: string;
  claims: Record<string, string>;
}

type SeenPrincipal = { authority: Authority; whole: boolean } | { authority: null; whole: true };
const NOBODY: SeenPrincipal = { authority: null, whole: true };

/** Returns the principal as far as the viewer may see it, with the statements of the repository. */
async function seenPrincipal(
  env: Database,
  viewer: Viewer,
  { principal, repository, claims }: Subject,
): Promise<SeenPrincipal> {
  const kind = principal.slice(0, Math.max(0, principal.indexOf(':')));
  if (kind === 'key') return seenKey(env, viewer, nameOf(principal), repository);
  if (kind === 'ci') {
    const organization = organizationOf(principal);
    const mayAsk = viewer.administrator || viewer.owns.includes(organization);
    const authority = await authorityOfRule(env, principal, claims, [repository]);
    return authority && mayAsk ? { authority, whole: true } : NOBODY;
  }
  const [statements, found] = await Promise.all([
    statementsOfRepositories(env, [repository]),
    kind === 'user' || kind === 'robot'
      ? seen(env, viewer, [principal], [repository]).then((all) => all[0])
      : seenGroup(env, viewer, principal),
  ]);
  const own = statements.get(repository) ?? [];
  if (!found) return NOBODY;
  const { authority, whole } = found;
  return { authority: { ...authority, statements: [...authority.statements, ...own] }, whole };
}

/**
 * Returns the authority of a key. It is visible to the owner of the key, to a caller who uses the key, to administrators, and
 * to the owners of the organization if the key belongs to a robot.
 */
async function seenKey(env: Database, viewer: Viewer, id: string, repository: string): Promise<SeenPrincipal> {
  const authority = await authorityOfKey(env, id, [repository]);
  if (!authority) return NOBODY;
  const owner = authority.subject;
  const isTheirs = owner === viewer.subject || viewer.key === id || viewer.administrator;
  const isRobotOfTheirs = owner.startsWith('robot:') && viewer.owns.includes(organizationOf(owner));
  return isTheirs || isRobotOfTheirs ? { authority, whole: true } : NOBODY;
}

/**
 * Returns a group as far as the viewer may see it. The policy of a team is visible to the owners of its organization. An
 * organization has no policy, so its name suffices.
 */
async function seenGroup(env: Database, viewer: Viewer, group: string): Promise<Seen> {
  const byName = groupByName(group, knowsOf(viewer, group));
  if (!group.startsWith('team:')) return { authority: byName, whole: true };
  if (!viewer.administrator && !viewer.owns.includes(organizationOf(group))) return { authority: byName, whole: false };
  const { statements } = await authorityOfGroup(env, group, []);
  return { authority: { ...byName, statements }, whole: true };
}

function reasonOf({ decidedBy, allowed }: Decision, limitedBy: string | null, action: RepositoryAction): string {
  if (limitedBy) return `its owner may, but ${limitedBy} is narrowed and does not allow it`;
  if (decidedBy?.unread)
    return `denied, because the policy of ${decidedBy.from} is larger than one request reads: make it smaller`;
  if (!decidedBy) return `nothing allows it: the right to ${action} is missing`;
  return allowed ? `allowed by ${decidedBy.from}` : `denied by ${decidedBy.from}: a statement that denies wins`;
}

/** The maximum number of owners of the namespace in an answer. */
const OWNERS_MAX = 100;

/**
 * Lists who can grant rights in a repository: administrators, the owners of the namespace, and the principals that may
 * administer the repository by its policy or by those of the organization's teams. The list contains the names that the caller
 * may see, and roles in place of the other names. It may be incomplete, because one request reads only a limited number of
 * rows.
 */
export async function whoCanGrant(env: Database, repository: string, asker: Authority): Promise<string[]> {
  const viewer = viewerOf(asker);
  const seesPolicy = allows(asker, 'admin', repository);
  const namespace = namespaceOf(repository);
  const { results } = await prepare(
    env,
    `SELECT 'administrator' AS kind, subject, NULL AS statements FROM accounts WHERE administrator = 1 AND disabled = 0
     UNION ALL SELECT * FROM (SELECT 'owner', subject, NULL FROM members JOIN accounts ON subject = user
       WHERE organization = :namespace AND role = 'owner' AND disabled = 0 LIMIT ${OWNERS_MAX})
     UNION ALL SELECT 'owner', subject, NULL FROM accounts WHERE subject = 'user:' || :namespace AND disabled = 0
     UNION ALL SELECT 'team', subject, statements FROM (
       SELECT subject, statements, sum(octet_length(statements)) OVER (ORDER BY subject) AS total FROM policies
       WHERE subject >= 'team:' || :namespace || '/' AND subject < 'team:' || :namespace || '0'
         AND instr(statements, '"admin"') > 0)
       WHERE total <= ${READ_MAX_BYTES}
     UNION ALL SELECT 'repository', subject, ${readable('statements')} FROM policies
       WHERE subject = 'repository:' || :repository`,
    { namespace, repository },
  ).all<{ kind: 'administrator' | 'owner' | 'team' | 'repository'; subject: string; statements: string | null }>();
  const seesNamespace = viewer.administrator || viewer.belongsTo.includes(namespace);
  const roles = viewer.administrator
    ? []
    : ['administrator', ...(seesNamespace || namespace === '' ? [] : [`owner of ${namespace}`])];
  const named = results.flatMap(({ kind, subject, statements }) => {
    const isShown =
      (kind === 'repository' && seesPolicy) ||
      subject === viewer.subject ||
      (kind === 'administrator' ? viewer.administrator : seesNamespace);
    if (!isShown) return [];
    return statements === null
      ? isPerson(kind)
        ? [subject]
        : []
      : administrating(subject, JSON.parse(statements) as Statement[], repository);
  });
  return [...new Set([...named, ...roles])].sort();
}

function isPerson(kind: string): boolean {
  return kind === 'administrator' || kind === 'owner';
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
