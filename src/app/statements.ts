/** Policy statements between the form in which people send and read them and the form that is stored. */
import { shownPrincipal } from '../auth/rights/policy-names.ts';
import type { Statement } from '../auth/statement.ts';
import { actionsIn, type SentStatement, type ShownStatement } from '../contract/statements.ts';

/** A statement of a repository names no repository here: the policy engine adds the one it belongs to. */
export function storedStatement(sent: SentStatement): Statement {
  const { effect, actions, tags } = sent;
  return {
    effect,
    actions: actionsIn(actions),
    repositories: 'repositories' in sent ? sent.repositories : [],
    ...('principals' in sent ? { principals: sent.principals } : {}),
    ...(tags ? { tags } : {}),
  };
}

/** Principals appear as they were sent: without the mark of a name that nobody had when the statement was saved. */
export function shownStatement({ effect, actions, repositories, principals, tags }: Statement): ShownStatement {
  return {
    effect,
    actions: [...actions],
    ...(repositories.length > 0 ? { repositories: [...repositories] } : {}),
    ...(principals ? { principals: principals.map(shownPrincipal) } : {}),
    ...(tags ? { tags: [...tags] } : {}),
  };
}
