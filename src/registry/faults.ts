/**
 * Marks objects in R2 that a reader or the scrub has found missing or damaged. A marked blob or manifest counts as absent, so
 * the next push uploads it again instead of skipping it. The event `blob.missing` is recorded, so that webhooks and the audit
 * log report the fault.
 */
import type { Batch, Handle } from '../events/batch.ts';
import { REGISTRY } from '../events/event.ts';
import { recordEvent } from '../events/outbox.ts';
import type { Digest } from '../oci/digest.ts';

export interface Fault {
  /** The key of the object in R2. */
  key: string;
  digest: Digest;
  reason: 'missing' | 'damaged';
}

/** Adds to the batch the steps that mark blobs. @returns the keys of the blobs that were not marked before */
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
 * Adds to the batch the steps that mark manifests. For a manifest in the trash no event is recorded; the user who restores it
 * gets an error instead.
 * @returns the digests of the newly marked manifests that are not in the trash
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
