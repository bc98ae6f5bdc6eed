/** Finds likely mistakes in statements. They are saved all the same, and whoever saves them is warned. Pure. */
import { EVERYONE, organizationOf } from '../../vocabulary/names.ts';
import { evaluate, type Sourced, type Statement } from '../statement.ts';

/** Patterns and principals that are checked. */
const LOOKED_AT_MAX = 100;
const SHOWN_MAX = 5;

/** Replaces a `*` in a pattern by a name that it matches. */
const ANYTHING = 'any-other';

/**
 * Finds statements that allow push without pull. docker and other clients ask for pull with every push, and check for existing
 * content before they send it, so they cannot push with such a right.
 * @param whose `identity`: of a user, team, robot or trust rule; `repository`: with principals; `key`: of a key, which has no other
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

/** Makes a repository's statement apply to any repository, for the comparison. */
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
