/** Converts policy statements between the form in the management API and the stored form. */
import { shownPrincipal } from '../auth/rights/policy-names.ts';
import type { Statement } from '../auth/statement.ts';
import type { ShownStatement } from '../contract/answers/statements.ts';
import { actionsIn, type SentStatement } from '../contract/statements.ts';

/**
 * Returns the stored form of a statement. For a repository's policy, it names no repository; the policy engine adds the
 * repository when it reads the policy.
 */
export function storedStatement(sent: SentStatement): Statement {
  const { effect, actions, tags } = sent;
  return {
    effect,
    actions: actionsIn(actions),
    repositories: 'repositories' in sent ? sent.repositories : [],
    ...('principals' in sent ? { principals: sent.principals } : {}),
    ...('except' in sent && sent.except ? { except: sent.except } : {}),
    ...(tags ? { tags } : {}),
    ...('conditions' in sent && sent.conditions ? { conditions: sent.conditions } : {}),
  };
}

/**
 * Returns a stored statement in the form of the management API. The principals are as they were sent; the stored form marks
 * those that did not exist when the statement was saved.
 */
export function shownStatement(statement: Statement): ShownStatement {
  const { effect, actions, repositories, principals, except, tags, conditions } = statement;
  return {
    effect,
    actions: [...actions],
    ...(repositories.length > 0 ? { repositories: [...repositories] } : {}),
    ...(principals ? { principals: principals.map(shownPrincipal) } : {}),
    ...(except ? { except: except.map(shownPrincipal) } : {}),
    ...(tags ? { tags: [...tags] } : {}),
    ...(conditions ? { conditions: conditions.map((one) => ({ ...one, values: [...one.values] })) } : {}),
  };
}
