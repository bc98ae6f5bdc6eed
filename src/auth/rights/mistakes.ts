/** Finds likely mistakes in statements. They are saved too, and the author gets a warning. Pure. */
import { EVERYONE, organizationOf } from '../../vocabulary/names.ts';
import { evaluate, type Sourced, type Statement } from '../statement.ts';

/** The maximum number of patterns or principals that are checked, and the maximum number of them that a warning lists. */
const LOOKED_AT_MAX = 100;
const SHOWN_MAX = 5;

/** The text that replaces a `*`, which turns a pattern into a name that it matches. */
const ANYTHING = 'any-other';

/**
 * Finds statements that allow push without pull. Clients such as docker request pull with every push, and check for existing
 * content before they send it. So they cannot push without the right to pull.
 * @param whose whose statements they are: `identity` for a user, team, robot or trust rule; `repository` for a repository,
 *   whose statements name principals; `key` for a key, whose owner's other rights do not help
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

/** Makes a statement of a repository apply to any repository, for the comparison. */
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
