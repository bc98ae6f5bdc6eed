/**
 * Marks objects that are not what their rows say, found by a reader or the scrub. A marked blob or manifest counts as absent,
 * so that the next push uploads it again instead of skipping it. The event `blob.missing` tells those who have to know.
 */
import type { Batch, Handle } from '../events/batch.ts';
import { REGISTRY } from '../events/event.ts';
import { recordEvent } from '../events/outbox.ts';
import type { Digest } from '../oci/digest.ts';

export interface Fault {
  /** The key of the object. */
  key: string;
  digest: Digest;
  reason: 'missing' | 'damaged';
}

/** Adds the steps that mark blobs. @returns those that were not marked before */
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
 * Adds the steps that mark manifests. Manifests in the trash are marked without an event: whoever restores one is told.
 * @returns the manifests outside of the trash that were not marked before
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
