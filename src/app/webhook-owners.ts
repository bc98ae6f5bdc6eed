/**
 * Checks that the owners of webhooks may still administer the scopes of their webhooks. Operations that can take a right from a
 * user run this check before they respond. After a change of a policy, the check runs about a second later, when the event of
 * the change is matched.
 */
import { mayAdminister } from '../auth/rights/lookup.ts';
import type { Database } from '../events/batch.ts';
import { report } from '../telemetry.ts';
import { type Affected, reviewOf, type Standing } from '../webhooks/standing.ts';
import type { Call } from './call.ts';

export function standingIn(env: Database): Standing {
  return (questions) => mayAdminister(env, questions);
}

/**
 * Disables webhooks whose owners have lost the right to administer the scope. Takes one statement if the owners have no
 * webhooks. A failure is only logged, because the owners are checked again when the event of this change is matched with
 * webhooks.
 */
export async function reviewOwners({ env }: Pick<Call, 'env'>, affected: Affected): Promise<void> {
  try {
    await reviewOf(env, affected, standingIn(env));
  } catch (error) {
    report('webhooks.review-failed', { error });
  }
}
