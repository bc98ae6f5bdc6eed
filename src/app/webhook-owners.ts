/**
 * Whether the owners of webhooks may still administer what the webhooks listen to. Operations that may take a right from
 * somebody ask before they answer; after changes of policies it is asked when the event is matched, a second later.
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
 * Disables webhooks whose owners have lost the right to administer their scope. One statement if nobody has. A failure is only
 * logged: matching the event of the change reviews the owners again.
 */
export async function reviewOwners({ env }: Pick<Call, 'env'>, affected: Affected): Promise<void> {
  try {
    await reviewOf(env, affected, standingIn(env));
  } catch (error) {
    report('webhooks.review-failed', { error });
  }
}
