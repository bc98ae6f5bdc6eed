/**
 * Objects that are not what their rows say, as a reader or the scrub finds them: from then on they count as absent, so that the next
 * push brings them again instead of skipping them; and it is recorded, for whoever has to know.
 */
import type { Database } from '../events/batch.ts';
import { REGISTRY } from '../events/event.ts';
import { record } from '../events/outbox.ts';
import type { Digest } from '../oci/digest.ts';

export interface Fault {
  /** Of the object. */
  key: string;
  digest: Digest;
  reason: 'missing' | 'damaged';
}

/** The last statement answers those that were not known before. */
export function markBlobs(env: Database, faults: Fault[]): D1PreparedStatement[] {
  const list = JSON.stringify(faults);
  return [
    record(env, {
      about: '',
      by: REGISTRY,
      select: `SELECT 'blob.missing' AS type, json_object('digest', b.digest, 'reason', value ->> 'reason') AS target
        FROM json_each(?3) CROSS JOIN blobs b ON b.digest = value ->> 'digest' AND b.object_key = value ->> 'key'
        WHERE b.missing_since IS NULL`,
      parameters: [list],
    }),
    env.DB.prepare(
      `UPDATE blobs SET missing_since = unixepoch() WHERE missing_since IS NULL
         AND (digest, object_key) IN (SELECT value ->> 'digest', value ->> 'key' FROM json_each(?1)) RETURNING object_key AS key`,
    ).bind(list),
  ];
}

/** What is in the trash is marked as well, and nobody is told: whoever restores it is. The last statement answers as above. */
export function markManifests(env: Database, faults: Fault[]): D1PreparedStatement[] {
  const list = JSON.stringify(faults);
  const among = `object_key IN (SELECT value ->> 'key' FROM json_each(?1))`;
  return [
    record(env, {
      about: '',
      by: REGISTRY,
      select: `SELECT 'blob.missing' AS type, json_object('digest', m.digest, 'reason', value ->> 'reason') AS target
        FROM json_each(?3) CROSS JOIN manifests m ON m.object_key = value ->> 'key'`,
      parameters: [list],
    }),
    env.DB.prepare(`UPDATE trashed_manifests SET object_key = '' WHERE ${among}`).bind(list),
    env.DB.prepare(
      `INSERT INTO tombstones (object_key, made_at)
       SELECT value ->> 'key', unixepoch() FROM json_each(?1) WHERE value ->> 'reason' = 'damaged' ON CONFLICT DO NOTHING`,
    ).bind(list),
    env.DB.prepare(`UPDATE manifests SET object_key = '' WHERE ${among} RETURNING digest`).bind(list),
  ];
}
