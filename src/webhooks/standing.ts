/**
 * Reviews whether the owner of a webhook may still administer its scope. If the owner left, was disabled or lost the right, the
 * webhook is disabled, and an event says so. The right is checked after events that may take it away, and from time to time
 * while the webhook is used.
 */
import { type Batch, type Database, newBatch } from '../events/batch.ts';
import { aboutOf, isAboutRepository, REGISTRY, type RecordedEvent } from '../events/event.ts';
import { recordEvent } from '../events/outbox.ts';
import { prepare } from '../events/sql.ts';
import { type Subscription, type SubscriptionRow, subscriptionOf } from './subscriptions.ts';

interface Question {
  /** `user:alice`, `robot:acme/ci`, `ci:acme/deploy`. */
  subject: string;
  /** The name of a repository, `organization:acme`, or empty for the registry itself. */
  about: string;
}

/** Says for each question whether the subject may administer that now. Other modules implement it. */
export type Standing = (questions: readonly Question[]) => Promise<boolean[]>;

/** The value of `disabled` of a webhook whose owner lost the right. */
const LOST = 'owner-lost-access';

/** Subscriptions that one review looks at. */
const REVIEWED_MAX = 500;

/** Types of events after which somebody may have fewer rights. */
const ABOUT_RIGHTS = /^(?:user|organization|member|team|team-member|robot|policy|trust-rule)\./;

function mayTakeRights({ type }: Pick<RecordedEvent, 'type'>): boolean {
  return ABOUT_RIGHTS.test(type);
}

/** Disables the webhooks whose owners lost their right by one of these events. @returns the ids of the webhooks */
export async function reviewAfter(
  env: Database,
  events: readonly RecordedEvent[],
  standing: Standing,
): Promise<ReadonlySet<string>> {
  const changes = events.filter(mayTakeRights);
  if (changes.length === 0) return new Set();
  const people = changes.flatMap(({ target }) => [target.user, target.subject]).filter(isHolder);
  const repositories = changes.filter(({ about }) => isAboutRepository(about)).map(({ about }) => `repository:${about}`);
  // Any member may have used the rights of a team, so all webhooks of the organization's repositories are reviewed.
  const teams = changes.flatMap(({ target }) => (typeof target.subject === 'string' ? teamsOf(target.subject) : []));
  return reviewOf(env, { people, repositories, organizations: teams }, standing);
}

/** Selects webhooks by owner, by scope, or by the organization of the repository (`repository:acme`). */
export interface Affected {
  people: string[];
  repositories?: string[];
  organizations?: string[];
}

/** Costs one statement if nobody lost a right. @returns the ids of the webhooks that were disabled */
export async function reviewOf(
  env: Database,
  { people, repositories = [], organizations = [] }: Affected,
  standing: Standing,
): Promise<ReadonlySet<string>> {
  const { results } = await prepare(
    env,
    `SELECT * FROM subscriptions WHERE id IN (
       SELECT s.id FROM json_each(:people) CROSS JOIN subscriptions s ON coalesce(s.responsible, s.created_by) = value
       UNION SELECT s.id FROM json_each(:repositories) CROSS JOIN subscriptions s ON s.scope = value
       UNION SELECT s.id FROM json_each(:organizations) CROSS JOIN subscriptions s ON s.scope >= value || '/'
         AND s.scope < value || '0')
     AND disabled IS NULL AND last_event IS NULL LIMIT ${REVIEWED_MAX}`,
    {
      people: [...new Set(people)],
      repositories: [...new Set(repositories)],
      organizations: [...new Set(organizations)],
    },
  ).all<SubscriptionRow>();
  return review(env, results.map(subscriptionOf), standing);
}

function isHolder(value: unknown): value is string {
  return typeof value === 'string' && /^(?:user|robot|ci):/.test(value);
}

function teamsOf(subject: string): string[] {
  const organization = /^team:([^/]+)\//.exec(subject)?.[1];
  return organization === undefined ? [] : [`repository:${organization}`];
}

/** Disables the webhooks whose owner may not administer their scope any more. @returns their ids */
export async function review(
  env: Database,
  subscriptions: readonly Subscription[],
  standing: Standing,
): Promise<ReadonlySet<string>> {
  if (subscriptions.length === 0) return new Set();
  const holds = await standing(subscriptions.map(({ owner, scope }) => ({ subject: owner, about: aboutOf(scope) })));
  const lost = subscriptions.filter((_, n) => !holds[n]);
  if (lost.length > 0) {
    const batch = newBatch(env);
    for (const subscription of lost) disableSubscription(batch, subscription, { reason: LOST, owner: subscription.owner });
    await batch.commit();
  }
  return new Set(lost.map(({ id }) => id));
}

/** Disables a webhook and records why, unless it is disabled or ended already. */
export function disableSubscription(
  batch: Batch,
  { id, scope }: Pick<Subscription, 'id' | 'scope'>,
  { reason, owner }: { reason: string; owner?: string },
): void {
  recordEvent(batch, {
    about: aboutOf(scope),
    by: REGISTRY,
    select: `SELECT 'webhook.disabled' AS type,
        json_patch(json_object('id', :id, 'scope', :scope, 'reason', :reason), json_object('owner', :owner)) AS target
      FROM subscriptions WHERE id = :id AND disabled IS NULL AND last_event IS NULL`,
    parameters: { id, scope, reason, owner: owner ?? null },
  });
  batch.run('UPDATE subscriptions SET disabled = :reason, version = version + 1 WHERE id = :id AND disabled IS NULL', {
    id,
    reason,
  });
}

/** Milliseconds for which an isolate does not check the right of a webhook's owner again. */
const TRUSTED_MS = 10 * 60 * 1000;
const TRUSTED_MAX = 5000;
const trusted = new Map<string, number>();

/**
 * The subscriptions whose owners were not checked lately: a right can be lost without an event that says so.
 * @param now milliseconds
 */
export function dueForReview(subscriptions: readonly Subscription[], now: number): Subscription[] {
  const due = subscriptions.filter(({ id, owner }) => (trusted.get(`${id} ${owner}`) ?? 0) <= now - TRUSTED_MS);
  if (trusted.size + due.length > TRUSTED_MAX) trusted.clear();
  for (const { id, owner } of due) trusted.set(`${id} ${owner}`, now);
  return due;
}
