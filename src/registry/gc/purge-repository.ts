/**
 * Deletes the content of a purged repository, table by table. Its blobs follow when the later phases delete their links. The row of
 * the trash is deleted last, so an interrupted purge is resumed.
 */
import { newBatch } from '../../events/batch.ts';
import { organizationAbout } from '../../events/event.ts';
import { prepare } from '../../events/sql.ts';
import { recountLimited } from '../usage/balance.ts';
import { namespaceById } from '../usage/counting.ts';
import { noteProblem } from './passes.ts';
import { type Phase, read, type Slice, write } from './slice.ts';

interface Table {
  name: string;
  /** The columns that identify a row within its repository. */
  key: string;
  /** An SQL condition: rows of repository `:id` that are deleted. */
  rows: string;
}

const OF_REPOSITORY = 'repository_id = :id';

/** Tables with many rows per repository. */
const TABLES: readonly Table[] = [
  { name: 'tags', key: 'name', rows: OF_REPOSITORY },
  { name: 'manifest_references', key: 'child, parent', rows: OF_REPOSITORY },
  { name: 'manifests', key: 'digest', rows: OF_REPOSITORY },
  { name: 'trashed_manifests', key: 'digest', rows: OF_REPOSITORY },
  { name: 'tag_history', key: 'tag, point', rows: OF_REPOSITORY },
  { name: 'pulls', key: 'digest, day', rows: OF_REPOSITORY },
  { name: 'manifest_checks', key: 'digest', rows: OF_REPOSITORY },
  { name: 'trash', key: 'kind, name', rows: `${OF_REPOSITORY} AND kind <> 'repository'` },
];

/** Tables with one row per repository. */
const SINGLES = ['repository_pages', 'tag_mutability', 'lifecycle_policies'] as const;

/** Rows of a table that one batch deletes. */
const CHUNK = 100;
/** Entries of the trash that a step looks at. */
const STEP = 200;

interface Row {
  repository: string;
  repository_id: number;
  purging: number;
  is_there: number;
}

export const REPOSITORIES: Phase<Row> = {
  start: ['', 0],
  look: (env, [repository = '', id = 0]) =>
    prepare(
      env,
      `SELECT t.repository, t.repository_id, t.purging,
         EXISTS (SELECT 1 FROM repositories r WHERE r.id = t.repository_id) AS is_there
       FROM trash t INDEXED BY trash_of_repositories
       WHERE t.kind = 'repository' AND (t.repository, t.repository_id) > (:repository, :id)
       ORDER BY t.repository, t.repository_id LIMIT ${STEP}`,
      { repository, id },
    ),
  async act(slice, rows, after) {
    const row = rows.find(({ purging }) => purging === 1);
    const last = row ?? rows.at(-1);
    if (!last) return null;
    if (row?.is_there === 1) {
      noteProblem(slice.report, `repository ${row.repository} exists and is also in the trash: nothing of it is purged`);
    } else if (row && !(await purgeRepository(slice, row))) return after;
    return row || rows.length === STEP ? [last.repository, last.repository_id] : null;
  },
};

/** SQL: repository `:id` does not exist and cannot be restored. */
const IS_PURGED = `NOT EXISTS (SELECT 1 FROM repositories WHERE id = :id)
  AND EXISTS (SELECT 1 FROM trash WHERE repository_id = :id AND kind = 'repository' AND purging = 1)`;

const hasRows = ({ name, rows }: Table) => `EXISTS (SELECT 1 FROM ${name} WHERE ${rows})`;

/** One step. Returns `true` once nothing of the repository is left. */
async function purgeRepository(slice: Slice, { repository_id: id, repository }: Row): Promise<boolean> {
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
  // From here on the repository's id belongs to no namespace, so its remaining links count for none. No index finds them by id.
  recountLimited(batch, organizationAbout(repository));
  slice.alsoPurge(batch, id);
  await write(slice, batch);
  return true;
}

/** Returns the number of deleted rows. Documents in R2 become tombstones in the same batch. */
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
