/**
 * The webhooks of repositories in the trash. They are in a table of their own, so they receive no events. Their secrets are
 * derived from their ids, and their endpoints stay encrypted.
 */
import type { Batch, Handle, Results } from '../events/batch.ts';
import { type Actor, aboutOf } from '../events/event.ts';
import { NEWEST, recordEvent } from '../events/outbox.ts';
import { ownerOf, type Scope } from './filter.ts';
import { COUNT_OF_OWNER, SUBSCRIPTIONS_OF_OWNER_MAX } from './rules.ts';
import { endSubscriptions } from './subscriptions.ts';

/** The columns of a webhook that are kept in the trash. */
const KEPT = `id, scope, description, endpoint, filter, format, origin, generation, previous_until, created_at, created_by,
  responsible`;

/**
 * Adds statements to the batch that copy the webhooks of a scope to the trash and end them. @param entry the id of the
 * repository's trash entry @returns a handle of the ids of the webhooks
 */
export function trashSubscriptions(batch: Batch, scope: Scope, entry: number): Handle<{ id: string }> {
  const kept = batch.query<{ id: string }>(
    `INSERT INTO trashed_subscriptions (repository_id, version, disabled, ${KEPT})
     SELECT :entry, version, disabled, ${KEPT} FROM subscriptions WHERE scope = :scope AND last_event IS NULL
     RETURNING id`,
    { scope, entry },
  );
  endSubscriptions(batch, scope);
  return kept;
}

/** The value of `disabled` for a restored webhook, unless the webhook was disabled before. */
const RESTORED = 'restored';

export interface RestoredWebhooks {
  /** The ids of the restored webhooks. */
  restored: string[];
  /** The number of webhooks that are lost, because they would exceed the limit of the owner. */
  notRestored: number;
}

/**
 * Adds statements to the batch that restore the webhooks of a repository. All of them are disabled, because their receivers may
 * be gone or belong to somebody else by now. They receive only later events. Webhooks that would exceed the owner's limit are
 * left out.
 * @returns a function that reads the outcome from the results of the batch
 */
export function restoreSubscriptions(
  batch: Batch,
  scope: Scope,
  entry: number,
  by: Actor,
): (results: Results) => RestoredWebhooks {
  const owner = ownerOf(scope);
  const room = owner === '' ? '-1' : `max(0, ${SUBSCRIPTIONS_OF_OWNER_MAX} - ${COUNT_OF_OWNER})`;
  const chosen = `SELECT * FROM trashed_subscriptions WHERE repository_id = :entry ORDER BY id LIMIT ${room}`;
  const parameters = { scope, entry, owner };
  recordEvent(batch, {
    about: aboutOf(scope),
    by,
    select: `SELECT 'webhook.disabled' AS type, json_object('id', id, 'scope', :scope, 'reason', '${RESTORED}') AS target
      FROM (${chosen}) WHERE disabled IS NULL`,
    parameters,
  });
  // The row of an ended webhook exists until its last delivery is done. In that case the row is updated instead of inserted.
  const restored = batch.query<{ id: string }>(
    `INSERT INTO subscriptions (first_event, version, disabled, ${KEPT})
     SELECT ${NEWEST}, version + 1, coalesce(disabled, '${RESTORED}'), ${KEPT} FROM (${chosen}) WHERE TRUE
     ON CONFLICT DO UPDATE SET first_event = excluded.first_event, last_event = NULL, version = excluded.version,
       disabled = excluded.disabled, failures = 0, open_until = 0, description = excluded.description,
       endpoint = excluded.endpoint, filter = excluded.filter, format = excluded.format, origin = excluded.origin,
       generation = excluded.generation, previous_until = excluded.previous_until, responsible = excluded.responsible
     RETURNING id`,
    parameters,
  );
  const left = batch.query<{ count: number }>(
    `SELECT count(*) AS count FROM trashed_subscriptions t WHERE repository_id = :entry
       AND NOT EXISTS (SELECT 1 FROM subscriptions s WHERE s.id = t.id AND s.last_event IS NULL)`,
    { entry },
  );
  deleteTrashedSubscriptions(batch, entry);
  return (results) => ({
    restored: results.of(restored).map(({ id }) => id),
    notRestored: results.first(left)?.count ?? 0,
  });
}

/** Adds a statement to the batch that deletes the webhooks of a repository that is removed from the trash. */
export function deleteTrashedSubscriptions(batch: Batch, entry: number): void {
  batch.run('DELETE FROM trashed_subscriptions WHERE repository_id = :entry', { entry });
}
