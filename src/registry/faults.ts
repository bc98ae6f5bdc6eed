/**
 * Records which R2 objects a reader or the scrub job found missing or damaged. The blob or manifest of such an object counts as
 * absent, so clients upload it again at the next push. The event `blob.missing` reports the fault to webhooks and to the audit
 * log.
 */
import type { Batch, Handle } from '../events/batch.ts';
import { REGISTRY } from '../events/event.ts';
import { recordEvent } from '../events/outbox.ts';
import type { Digest } from '../oci/digest.ts';

export interface Fault {
  /** The R2 key of the object. */
  key: string;
  digest: Digest;
  reason: 'missing' | 'damaged';
}

/**
 * Adds statements to the batch that mark blobs as missing.
 * @returns a handle of the R2 keys of the blobs that were not marked before
 */
export function markBlobs(batch: Batch, faults: Fault[]): Handle<{ key: string }> {
  recordEvent(batch, {
    about: '',
    by: REGISTRY,
    select: `SELECT 'blob.missing' AS type, json_object('digest', b.digest, 'reason', value ->> 'reason') AS target
      FROM json_each(:faults) CROSS JOIN blobs b ON b.digest = value ->> 'digest' AND b.object_key = value ->> 'key'
      WHERE b.missing_since IS NULL`,
    parameters: { faults },
  });
  return batch.query<{ key: string }>(
    `UPDATE blobs SET missing_since = unixepoch() WHERE missing_since IS NULL
       AND (digest, object_key) IN (SELECT value ->> 'digest', value ->> 'key' FROM json_each(:faults)) RETURNING object_key
         AS key`,
    { faults },
  );
}

/**
 * Adds statements to the batch that mark manifests as missing. A manifest in the trash is marked without an event, because its
 * absence shows only when a user restores it.
 * @returns a handle of the digests of the newly marked manifests that are not in the trash
 */
export function markManifests(batch: Batch, faults: Fault[]): Handle<{ digest: Digest }> {
  const isAmong = `object_key IN (SELECT value ->> 'key' FROM json_each(:faults))`;
  recordEvent(batch, {
    about: '',
    by: REGISTRY,
    select: `SELECT 'blob.missing' AS type, json_object('digest', m.digest, 'reason', value ->> 'reason') AS target
      FROM json_each(:faults) CROSS JOIN manifests m ON m.object_key = value ->> 'key'`,
    parameters: { faults },
  });
  batch.run(`UPDATE trashed_manifests SET object_key = '' WHERE ${isAmong}`, { faults });
  batch.run(
    `INSERT INTO tombstones (object_key, made_at)
     SELECT value ->> 'key', unixepoch() FROM json_each(:faults) WHERE value ->> 'reason' = 'damaged' ON CONFLICT DO NOTHING`,
    { faults },
  );
  return batch.query<{ digest: Digest }>(`UPDATE manifests SET object_key = '' WHERE ${isAmong} RETURNING digest`, { faults });
}
