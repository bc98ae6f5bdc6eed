/**
 * Checks that the owner of a webhook may still administer its scope. If the owner left, was disabled or lost the right, the
 * webhook is disabled, and an event records this. The check is made after events that can take away the right, and from time to
 * time while the webhook is used.
 */
import { type Batch, type Database, newBatch } from '../events/batch.ts';
import { aboutOf, isAboutRepository, REGISTRY, type RecordedEvent } from '../events/event.ts';
import { recordEvent } from '../events/outbox.ts';
import { prepare } from '../events/sql.ts';
import { type Subscription, type SubscriptionRow, subscriptionOf } from './subscriptions.ts';

interface Question {
  /** The subject whose right is checked, for example `user:alice`, `robot:acme/ci` or `ci:acme/deploy`. */
  subject: string;
  /** What the right is about: the name of a repository, `organization:acme`, or the empty string for the registry itself. */
  about: string;
}

/** Returns, for each question, whether the subject has the right to administer now. `app/` implements this function. */
export type Standing = (questions: readonly Question[]) => Promise<boolean[]>;

/** The value of `disabled` for a webhook whose owner has lost the right. */
const LOST = 'owner-lost-access';

/** The maximum number of webhooks that one review checks. */
const REVIEWED_MAX = 500;

/** Matches the types of events that can take away rights. */
const ABOUT_RIGHTS = /^(?:user|organization|member|team|team-member|robot|policy|trust-rule)\./;

function mayTakeRights({ type }: Pick<RecordedEvent, 'type'>): boolean {
  return ABOUT_RIGHTS.test(type);
}

/**
 * Disables the webhooks whose owners lost their right because of one of the events. @returns the ids of the disabled webhooks
 */
export async function reviewAfter(
  env: Database,
  events: readonly RecordedEvent[],
  standing: Standing,
): Promise<ReadonlySet<string>> {
  const changes = events.filter(mayTakeRights);
  if (changes.length === 0) return new Set();
  const people = changes.flatMap(({ target }) => [target.user, target.subject]).filter(isHolder);
  const repositories = changes.filter(({ about }) => isAboutRepository(about)).map(({ about }) => `repository:${about}`);
  // A team gives its rights to all its members. So after a change of a team, all webhooks of the organization's repositories
  // are checked.
  const teams = changes.flatMap(({ target }) => (typeof target.subject === 'string' ? teamsOf(target.subject) : []));
  return reviewOf(env, { people, repositories, organizations: teams }, standing);
}

/**
 * Selects webhooks to check: by owner (`people`), by scope (`repositories`), or by the organization of the repository
 * (`organizations`, each in the form `repository:acme`).
 */
export interface Affected {
  people: string[];
  repositories?: string[];
  organizations?: string[];
}

/** Checks the selected webhooks. Takes one statement if there are none. @returns the ids of the disabled webhooks */
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

/** Disables the webhooks whose owners may not administer the scope any more. @returns the ids of the disabled webhooks */
async function review(env: Database, subscriptions: readonly Subscription[], standing: Standing): Promise<ReadonlySet<string>> {
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

/**
 * Adds statements to the batch that disable a webhook and record an event with the reason. They change nothing if the webhook
 * is disabled or has ended already.
 */
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

/** The number of milliseconds after a check during which an isolate does not check the owner of the webhook again. */
const TRUSTED_MS = 10 * 60 * 1000;
/** The maximum number of checks in the memory of an isolate. */
const TRUSTED_MAX = 5000;
/** The time of the last check, in milliseconds since the epoch, by the id of the webhook and its owner. */
const trusted = new Map<string, number>();

/**
 * Checks the webhooks whose owners this isolate has not checked for ten minutes. This is needed because some rights end without
 * an event.
 * @param now milliseconds since the epoch
 * @returns the ids of the disabled webhooks
 */
export async function reviewDue(
  env: Database,
  subscriptions: readonly Subscription[],
  standing: Standing,
  now: number,
): Promise<ReadonlySet<string>> {
  const due = subscriptions.filter(({ id, owner }) => (trusted.get(`${id} ${owner}`) ?? 0) <= now - TRUSTED_MS);
  const lost = await review(env, due, standing);
  if (trusted.size + due.length > TRUSTED_MAX) trusted.clear();
  for (const { id, owner } of due) trusted.set(`${id} ${owner}`, now);
  return lost;
}
