/** What statements say that is allowed and hardly meant. Pure; whoever saves them is told, and they are saved all the same. */
import { EVERYONE, organizationOf } from '../names.ts';
import { evaluate, type Sourced, type Statement } from '../statement.ts';

/** Patterns and principals that are looked at: a few are enough to say what is wrong. */
const LOOKED_AT_MAX = 100;
const SHOWN_MAX = 5;

/** Stands for whatever a star stands for. */
const ANYTHING = 'any-other';

/**
 * docker and other clients ask for pull with every push, and look whether content is there before they send it: who may push and
 * not pull cannot use them.
 * @param whose `statements`: of an identity; `repository`: they name principals; `key`: of a key, which nothing else widens
 */
export function pushWithoutPull(statements: readonly Statement[], whose: 'identity' | 'repository' | 'key'): string[] {
  const pushing = statements.filter(({ effect, actions }) => effect === 'allow' && actions.includes('push'));
  const of = whose === 'repository' ? (one: Statement) => one.principals ?? [] : (one: Statement) => one.repositories;
  const sourced = statements.map((statement): Sourced => ({ from: 'own', statement: inOne(statement, whose) }));
  const missing = [...new Set(pushing.flatMap((one) => [...of(one)]))]
    .slice(0, LOOKED_AT_MAX)
    .filter((one) => !mayPull(sourced, one, whose));
  if (missing.length === 0) return [];
  const shown =
    missing.slice(0, SHOWN_MAX).join(', ') + (missing.length > SHOWN_MAX ? ` and ${missing.length - SHOWN_MAX} more` : '');
  const unless =
    whose === 'key'
      ? 'this key cannot be used with docker there'
      : 'unless something else allows the pull, docker cannot be used';
  return [
    `push is allowed without pull ${whose === 'repository' ? `to ${shown}` : `in ${shown}`}: docker needs both, and ${unless}`,
  ];
}

/** A repository's own statements are about that one. */
function inOne(statement: Statement, whose: string): Statement {
  return whose === 'repository' ? { ...statement, repositories: ['*'], principals: statement.principals ?? [] } : statement;
}

function mayPull(statements: readonly Sourced[], one: string, whose: string): boolean {
  const isPrincipal = whose === 'repository';
  const principals = isPrincipal
    ? [one, ...(one.startsWith('team:') ? [`organization:${organizationOf(one)}`] : []), EVERYONE]
    : [];
  const repository = isPrincipal ? ANYTHING : one.replaceAll('*', ANYTHING);
  return evaluate(statements, { action: 'pull', repository, tag: null, principals }).allowed;
}
