/** Changes of an access key: its name, its limits and its lifetime. */
import type { Vars } from '../../env.ts';
import { type Batch, newBatch } from '../../events/batch.ts';
import { aboutOf } from '../../events/event.ts';
import { changesIn, recordEvent } from '../../events/outbox.ts';
import type { Particulars } from '../../vocabulary/refusal.ts';
import type { Database } from '../directory.ts';
import type { Statement } from '../statement.ts';
import { checkStatements } from '../statement-limits.ts';
import { type Change, requireVersion } from '../within.ts';
import {
  type AccessKey,
  checkedLifetime,
  getKey,
  hasEnded,
  KEY_EXISTS,
  keyOf,
  LIVE,
  PROLONGS_ITSELF,
  queryKey,
  successorOf,
} from './access-keys.ts';

interface KeyChange {
  name?: string;
  statements?: Statement[] | null;
  /** Counted from the creation of the key. */
  days?: number;
}

/** SQL: key :id after :change (JSON). No row if nothing would change. */
const CHANGED_KEY = `SELECT new.* FROM access_keys old JOIN (
      SELECT id, owner, coalesce(:change ->> 'name', name) AS name,
        CASE WHEN json_type(:change, '$.statements') IS NULL THEN statements ELSE :change ->> 'statements' END AS statements,
        coalesce(created_at + (:change ->> 'seconds'), expires_at) AS expires_at
      FROM access_keys WHERE id = :id) new ON new.id = old.id
    WHERE new.name <> old.name OR new.statements IS NOT old.statements OR new.expires_at <> old.expires_at`;

const before = (column: string) => `(SELECT ${column} FROM access_keys WHERE id = :id)`;
const CHANGES = changesIn([
  ['name', before('name'), 'new.name'],
  ['statements', `json(${before('statements')})`, 'json(new.statements)'],
  ['expiresAt', before('expires_at'), 'new.expires_at'],
]);

/**
 * Changes a key. A key cannot prolong itself. A key that was replaced can only be renamed: its successor does not change with it, so
 * narrowing or shortening it would not have the effect that its owner expects.
 * @throws conflict if the key has ended, would end with this change, or was replaced; forbidden, version-mismatch, not-found;
 * request-invalid for a lifetime or statements beyond the limits
 */
export async function changeKey(
  env: Database & Vars,
  { id, owner }: AccessKey,
  { name, statements, days }: KeyChange,
  { ifVersion, by }: Change,
): Promise<AccessKey> {
  if (statements) checkStatements(statements, 'a key');
  const seconds = days === undefined ? undefined : checkedLifetime(env, days);
  const change = JSON.stringify({
    ...(name === undefined ? {} : { name }),
    ...(statements === undefined ? {} : { statements: statements && JSON.stringify(statements) }),
    ...(seconds === undefined ? {} : { seconds }),
  });
  const batch = newBatch(env);
  requireChangeable(
    batch,
    { id, ifVersion, change, byItself: by.key === id, renamesOnly: statements === undefined && days === undefined },
    () => whyNotChangeable(env, id, days),
  );
  recordEvent(batch, {
    about: aboutOf(owner),
    by,
    select: `SELECT 'key.changed' AS type,
        json_object('id', id, 'owner', owner, 'name', name, 'statements', json(statements)) AS target, ${CHANGES} AS changes
      FROM (${CHANGED_KEY}) new`,
    parameters: { id, change },
    hasChanges: true,
  });
  batch.run(
    `UPDATE access_keys SET name = new.name, statements = new.statements, expires_at = new.expires_at, version = version + 1
     FROM (${CHANGED_KEY}) new WHERE access_keys.id = new.id`,
    { id, change },
  );
  const key = queryKey(batch, id);
  return keyOf((await batch.commit()).first(key));
}

interface ChangeCheck {
  id: string;
  ifVersion: number | null;
  change: string;
  byItself: boolean;
  renamesOnly: boolean;
}

function requireChangeable(
  batch: Batch,
  { id, ifVersion, change, byItself, renamesOnly }: ChangeCheck,
  whyConflict: () => Promise<Particulars>,
): void {
  const keyHas = (condition: string) => `EXISTS (SELECT 1 FROM access_keys WHERE id = :id AND ${condition})`;
  batch.require('not-found', KEY_EXISTS, { id });
  batch.require('conflict', keyHas(LIVE), { id }, whyConflict);
  requireVersion(batch, 'SELECT version FROM access_keys WHERE id = :id', { id }, ifVersion);
  batch.require(
    'forbidden',
    `NOT :byItself OR ${keyHas("coalesce(created_at + (:change ->> 'seconds') <= expires_at, TRUE)")}`,
    { id, change, byItself },
    PROLONGS_ITSELF,
  );
  batch.require('conflict', ':renamesOnly OR NOT EXISTS (SELECT 1 FROM access_keys WHERE replaces = :id)', { id, renamesOnly });
  batch.require('conflict', keyHas("coalesce(created_at + (:change ->> 'seconds') > unixepoch(), TRUE)"), { id, change });
}

async function whyNotChangeable(env: Database, id: string, days = 0): Promise<Particulars> {
  const { state } = await getKey(env, id);
  if (state !== 'active') return hasEnded(state);
  const successor = await successorOf(env, id);
  return {
    message: successor
      ? `this key was replaced by ${successor}. Nothing was changed: change that one, or revoke this one, which revokes both`
      : `${days} days from its creation are over. Nothing was changed: to end a key, revoke it`,
  };
}
