/**
 * What lies in the trash for long enough is taken away for good. Of a tag and a manifest at once; of a repository first the way
 * back is closed, then its content goes in slices (`purge-repository.ts`). What a manifest pointed at is swept after it.
 */
import { settings } from '../../env.ts';
import { type Database, tryBatch } from '../../events/batch.ts';
import { type Actor, REGISTRY } from '../../events/event.ts';
import { record } from '../../events/outbox.ts';
import type { Digest } from '../../oci/digest.ts';
import { balanceManifests } from '../usage/balance.ts';
import type { Key } from './passes.ts';
import { type Phase, type Slice, write } from './slice.ts';

export interface TrashEntry {
  repositoryId: number;
  kind: 'tag' | 'manifest' | 'repository';
  /** The tag, the manifest's digest, or empty. */
  name: string;
}

/** Entries of one kind and one repository. */
interface Entries {
  repositoryId: number;
  kind: TrashEntry['kind'];
  names: string[];
  /** What the event is about: see `aboutOf`. */
  about: string;
}

interface Row {
  deleted_at: number;
  repository_id: number;
  kind: TrashEntry['kind'];
  name: string;
  repository: string;
  gone: number;
}

const DAY = 24 * 60 * 60;
const STEP = 50;
/** Of them, those of so many repositories and kinds, as each takes a batch. */
const MAX_BATCHES = 4;

/** Whether it is not there under the name any more: another one may have that, now or later. */
const GONE = 'NOT EXISTS (SELECT 1 FROM repositories r WHERE r.id = t.repository_id) AS gone';

/** On a row `t`: it is of ?3 and ?4, named in ?5, older than ?6 seconds, and not being purged already. */
const CHOSEN = `t.repository_id = ?3 AND t.kind = ?4 AND t.name IN (SELECT value FROM json_each(?5))
  AND t.deleted_at <= unixepoch() - ?6 AND t.purging = 0`;

/** Those whose days are over, the oldest first. */
export const TRASH: Phase<Row> = {
  start: [0, 0, '', ''],
  look(env, after) {
    const { trashDays, deletion } = settings(env);
    if (!deletion) return null;
    return env.DB.prepare(
      `SELECT t.deleted_at, t.repository_id, t.kind, t.name, t.repository, ${GONE} FROM trash t
       WHERE t.deleted_at <= unixepoch() - ?1 AND (t.deleted_at, t.repository_id, t.kind, t.name) > (?2, ?3, ?4, ?5)
       ORDER BY t.deleted_at, t.repository_id, t.kind, t.name LIMIT ${STEP}`,
    ).bind(trashDays * DAY, ...after);
  },
  async act(slice, rows) {
    const { trashDays } = settings(slice.env);
    const { groups, taken } = grouped(rows);
    for (const group of groups) await purgeDue(slice, group, trashDays * DAY);
    const last = taken.at(-1);
    return last && (taken.length < rows.length || rows.length === STEP) ? keyOf(last) : null;
  },
};

function keyOf({ deleted_at, repository_id, kind, name }: Row): Key {
  return [deleted_at, repository_id, kind, name];
}

/** As many from the beginning as `MAX_BATCHES` are enough for. */
function grouped(rows: Row[]): { groups: Entries[]; taken: Row[] } {
  const groups = new Map<string, Entries>();
  const taken: Row[] = [];
  for (const row of rows) {
    const id = `${row.repository_id} ${row.kind}`;
    const group = groups.get(id) ?? { repositoryId: row.repository_id, kind: row.kind, names: [], about: aboutOf(row) };
    if (!groups.has(id) && groups.size === MAX_BATCHES) break;
    group.names.push(row.name);
    groups.set(id, group);
    taken.push(row);
  }
  return { groups: [...groups.values()], taken };
}

/** Its repository's name; where that was deleted its organization, as another one that has the name, now or later, is not to hear of it. */
function aboutOf({ repository, gone }: Pick<Row, 'repository' | 'gone'>): string {
  if (gone === 0) return repository;
  return repository.includes('/') ? `organization:${repository.split('/', 1)[0]}` : '';
}

async function purgeDue(slice: Slice, entries: Entries, age: number): Promise<void> {
  const results = await write(slice, purgeStatements(slice.env, entries, age, REGISTRY));
  slice.report.purged += results?.at(-1)?.results.length ?? 0;
}

/** Asks for each whether it is there still; the last statement answers those that were. */
function purgeStatements(env: Database, { repositoryId, kind, names, about }: Entries, age: number, by: Actor) {
  const chosen = [repositoryId, kind, JSON.stringify(names), age];
  const bound = (sql: string) => env.DB.prepare(sql).bind(null, null, ...chosen);
  const event = record(env, {
    about,
    by,
    select: `SELECT 'trash.purged' AS type, iif(?1 = t.repository, json_object('kind', t.kind, 'name', t.name),
        json_object('kind', t.kind, 'name', t.name, 'repository', t.repository)) AS target FROM trash t WHERE ${CHOSEN}`,
    parameters: chosen,
  });
  if (kind === 'repository') {
    return [event, bound(`UPDATE trash AS t SET purging = 1 WHERE ${CHOSEN} RETURNING name`)];
  }
  const counter = balanceManifests(env, { sql: '?1', parameter: repositoryId }, names as Digest[]);
  const bytes = [
    counter.before,
    bound(
      `INSERT INTO tombstones (object_key, made_at) SELECT m.object_key, unixepoch() FROM trashed_manifests m
       WHERE m.repository_id = ?3 AND m.digest IN (SELECT t.name FROM trash t WHERE ${CHOSEN}) AND m.object_key > '' ON CONFLICT DO NOTHING`,
    ),
    bound(`DELETE FROM trashed_manifests WHERE repository_id = ?3 AND digest IN (SELECT t.name FROM trash t WHERE ${CHOSEN})`),
    counter.after,
  ];
  return [event, ...(kind === 'manifest' ? bytes : []), bound(`DELETE FROM trash AS t WHERE ${CHOSEN} RETURNING name`)];
}

/**
 * Takes an entry away before its days are over; `false` where it is not there. From then on it cannot be restored. What only it
 * held goes with the next pass of the collector.
 */
export async function purgeEntry(env: Database, { repositoryId, kind, name }: TrashEntry, by: Actor): Promise<boolean> {
  const row = await env.DB.prepare(
    `SELECT t.repository, ${GONE} FROM trash t WHERE t.repository_id = ?1 AND t.kind = ?2 AND t.name = ?3`,
  )
    .bind(repositoryId, kind, name)
    .first<Pick<Row, 'repository' | 'gone'>>();
  if (!row) return false;
  const results = await tryBatch(env, purgeStatements(env, { repositoryId, kind, names: [name], about: aboutOf(row) }, 0, by));
  return (results?.at(-1)?.results.length ?? 0) > 0;
}
