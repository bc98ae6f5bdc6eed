/**
 * The phase of the garbage collector that purges trash entries whose retention time is over. A tag or manifest is purged at
 * once. A repository is first marked as purging, and from then on cannot be restored. Then its rows are deleted table by table,
 * in slices. Its trash entry is deleted last, so a later slice resumes an interrupted purge. Later phases delete the references
 * of purged manifests and the links to blobs.
 */
import { settings } from '../../env.ts';
import { type Batch, type Database, type Handle, newBatch } from '../../events/batch.ts';
import { type Actor, organizationAbout, REGISTRY } from '../../events/event.ts';
import { recordEvent } from '../../events/outbox.ts';
import { prepare } from '../../events/sql.ts';
import { isDigest } from '../../oci/digest.ts';
import { namespaceById, rebalanceManifests, recountLimited } from '../usage/counting.ts';
import { type Key, noteProblem, type Phase, read, type Slice, write } from './passes.ts';

/** The primary key of a row in the trash. */
interface TrashKey {
  repositoryId: number;
  kind: 'tag' | 'manifest' | 'repository';
  /** The name of the tag, the digest of the manifest, or empty for a repository. */
  name: string;
}

/** Trash entries of the same kind in the same repository. */
interface Group {
  repositoryId: number;
  kind: TrashKey['kind'];
  names: string[];
  /** The subject of the event, in the form that `aboutOf` returns. */
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
/** The maximum number of groups in one step. Each group is purged by one batch. */
const GROUPS_MAX = 4;

/**
 * SQL condition: the repository of the trash row `t` no longer exists. Another repository may have the same name, so the
 * condition compares ids.
 */
const REPOSITORY_IS_GONE = 'NOT EXISTS (SELECT 1 FROM repositories r WHERE r.id = t.repository_id)';

/**
 * SQL condition on a trash row `t`: the row is in the group, was deleted at least `:age` seconds ago, and is not yet being
 * purged.
 */
const IS_DUE = `t.repository_id = :repository_id AND t.kind = :kind AND t.name IN (SELECT value FROM json_each(:names))
  AND t.deleted_at <= unixepoch() - :age AND t.purging = 0`;

/** The phase that purges trash entries whose retention time is over, the oldest first. */
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

/** Groups the first rows. Stops before a row that would need more than `GROUPS_MAX` groups. */
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
 * Returns the subject of the event: the repository, or its organization if the repository no longer exists. The event must not
 * name the deleted repository, because subscribers of a new repository with the same name would receive the event.
 */
function aboutOf({ repository, is_gone }: Pick<Row, 'repository' | 'is_gone'>): string {
  if (is_gone === 0) return repository;
  return repository.includes('/') ? `organization:${repository.split('/', 1)[0]}` : '';
}

/**
 * Adds statements to the batch that purge the entries of the group whose retention time is over.
 * @returns a handle of the names of the purged entries
 */
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
 * Purges one trash entry before its retention time is over. The entry cannot be restored afterwards. The next pass of the
 * garbage collector deletes the content that only this entry kept.
 * @returns false if there is no such entry
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

interface Table {
  name: string;
  /** The columns that identify a row within its repository. */
  key: string;
  /** SQL condition: the rows of repository `:id` to delete. */
  rows: string;
}

const OF_REPOSITORY = 'repository_id = :id';

/** The tables with many rows per repository. */
const TABLES: readonly Table[] = [
  { name: 'tags', key: 'name', rows: OF_REPOSITORY },
  { name: 'manifest_references', key: 'child, parent', rows: OF_REPOSITORY },
  { name: 'manifests', key: 'digest', rows: OF_REPOSITORY },
  { name: 'trashed_manifests', key: 'digest', rows: OF_REPOSITORY },
  { name: 'tag_history', key: 'tag, point', rows: OF_REPOSITORY },
  { name: 'pulls', key: 'digest, day', rows: OF_REPOSITORY },
  { name: 'manifest_checks', key: 'digest', rows: OF_REPOSITORY },
  { name: 'stars', key: 'subject', rows: OF_REPOSITORY },
  { name: 'repository_labels', key: 'key', rows: OF_REPOSITORY },
  { name: 'comments', key: 'id', rows: OF_REPOSITORY },
  { name: 'trash', key: 'kind, name', rows: `${OF_REPOSITORY} AND kind <> 'repository'` },
];

/** The tables with one row per repository. */
const SINGLES = ['repository_usage', 'repository_pages', 'tag_mutability', 'lifecycle_policies', 'lifecycle_previews'] as const;

/** The number of rows that one batch deletes from a table. */
const CHUNK = 100;
/** The maximum number of trash entries that a step reads. */
const REPOSITORY_STEP = 200;

interface TrashedRepository {
  repository: string;
  repository_id: number;
  purging: number;
  is_there: number;
}

export const REPOSITORIES: Phase<TrashedRepository> = {
  start: ['', 0],
  look: (env, [repository = '', id = 0]) =>
    prepare(
      env,
      `SELECT t.repository, t.repository_id, t.purging,
         EXISTS (SELECT 1 FROM repositories r WHERE r.id = t.repository_id) AS is_there
       FROM trash t INDEXED BY trash_of_repositories
       WHERE t.kind = 'repository' AND (t.repository, t.repository_id) > (:repository, :id)
       ORDER BY t.repository, t.repository_id LIMIT ${REPOSITORY_STEP}`,
      { repository, id },
    ),
  async act(slice, rows, after) {
    const row = rows.find(({ purging }) => purging === 1);
    const last = row ?? rows.at(-1);
    if (!last) return null;
    if (row?.is_there === 1) {
      noteProblem(slice.report, `repository ${row.repository} exists and is also in the trash: nothing of it is purged`);
    } else if (row && !(await purgeRepository(slice, row))) return after;
    return row || rows.length === REPOSITORY_STEP ? [last.repository, last.repository_id] : null;
  },
};

/** SQL condition: the repository `:id` does not exist and can no longer be restored from the trash. */
const IS_PURGED = `NOT EXISTS (SELECT 1 FROM repositories WHERE id = :id)
  AND EXISTS (SELECT 1 FROM trash WHERE repository_id = :id AND kind = 'repository' AND purging = 1)`;

const hasRows = ({ name, rows }: Table) => `EXISTS (SELECT 1 FROM ${name} WHERE ${rows})`;

/**
 * Runs one step of the purge of a repository. Returns false if the repository may still have rows. If another request makes the
 * last batch fail, the next pass continues the purge.
 */
async function purgeRepository(slice: Slice, { repository_id: id, repository }: TrashedRepository): Promise<boolean> {
  const { env } = slice;
  const columns = TABLES.map((table) => `${hasRows(table)} AS ${table.name}`).join(', ');
  const [filled] = await read<Record<string, number>>(slice, prepare(env, `SELECT ${columns}`, { id }));
  let deleted = 0;
  for (const table of TABLES.filter(({ name }) => filled?.[name] === 1)) {
    deleted += await purgeFrom(slice, id, table);
    if (deleted >= CHUNK) return false;
  }
  const batch = newBatch(env);
  batch.require('overtaken', [IS_PURGED, ...TABLES.map((table) => `NOT ${hasRows(table)}`)].join(' AND '), { id });
  for (const table of SINGLES) batch.run(`DELETE FROM ${table} WHERE repository_id = :id`, { id });
  batch.run("DELETE FROM trash WHERE repository_id = :id AND kind = 'repository'", { id });
  // From now on the repository's id belongs to no namespace, so the links to blobs that are left do not count as usage.
  recountLimited(batch, organizationAbout(repository));
  slice.alsoPurge(batch, id);
  await write(slice, batch);
  return true;
}

/**
 * Deletes up to `CHUNK` rows of a table. The same batch writes tombstones for the R2 objects of the rows, so that the objects
 * are deleted later.
 * @returns the number of deleted rows
 */
async function purgeFrom(slice: Slice, id: number, { name, key, rows }: Table): Promise<number> {
  const chunk = `SELECT ${key} FROM ${name} WHERE ${rows} ORDER BY ${key} LIMIT ${CHUNK}`;
  const batch = newBatch(slice.env);
  if (name.endsWith('manifests')) {
    batch.run(
      `INSERT INTO tombstones (object_key, made_at) SELECT object_key, unixepoch() FROM ${name}
       WHERE repository_id = :id AND digest IN (${chunk}) AND object_key > '' AND ${IS_PURGED} ON CONFLICT DO NOTHING`,
      { id },
    );
    batch.run(
      `UPDATE usage SET bytes = bytes - coalesce((SELECT sum(size) FROM ${name}
         WHERE repository_id = :id AND digest IN (${chunk}) AND ${IS_PURGED}), 0)
       WHERE namespace = ${namespaceById(':id')} AND namespace <> '' AND max_bytes IS NOT NULL`,
      { id },
    );
  }
  const deleted = batch.run(`DELETE FROM ${name} WHERE repository_id = :id AND (${key}) IN (${chunk}) AND ${IS_PURGED}`, {
    id,
  });
  return (await write(slice, batch))?.changes(deleted) ?? 0;
}
