/** Decides who may administer a repository, an organization or the registry: for requests, and for webhooks whose creator may have left. */
import { isAboutRepository, organizationAbout } from '../../events/event.ts';
import type { Authority } from '../authority.ts';
import { BOOTSTRAP, type Database } from '../directory.ts';
import { allows, isUnscopedUser } from '../policy.ts';
import { authoritiesOf, authorityOfRule } from './lookup.ts';

/** @param about a repository's name, `organization:acme`, or empty for the registry itself */
export function administers(authority: Authority, about: string): boolean {
  if (isAboutRepository(about)) return allows(authority, 'admin', about);
  return (
    isUnscopedUser(authority) &&
    (authority.administrator || (about !== '' && authority.owns.includes(organizationAbout(about))))
  );
}

/** Answers, for each question, whether the subject may administer this now, with a credential that is not narrowed. */
export async function mayAdminister(
  env: Database,
  questions: readonly { subject: string; about: string }[],
): Promise<boolean[]> {
  const subjects = [...new Set(questions.map(({ subject }) => subject))];
  const repositories = [...new Set(questions.map(({ about }) => about).filter(isAboutRepository))];
  const accounts = subjects.filter((subject) => !subject.startsWith('ci:'));
  const rules = subjects.filter((subject) => subject.startsWith('ci:'));
  const loaded = accounts.length > 0 ? await authoritiesOf(env, accounts, repositories) : [];
  const authorities = new Map(loaded.map((authority) => [authority.subject, authority]));
  const trusted = new Set<string>();
  for (const rule of rules) if (await ruleAdministers(env, rule)) trusted.add(rule);
  return questions.map(({ subject, about }) => {
    const authority = authorities.get(subject);
    // The bootstrap administrator has no row before the first use of the password.
    return authority ? administers(authority, about) : subject === BOOTSTRAP || trusted.has(subject);
  });
}

/** True if the trust rule allows some job to administer something. Which repository may depend on the job's claims. */
async function ruleAdministers(env: Database, rule: string): Promise<boolean> {
  const authority = await authorityOfRule(env, rule, {}, []);
  return (
    authority?.statements.some(({ statement: { effect, actions } }) => effect === 'allow' && actions.includes('admin')) ?? false
  );
}
