/**
 * The end of bytes: blobs that no repository needs lose their row, by which their key becomes a tombstone; the objects of old
 * tombstones are deleted, then those. In this order a crash leaves an object too many, never one too few (invariant 1).
 */
import { settings } from '../../env.ts';
import { REGISTRY } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import { deleteObjects } from '../../storage/objects.ts';
import { noteProblem } from './passes.ts';
import { type Phase, type Stores, write } from './slice.ts';
import { among, foundOf, lookOf, type Walk, type Walked } from './walk.ts';

/** Invariant 4. The test, the tombstone and the row are one batch, each with the condition. */
const unneeded = (env: Stores): Walk => ({
  table: 'blobs',
  key: ['digest'],
  condition: `x.created_at <= unixepoch() - ${settings(env).graceSeconds}
    AND NOT EXISTS (SELECT 1 FROM repository_blobs l WHERE l.digest = x.digest)
    AND NOT EXISTS (SELECT 1 FROM trashed_references r WHERE r.child = x.digest)`,
});
export const BLOBS: Phase<Walked> = {
  start: [''],
  look: (env, after) => lookOf(env, unneeded(env), after),
  async act(slice, rows) {
    const { env, report } = slice;
    const { condition } = unneeded(env);
    const { keys, next } = foundOf(unneeded(env), rows);
    if (keys.length === 0) return next;
    const list = JSON.stringify(keys);
    const chosen = `blobs AS x WHERE ${among(['digest'])} AND (${condition})`;
    const results = await write(slice, [
      record(env, {
        about: '',
        by: REGISTRY,
        select: `SELECT 'gc.collected' AS type, json_object('blobs', count(*), 'bytes', sum(x.size)) AS target
          FROM ${chosen.replace('?1', '?3')} HAVING count(*) > 0`,
        parameters: [list],
      }),
      env.DB.prepare(
        `INSERT INTO tombstones (object_key, made_at) SELECT x.object_key, unixepoch() FROM ${chosen} ON CONFLICT DO NOTHING`,
      ).bind(list),
      env.DB.prepare(`DELETE FROM ${chosen} RETURNING size`).bind(list),
    ]);
    const taken = (results?.at(-1)?.results ?? []) as { size: number }[];
    report.blobs += taken.length;
    report.bytes += taken.reduce((sum, { size }) => sum + size, 0);
    return next;
  },
};

/** Keys of a step; R2 deletes up to 1,000 in one call. */
const STEP = 200;

interface Tombstone {
  object_key: string;
  due: number;
  named: number;
}

export const TOMBSTONES: Phase<Tombstone> = {
  start: [''],
  look: (env, after) =>
    env.DB.prepare(
      `SELECT x.object_key, x.made_at <= unixepoch() - ?2 AS due, ${isNamed('x.object_key')} AS named
       FROM tombstones x WHERE x.object_key > ?1 ORDER BY x.object_key LIMIT ${STEP}`,
    ).bind(after[0], settings(env).graceSeconds),
  async act(slice, rows) {
    const { env, report } = slice;
    for (const { object_key } of rows.filter(({ named }) => named === 1)) {
      noteProblem(report, `${object_key} is to be deleted, and is in use: it stays`);
    }
    const keys = rows.filter(({ due, named }) => due === 1 && named === 0).map(({ object_key }) => object_key);
    if (keys.length > 0) {
      await deleteObjects(env, keys);
      const deleted = await write(slice, [
        env.DB.prepare('DELETE FROM tombstones WHERE object_key IN (SELECT value FROM json_each(?1))').bind(
          JSON.stringify(keys),
        ),
      ]);
      report.objects += deleted?.[0]?.meta.changes ?? 0;
    }
    const last = rows.at(-1);
    return last && rows.length === STEP ? [last.object_key] : null;
  },
};

/** SQL: whether a blob or a manifest is stored under `key`. By indexes: a blob is found by the digest in its key (`storage/keys.ts`). */
export function isNamed(key: string): string {
  const digest = `substr(${key}, 7, 6) || ':' || substr(${key}, 14, instr(substr(${key}, 14), '/') - 1)`;
  return `(EXISTS (SELECT 1 FROM blobs WHERE digest = ${digest} AND object_key = ${key})
    OR EXISTS (SELECT 1 FROM blobs WHERE object_key = ${key} AND object_key >= 'blobs/stream/' AND object_key < 'blobs/stream0')
    OR EXISTS (SELECT 1 FROM manifests WHERE object_key = ${key})
    OR EXISTS (SELECT 1 FROM trashed_manifests WHERE object_key = ${key}))`;
}
