/**
 * The content of a deleted repository whose way back is closed, table by table. Its blobs go with the links, which nothing holds
 * then; the row of the trash goes last, so that whatever stops in between is gone on with.
 */
import { refuseUnless } from '../../events/batch.ts';
import { organizationAbout } from '../../events/event.ts';
import { recountLimited } from '../usage/balance.ts';
import { namespaceById } from '../usage/counting.ts';
import { noteProblem } from './passes.ts';
import { type Phase, read, type Slice, write } from './slice.ts';

const ROWS = 'repository_id = ?1';

/** Tables with many rows a repository: what a row is found by within it, and which of them go. */
const TABLES = [
  ['tags', 'name', ROWS],
  ['manifest_references', 'child, parent', ROWS],
  ['manifests', 'digest', ROWS],
  ['trashed_manifests', 'digest', ROWS],
  ['tag_history', 'tag, point', ROWS],
  ['pulls', 'digest, day', ROWS],
  ['manifest_checks', 'digest', ROWS],
  ['trash', 'kind, name', `${ROWS} AND kind <> 'repository'`],
] as const;

const SINGLES = ['repository_pages', 'tag_mutability', 'lifecycle_policies'] as const;

/** Rows of a table that a batch takes. */
const CHUNK = 100;
/** Entries that a step looks at. */
const STEP = 200;

interface Row {
  repository: string;
  repository_id: number;
  purging: number;
  alive: number;
}

export const REPOSITORIES: Phase<Row> = {
  start: ['', 0],
  look: (env, after) =>
    env.DB.prepare(
      `SELECT t.repository, t.repository_id, t.purging,
         EXISTS (SELECT 1 FROM repositories r WHERE r.id = t.repository_id) AS alive
       FROM trash t INDEXED BY trash_of_repositories
       WHERE t.kind = 'repository' AND (t.repository, t.repository_id) > (?1, ?2)
       ORDER BY t.repository, t.repository_id LIMIT ${STEP}`,
    ).bind(...after),
  async act(slice, rows, after) {
    const row = rows.find(({ purging }) => purging === 1);
    const last = row ?? rows.at(-1);
    if (!last) return null;
    if (row?.alive === 1) {
      noteProblem(slice.report, `the trash says that ${row.repository} was deleted, and it is there: nothing of it is purged`);
    } else if (row && !(await purgeRepository(slice, row))) return after;
    return row || rows.length === STEP ? [last.repository, last.repository_id] : null;
  },
};

/** Nothing goes of a repository that is there, or can come back: a condition on id ?1. */
const PURGING = `NOT EXISTS (SELECT 1 FROM repositories WHERE id = ?1)
  AND EXISTS (SELECT 1 FROM trash WHERE repository_id = ?1 AND kind = 'repository' AND purging = 1)`;

const holds = ([table, , rows]: (typeof TABLES)[number]) => `EXISTS (SELECT 1 FROM ${table} WHERE ${rows})`;

/** A step of it; `true` once nothing is left. */
async function purgeRepository(slice: Slice, { repository_id: id, repository }: Row): Promise<boolean> {
  const { env } = slice;
  const columns = TABLES.map((table) => `${holds(table)} AS ${table[0]}`);
  const [held] = await read<Record<string, number>>(slice, env.DB.prepare(`SELECT ${columns.join(', ')}`).bind(id));
  let taken = 0;
  for (const table of TABLES.filter(([name]) => held?.[name] === 1)) {
    taken += await purgeFrom(slice, id, table);
    if (taken >= CHUNK) return false;
  }
  await write(slice, [
    refuseUnless(env, [PURGING, ...TABLES.map((table) => `NOT ${holds(table)}`)].join(' AND '), id),
    ...SINGLES.map((table) => env.DB.prepare(`DELETE FROM ${table} WHERE repository_id = ?1`).bind(id)),
    env.DB.prepare("DELETE FROM trash WHERE repository_id = ?1 AND kind = 'repository'").bind(id),
    // Its links stand under an id of no namespace from here on, and no index finds them by it.
    recountLimited(env, organizationAbout(repository)),
    ...slice.also(id),
  ]);
  return true;
}

/** How many rows went. Documents of their own become tombstones in the same batch. */
async function purgeFrom(slice: Slice, id: number, [table, key, rows]: (typeof TABLES)[number]): Promise<number> {
  const chunk = `SELECT ${key} FROM ${table} WHERE ${rows} ORDER BY ${key} LIMIT ${CHUNK}`;
  const tombstones = slice.env.DB.prepare(
    `INSERT INTO tombstones (object_key, made_at) SELECT object_key, unixepoch() FROM ${table}
     WHERE repository_id = ?1 AND digest IN (${chunk}) AND object_key > '' AND ${PURGING} ON CONFLICT DO NOTHING`,
  );
  const counted = slice.env.DB.prepare(
    `UPDATE usage SET bytes = bytes - coalesce((SELECT sum(size) FROM ${table}
       WHERE repository_id = ?1 AND digest IN (${chunk}) AND ${PURGING}), 0)
     WHERE namespace = ${namespaceById('?1')} AND namespace <> '' AND max_bytes IS NOT NULL`,
  );
  const results = await write(slice, [
    ...(table.endsWith('manifests') ? [tombstones.bind(id), counted.bind(id)] : []),
    slice.env.DB.prepare(`DELETE FROM ${table} WHERE repository_id = ?1 AND (${key}) IN (${chunk}) AND ${PURGING}`).bind(id),
  ]);
  return results?.at(-1)?.meta.changes ?? 0;
}
