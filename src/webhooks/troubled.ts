/** Finds webhooks that send nothing: they are disabled, or paused because their endpoint failed too often. */
import type { Database } from '../events/batch.ts';
import { prepare } from '../events/sql.ts';
import type { Scope } from './filter.ts';

/** A webhook that sends nothing at present. Times are in seconds since the epoch. */
export interface TroubledWebhook {
  id: string;
  scope: Scope;
  description: string;
  /** The reason why the webhook is disabled, or `null` if it is paused. */
  disabled: string | null;
  /** The time when the pause ends. */
  openUntil: number;
}

/** The maximum number of webhooks that one search reads. */
const ROWS_MAX = 400;

/**
 * Returns up to `limit` webhooks that send nothing.
 * @param within names of organizations and users, to search only their webhooks and those of their repositories; `null` means
 * all webhooks
 */
export async function troubledWebhooks(
  env: Pick<Database, 'DB'>,
  within: readonly string[] | null,
  limit: number,
): Promise<TroubledWebhook[]> {
  // The character `0` follows the slash in byte order, so each range contains all repositories of a namespace.
  const scopes = `SELECT s.* FROM json_each(:within) n CROSS JOIN subscriptions s
      ON s.scope = 'organization:' || n.value
      OR (s.scope >= 'repository:' || n.value || '/' AND s.scope < 'repository:' || n.value || '0')`;
  const { results } = await prepare(
    env,
    `SELECT id, scope, description, disabled, open_until AS openUntil
     FROM (${within === null ? 'SELECT * FROM subscriptions' : scopes} LIMIT ${ROWS_MAX})
     WHERE last_event IS NULL AND (disabled IS NOT NULL OR open_until > unixepoch()) LIMIT :limit`,
    { within: within ?? [], limit },
  ).all<TroubledWebhook>();
  return results;
}
