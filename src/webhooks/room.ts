/** How many webhooks there may be. */
import { type Database, refuseUnless } from '../events/batch.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import type { Scope } from './filter.ts';
import { ownerOf } from './owner-days.ts';

/** Of one scope: each event is matched with all of them. And of an organization or a user with all repositories. */
const SUBSCRIPTIONS_MAX = 50;
const SUBSCRIPTIONS_OF_OWNER_MAX = 200;

/** For the batch that makes a webhook: refuses it where there is no room. */
export function requireRoom(env: Database, id: string, scope: Scope): D1PreparedStatement[] {
  return [refuseUnless(env, ROOM, id, scope), refuseUnless(env, ROOM_OF_OWNER, id, ownerOf(scope))];
}

/** Why a webhook was not made: there is no room, or nothing that it could listen to. */
export async function refusalWithoutRoom(env: Database, scope: Scope): Promise<Refusal> {
  const here = await env.DB.prepare('SELECT count(*) AS count FROM subscriptions WHERE scope = ?1 AND last_event IS NULL')
    .bind(scope)
    .first<number>('count');
  if ((here ?? 0) >= SUBSCRIPTIONS_MAX) return limitReached(`there may be ${SUBSCRIPTIONS_MAX} webhooks here`);
  const owner = ownerOf(scope);
  const count = await env.DB.prepare(`SELECT ${COUNT_OF_OWNER} AS count`).bind(null, owner).first<number>('count');
  if (owner !== '' && (count ?? 0) >= SUBSCRIPTIONS_OF_OWNER_MAX) {
    return limitReached(
      `${owner} has ${SUBSCRIPTIONS_OF_OWNER_MAX} webhooks, with those of its repositories, and may have no more: one of the organization hears of all its repositories`,
    );
  }
  return new Refusal(scope.startsWith('repository:') ? 'repository-unknown' : 'not-found');
}

/** Subscription ?1 is there, or there is room for it in scope ?2. */
const ROOM = `EXISTS (SELECT 1 FROM subscriptions WHERE id = ?1 AND last_event IS NULL)
  OR (SELECT count(*) FROM subscriptions WHERE scope = ?2 AND last_event IS NULL) < ${SUBSCRIPTIONS_MAX}`;

/** Those of owner ?2. */
const COUNT_OF_OWNER = `((SELECT count(*) FROM subscriptions WHERE scope = 'organization:' || ?2 AND last_event IS NULL)
  + (SELECT count(*) FROM subscriptions
      WHERE scope >= 'repository:' || ?2 || '/' AND scope < 'repository:' || ?2 || '0' AND last_event IS NULL))`;

/** Subscription ?1 is there, or owner ?2 has room for it. */
const ROOM_OF_OWNER = `?2 = '' OR EXISTS (SELECT 1 FROM subscriptions WHERE id = ?1 AND last_event IS NULL)
  OR ${COUNT_OF_OWNER} < ${SUBSCRIPTIONS_OF_OWNER_MAX}`;

function limitReached(message: string): Refusal {
  return new Refusal('limit-reached', { message });
}
