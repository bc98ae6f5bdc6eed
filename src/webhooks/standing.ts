/**
 * Whether whoever answers for a webhook may still administer what it listens to. A webhook of somebody who left, was disabled or
 * lost the right is disabled, and an event tells the owners. The right is asked for again when it may have changed, and now and
 * then while the webhook is used.
 */
import { commit, type Database } from '../events/batch.ts';
import { aboutOf, isAboutRepository, REGISTRY, type RecordedEvent } from '../events/event.ts';
import { record } from '../events/outbox.ts';
import { type Row, type Subscription, subscriptionOf } from './subscriptions.ts';

export interface Question {
  /** `user:alice`, `robot:acme/ci`, `ci:acme/deploy`. */
  subject: string;
  /** The name of a repository, `organization:acme`, or empty for the registry itself. */
  about: string;
}

/** What other rooms know: whether each may administer that now. */
export type Standing = (questions: readonly Question[]) => Promise<boolean[]>;

/** Why a webhook is disabled whose owner has lost the right. */
export const LOST = 'owner-lost-access';

/** Subscriptions that one review looks at. */
const REVIEWED_MAX = 500;

/** Kinds of events after which somebody may have fewer rights. */
const ABOUT_RIGHTS = /^(?:user|organization|member|team|team-member|robot|policy|trust-rule)\./;

export function mayTakeRights({ type }: Pick<RecordedEvent, 'type'>): boolean {
  return ABOUT_RIGHTS.test(type);
}

/** Disables the webhooks of those who lost their right by one of these events. @returns their ids */
export async function reviewAfter(
  env: Database,
  events: readonly RecordedEvent[],
  standing: Standing,
): Promise<ReadonlySet<string>> {
  const changes = events.filter(mayTakeRights);
  if (changes.length === 0) return new Set();
  const people = changes.flatMap(({ target }) => [target.user, target.subject]).filter(isHolder);
  const repositories = changes.filter(({ about }) => isAboutRepository(about)).map(({ about }) => `repository:${about}`);
  // What a team may do, any of its members may have done: all webhooks of the organization's repositories are asked about.
  const teams = changes.flatMap(({ target }) => (typeof target.subject === 'string' ? teamsOf(target.subject) : []));
  return reviewOf(env, { people, repositories, organizations: teams }, standing);
}

/** Whose webhooks are asked about: of whom, of what, and of the repositories of which organizations (`repository:acme`). */
export interface Affected {
  people: string[];
  repositories?: string[];
  organizations?: string[];
}

/** One statement where nobody has lost anything. @returns the ids of those that were disabled */
export async function reviewOf(
  env: Database,
  { people, repositories = [], organizations = [] }: Affected,
  standing: Standing,
): Promise<ReadonlySet<string>> {
  const lists = [people, repositories, organizations].map((list) => JSON.stringify([...new Set(list)]));
  const { results } = await env.DB.prepare(
    `SELECT * FROM subscriptions WHERE id IN (
       SELECT s.id FROM json_each(?1) CROSS JOIN subscriptions s ON coalesce(s.responsible, s.created_by) = value
       UNION SELECT s.id FROM json_each(?2) CROSS JOIN subscriptions s ON s.scope = value
       UNION SELECT s.id FROM json_each(?3) CROSS JOIN subscriptions s ON s.scope >= value || '/' AND s.scope < value || '0')
     AND disabled IS NULL AND last_event IS NULL LIMIT ${REVIEWED_MAX}`,
  )
    .bind(...lists)
    .all<Row>();
  return review(env, results.map(subscriptionOf), standing);
}

function isHolder(value: unknown): value is string {
  return typeof value === 'string' && /^(?:user|robot|ci):/.test(value);
}

function teamsOf(subject: string): string[] {
  const organization = /^team:([^/]+)\//.exec(subject)?.[1];
  return organization === undefined ? [] : [`repository:${organization}`];
}

/** Disables those whose owner may not administer any more what they listen to. @returns their ids */
export async function review(
  env: Database,
  subscriptions: readonly Subscription[],
  standing: Standing,
): Promise<ReadonlySet<string>> {
  if (subscriptions.length === 0) return new Set();
  const holds = await standing(subscriptions.map(({ owner, scope }) => ({ subject: owner, about: aboutOf(scope) })));
  const lost = subscriptions.filter((_, n) => !holds[n]);
  if (lost.length > 0)
    await commit(
      env,
      lost.flatMap((subscription) => disable(env, subscription)),
    );
  return new Set(lost.map(({ id }) => id));
}

function disable(env: Database, { id, scope, owner }: Subscription): D1PreparedStatement[] {
  return [
    record(env, {
      about: aboutOf(scope),
      by: REGISTRY,
      select: `SELECT 'webhook.disabled' AS type, json_object('id', ?3, 'scope', ?4, 'reason', ?5, 'owner', ?6) AS target
        FROM subscriptions WHERE id = ?3 AND disabled IS NULL AND last_event IS NULL`,
      parameters: [id, scope, LOST, owner],
    }),
    env.DB.prepare('UPDATE subscriptions SET disabled = ?2, version = version + 1 WHERE id = ?1 AND disabled IS NULL').bind(
      id,
      LOST,
    ),
  ];
}

/** Milliseconds for which an isolate takes a webhook's owner to have the right without asking again. */
const TRUSTED_MS = 10 * 60 * 1000;
const TRUSTED_MAX = 5000;
const trusted = new Map<string, number>();

/**
 * Those of the subscriptions that were not asked about lately: for a right that went without an event that says so.
 * @param now milliseconds
 */
export function dueForReview(subscriptions: readonly Subscription[], now: number): Subscription[] {
  const due = subscriptions.filter(({ id, owner }) => (trusted.get(`${id} ${owner}`) ?? 0) <= now - TRUSTED_MS);
  if (trusted.size + due.length > TRUSTED_MAX) trusted.clear();
  for (const { id, owner } of due) trusted.set(`${id} ${owner}`, now);
  return due;
}
