/**
 * Deletes blobs that no repository contains. First a tombstone replaces the D1 row of the blob. A tombstone is a row that names
 * an R2 object to delete. After the grace period the object is deleted, and then the tombstone. A crash between these steps can
 * leave an object without a row, but never a row without an object (invariant 1).
 */
import { settings } from '../../env.ts';
import { newBatch } from '../../events/batch.ts';
import { REGISTRY } from '../../events/event.ts';
import { recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import { deleteObjects } from '../../storage/objects.ts';
import { noteProblem, type Phase, type Stores, write } from './passes.ts';
import { isAmongKeys, lookOf, matchesIn, type Walk, type WalkRow } from './walk.ts';

/**
 * Returns the walk over blobs that are older than the grace period and to which no repository and no manifest in the trash
 * refers (invariant 4).
 */
const unneededBlobs = (env: Stores): Walk => ({
  table: 'blobs',
  key: ['digest'],
  condition: `x.created_at <= unixepoch() - ${settings(env).graceSeconds}
    AND NOT EXISTS (SELECT 1 FROM repository_blobs l WHERE l.digest = x.digest)
    AND NOT EXISTS (SELECT 1 FROM trashed_references r WHERE r.child = x.digest)`,
});
export const BLOBS: Phase<WalkRow> = {
  start: [''],
  look: (env, after) => lookOf(env, unneededBlobs(env), after),
  /**
   * Records the event, writes the tombstones and deletes the rows in one batch. Each statement checks the condition of the walk
   * again.
   */
  async act(slice, rows) {
    const { env, report } = slice;
    const { condition } = unneededBlobs(env);
    const { keys, next } = matchesIn(unneededBlobs(env), rows);
    if (keys.length === 0) return next;
    const unneeded = `blobs AS x WHERE ${isAmongKeys(['digest'])} AND (${condition})`;
    const batch = newBatch(env);
    recordEvent(batch, {
      about: '',
      by: REGISTRY,
      select: `SELECT 'gc.collected' AS type, json_object('blobs', count(*), 'bytes', sum(x.size)) AS target
        FROM ${unneeded} HAVING count(*) > 0`,
      parameters: { keys },
    });
    batch.run(
      `INSERT INTO tombstones (object_key, made_at) SELECT x.object_key, unixepoch() FROM ${unneeded} ON CONFLICT DO NOTHING`,
      { keys },
    );
    const deleted = batch.query<{ size: number }>(`DELETE FROM ${unneeded} RETURNING size`, { keys });
    const sizes = (await write(slice, batch))?.of(deleted) ?? [];
    report.blobs += sizes.length;
    report.bytes += sizes.reduce((sum, { size }) => sum + size, 0);
    return next;
  },
};

/** The maximum number of tombstones in a step. One R2 call deletes up to 1,000 objects. */
const STEP = 200;

interface Tombstone {
  object_key: string;
  due: number;
  named: number;
}

export const TOMBSTONES: Phase<Tombstone> = {
  start: [''],
  look: (env, [after = '']) =>
    prepare(
      env,
      `SELECT x.object_key, x.made_at <= unixepoch() - :grace AS due, ${isNamed('x.object_key')} AS named
       FROM tombstones x WHERE x.object_key > :after ORDER BY x.object_key LIMIT ${STEP}`,
      { after, grace: settings(env).graceSeconds },
    ),
  async act(slice, rows) {
    const { env, report } = slice;
    for (const { object_key } of rows.filter(({ named }) => named === 1)) {
      noteProblem(report, `object ${object_key} has a tombstone but is in use: it is not deleted`);
    }
    const keys = rows.filter(({ due, named }) => due === 1 && named === 0).map(({ object_key }) => object_key);
    if (keys.length > 0) {
      await deleteObjects(env, keys);
      const batch = newBatch(env);
      const deleted = batch.run('DELETE FROM tombstones WHERE object_key IN (SELECT value FROM json_each(:keys))', { keys });
      report.objects += (await write(slice, batch))?.changes(deleted) ?? 0;
    }
    const last = rows.at(-1);
    return last && rows.length === STEP ? [last.object_key] : null;
  },
};

/**
 * Returns an SQL condition: a row of a blob or manifest names the R2 object `key`. The condition uses indexes: the key of a
 * blob contains its digest (`storage/keys.ts`), by which the row is found.
 */
export function isNamed(key: string): string {
  const digest = `substr(${key}, 7, 6) || ':' || substr(${key}, 14, instr(substr(${key}, 14), '/') - 1)`;
  return `(EXISTS (SELECT 1 FROM blobs WHERE digest = ${digest} AND object_key = ${key})
    OR EXISTS (SELECT 1 FROM blobs WHERE object_key = ${key} AND object_key >= 'blobs/stream/' AND object_key < 'blobs/stream0')
    OR EXISTS (SELECT 1 FROM manifests WHERE object_key = ${key})
    OR EXISTS (SELECT 1 FROM trashed_manifests WHERE object_key = ${key}))`;
}
