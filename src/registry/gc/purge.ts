/**
 * Purges entries of the trash whose retention is over. A tag or a manifest is deleted at once. A repository is first marked as
 * purging, after which it cannot be restored; then its content is deleted in slices (`purge-repository.ts`). References of a purged
 * manifest are deleted by a later phase.
 */
import { settings } from '../../env.ts';
import { type Batch, type Database, type Handle, newBatch } from '../../events/batch.ts';
import { type Actor, REGISTRY } from '../../events/event.ts';
import { recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import { isDigest } from '../../oci/digest.ts';
import { rebalanceManifests } from '../usage/balance.ts';
import type { Key } from './passes.ts';
import { type Phase, write } from './slice.ts';

/** The primary key of a row of the trash. */
interface TrashKey {
  repositoryId: number;
  kind: 'tag' | 'manifest' | 'repository';
  /** The tag, the manifest's digest, or empty. */
  name: string;
}

/** Entries of one kind and one repository. */
interface Group {
  repositoryId: number;
  kind: TrashKey['kind'];
  names: string[];
  /** What the event is about; see `aboutOf`. */
  about: string;
}

interface Row {
  deleted_at: number;
  repository_id: number;
  kind: TrashKey['kind'];
  name: string;
  repository: string;
  is_gone: number;
}

const DAY = 24 * 60 * 60;
const STEP = 50;
/** Groups of a step: each takes a batch. */
const GROUPS_MAX = 4;

/** SQL: true if the repository itself is deleted. Another one may have its name, now or later. */
const REPOSITORY_IS_GONE = 'NOT EXISTS (SELECT 1 FROM repositories r WHERE r.id = t.repository_id)';

/** SQL on a row `t`: it is one of the group, older than `:age` seconds, and not being purged yet. */
const IS_DUE = `t.repository_id = :repository_id AND t.kind = :kind AND t.name IN (SELECT value FROM json_each(:names))
  AND t.deleted_at <= unixepoch() - :age AND t.purging = 0`;

/** Entries whose retention is over, the oldest first. */
export const TRASH: Phase<Row> = {
  start: [0, 0, '', ''],
  look(env, [deletedAt = 0, repositoryId = 0, kind = '', name = '']) {
    const { trashDays, deletion } = settings(env);
    if (!deletion) return null;
    return prepare(
      env,
      `SELECT t.deleted_at, t.repository_id, t.kind, t.name, t.repository, ${REPOSITORY_IS_GONE} AS is_gone FROM trash t
       WHERE t.deleted_at <= unixepoch() - :age
         AND (t.deleted_at, t.repository_id, t.kind, t.name) > (:deleted_at, :repository_id, :kind, :name)
       ORDER BY t.deleted_at, t.repository_id, t.kind, t.name LIMIT ${STEP}`,
      { age: trashDays * DAY, deleted_at: deletedAt, repository_id: repositoryId, kind, name },
    );
  },
  async act(slice, rows) {
    const age = settings(slice.env).trashDays * DAY;
    const { groups, taken } = grouped(rows);
    for (const group of groups) {
      const batch = newBatch(slice.env);
      const purged = purgeGroup(batch, group, { age, by: REGISTRY });
      slice.report.purged += (await write(slice, batch))?.of(purged).length ?? 0;
    }
    const last = taken.at(-1);
    return last && (taken.length < rows.length || rows.length === STEP) ? keyOf(last) : null;
  },
};

function keyOf({ deleted_at, repository_id, kind, name }: Row): Key {
  return [deleted_at, repository_id, kind, name];
}

/** The first rows, as far as `GROUPS_MAX` groups hold them. */
function grouped(rows: Row[]): { groups: Group[]; taken: Row[] } {
  const groups = new Map<string, Group>();
  const taken: Row[] = [];
  for (const row of rows) {
    const id = `${row.repository_id} ${row.kind}`;
    const group = groups.get(id) ?? { repositoryId: row.repository_id, kind: row.kind, names: [], about: aboutOf(row) };
    if (!groups.has(id) && groups.size === GROUPS_MAX) break;
    group.names.push(row.name);
    groups.set(id, group);
    taken.push(row);
  }
  return { groups: [...groups.values()], taken };
}

/**
 * The repository's name, or its organization if the repository is deleted: subscribers of another repository with the same name must
 * not hear of it.
 */
function aboutOf({ repository, is_gone }: Pick<Row, 'repository' | 'is_gone'>): string {
  if (is_gone === 0) return repository;
  return repository.includes('/') ? `organization:${repository.split('/', 1)[0]}` : '';
}

/** Purges those entries of the group that are due. The handle has their names. */
function purgeGroup(
  batch: Batch,
  { repositoryId, kind, names, about }: Group,
  { age, by }: { age: number; by: Actor },
): Handle<{ name: string }> {
  const due = { repository_id: repositoryId, kind, names, age };
  recordEvent(batch, {
    about,
    by,
    select: `SELECT 'trash.purged' AS type, iif(:event_about = t.repository, json_object('kind', t.kind, 'name', t.name),
        json_object('kind', t.kind, 'name', t.name, 'repository', t.repository)) AS target FROM trash t WHERE ${IS_DUE}`,
    parameters: due,
  });
  if (kind === 'repository') return batch.query(`UPDATE trash AS t SET purging = 1 WHERE ${IS_DUE} RETURNING name`, due);
  if (kind === 'manifest') {
    const repository = { id: ':repository_id', parameters: due };
    const addRemainder = rebalanceManifests(batch, repository, names.filter(isDigest));
    batch.run(
      `INSERT INTO tombstones (object_key, made_at) SELECT m.object_key, unixepoch() FROM trashed_manifests m
       WHERE m.repository_id = :repository_id AND m.digest IN (SELECT t.name FROM trash t WHERE ${IS_DUE}) AND m.object_key > ''
       ON CONFLICT DO NOTHING`,
      due,
    );
    batch.run(
      `DELETE FROM trashed_manifests
       WHERE repository_id = :repository_id AND digest IN (SELECT t.name FROM trash t WHERE ${IS_DUE})`,
      due,
    );
    addRemainder();
  }
  return batch.query(`DELETE FROM trash AS t WHERE ${IS_DUE} RETURNING name`, due);
}

/**
 * Purges one entry before its retention is over; it cannot be restored any more. The collector's next pass deletes what only this
 * entry held.
 * @returns `false` if there is no such entry
 */
export async function purgeEntry(env: Database, { repositoryId, kind, name }: TrashKey, by: Actor): Promise<boolean> {
  const row = await prepare(
    env,
    `SELECT t.repository, ${REPOSITORY_IS_GONE} AS is_gone FROM trash t
     WHERE t.repository_id = :repository_id AND t.kind = :kind AND t.name = :name`,
    { repository_id: repositoryId, kind, name },
  ).first<Pick<Row, 'repository' | 'is_gone'>>();
  if (!row) return false;
  const batch = newBatch(env);
  const purged = purgeGroup(batch, { repositoryId, kind, names: [name], about: aboutOf(row) }, { age: 0, by });
  return (await batch.commit()).of(purged).length > 0;
}
