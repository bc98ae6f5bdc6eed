/** Converts policy statements between the form in the API and the stored form. */
import { shownPrincipal } from '../auth/rights/policy-names.ts';
import type { Statement } from '../auth/statement.ts';
import type { ShownStatement } from '../contract/answers/statements.ts';
import { actionsIn, type SentStatement } from '../contract/statements.ts';

/** A stored statement of a repository's policy names no repository. The policy engine adds the repository when it reads it. */
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

/** Returns the principals as they were sent. The stored form marks names that did not exist when the statement was saved. */
export function shownStatement({ effect, actions, repositories, principals, tags }: Statement): ShownStatement {
  return {
    effect,
    actions: [...actions],
    ...(repositories.length > 0 ? { repositories: [...repositories] } : {}),
    ...(principals ? { principals: principals.map(shownPrincipal) } : {}),
    ...(tags ? { tags: [...tags] } : {}),
  };
}
