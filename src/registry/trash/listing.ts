/** What lies in the trash: of a repository, and repositories themselves. */
import { type Env, settings, type Vars } from '../../env.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { type Page, pageOf } from '../../oci/page.ts';
import { Refusal } from '../../vocabulary/refusal.ts';

type Stores = Pick<Env, 'DB'> & Vars;

const DAY = 24 * 60 * 60;

interface Deleted {
  /** Seconds since the epoch. */
  deletedAt: number;
  /** A subject. */
  deletedBy: string;
  /** The rule that took it, `null` where somebody did. */
  reason: string | null;
  /** What is past it is still restored as long as it is there. */
  restorableUntil: number;
}

export interface TrashEntry extends Deleted {
  kind: 'manifest' | 'tag';
  /** The tag, or the manifest's digest. */
  name: string;
  digest: Digest;
  /** Those that named a manifest. */
  tags: string[];
  /** `null` of a tag. */
  mediaType: string | null;
  size: number | null;
}

interface Row {
  deleted_at: number;
  actor: string;
  reason: string | null;
}

function deletedOf(env: Vars, { deleted_at, actor, reason }: Row): Deleted {
  const restorableUntil = deleted_at + settings(env).trashDays * DAY;
  return { deletedAt: deleted_at, deletedBy: actor, reason, restorableUntil };
}

/** Manifests by digest, then tags by name. @param after the entry that the page before ended with @throws repository-unknown */
export async function listTrash(
  env: Stores,
  repository: RepositoryName,
  { after, limit }: { after: { kind: string; name: string }; limit: number },
): Promise<Page<TrashEntry>> {
  const { results } = await env.DB.prepare(
    `SELECT e.kind, e.name, coalesce(e.digest, e.name) AS digest, e.tags, t.media_type, t.size, e.deleted_at, e.actor, e.reason
     FROM repositories r LEFT JOIN trash e ON e.repository_id = r.id AND (e.kind, e.name) > (?2, ?3) 
       AND e.kind IN ('manifest', 'tag') AND NOT e.purging
     LEFT JOIN trashed_manifests t ON e.kind = 'manifest' AND t.repository_id = r.id AND t.digest = e.name
     WHERE r.name = ?1 ORDER BY e.kind, e.name LIMIT ?4`,
  )
    .bind(repository, after.kind, after.name, limit + 1)
    .all<
      Row & { kind: TrashEntry['kind'] | null; name: string; digest: Digest; tags: string; media_type: string; size: number }
    >();
  if (results.length === 0) throw new Refusal('repository-unknown');
  const found = results.flatMap(({ kind, ...row }) => (kind === null ? [] : { kind, ...row }));
  const { items, more } = pageOf(found, limit);
  const shown = items.map(({ kind, name, digest, tags, media_type, size, ...row }) => ({
    ...{ kind, name, digest, tags: JSON.parse(tags) as string[], mediaType: media_type, size },
    ...deletedOf(env, row),
  }));
  return { items: shown, more };
}

/** `null` where it is not in the trash of the repository. */
export async function findEntry(
  env: Pick<Env, 'DB'>,
  repository: RepositoryName,
  kind: TrashEntry['kind'],
  name: string,
): Promise<{ repositoryId: number; kind: TrashEntry['kind']; name: string } | null> {
  const repositoryId = await env.DB.prepare(
    `SELECT r.id FROM repositories r JOIN trash e ON e.repository_id = r.id AND e.kind = ?2 AND e.name = ?3 WHERE r.name = ?1`,
  )
    .bind(repository, kind, name)
    .first<number>('id');
  return repositoryId === null ? null : { repositoryId, kind, name };
}

export interface DeletedRepository extends Deleted {
  entry: number;
  name: RepositoryName;
}

/** Where in the list of deleted repositories a page begins: of one name there may be several. */
export interface Place {
  name: string;
  entry: number;
}

export interface DeletedPage extends Page<DeletedRepository> {
  /** Where it broke off, as it was taking too long: a name that whoever asks may not see. `null`: with its last item. */
  brokeOff: Place | null;
}

/** Goes, and rows of each that follows the first: what one request may cost where most is hidden from whoever asks. */
const ROUNDS = 8;
const CHUNK = 2000;

/**
 * By name, of those that can be restored. Reads each prefix by the index and no further than the page goes.
 * @param reach where to look: beginnings of names, '' for all, and names; a superset
 * @param isShown whether whoever asks may know of it; what is hidden is not named. `null`: to find that out is for another request
 */
export async function listDeletedRepositories(
  env: Stores,
  { after, limit }: { after: Place; limit: number },
  reach: { prefixes: string[]; names: string[] },
  isShown: (name: RepositoryName) => boolean | null,
): Promise<DeletedPage> {
  const found: DeletedRepository[] = [];
  let from = after;
  for (let round = 0; round < ROUNDS; round++) {
    const size = round === 0 ? limit + 1 : Math.max(limit + 1, CHUNK);
    const rows = await deletedAfter(env, from, size, reach);
    for (const [n, row] of rows.entries()) {
      const shown = isShown(row.name);
      if (shown === null && found.length <= limit) return { items: found, more: true, brokeOff: rows[n - 1] ?? from };
      if (shown) found.push(row);
    }
    if (found.length > limit || rows.length < size) return { ...pageOf(found, limit), brokeOff: null };
    from = rows.at(-1) ?? from;
  }
  return { items: found, more: true, brokeOff: from };
}

async function deletedAfter(
  env: Stores,
  after: Place,
  limit: number,
  { prefixes, names }: { prefixes: string[]; names: string[] },
): Promise<DeletedRepository[]> {
  const next = (range: string) => `(SELECT json_group_array(repository_id) FROM (
    SELECT repository_id FROM trash INDEXED BY trash_of_repositories WHERE kind = 'repository' AND NOT purging AND ${range}
      AND (repository > ?1 OR repository_id > ?2) ORDER BY repository, repository_id LIMIT ?5))`;
  const { results } = await env.DB.prepare(
    `SELECT e.repository_id, e.repository, e.deleted_at, e.actor, e.reason FROM (
       SELECT ${next('repository >= max(p.value, ?1) AND repository < p.value || char(1114111)')} AS ids FROM json_each(?3) p
       UNION ALL SELECT ${next('repository = n.value AND repository >= ?1')} FROM json_each(?4) n) found
     CROSS JOIN json_each(found.ids) i
     CROSS JOIN trash e ON e.repository_id = i.value AND e.kind = 'repository' AND e.name = ''
     GROUP BY e.repository_id ORDER BY e.repository, e.repository_id LIMIT ?5`,
  )
    .bind(after.name, after.entry, JSON.stringify(prefixes), JSON.stringify(names), limit)
    .all<Row & { repository_id: number; repository: RepositoryName }>();
  return results.map(({ repository_id, repository, ...row }) => ({
    entry: repository_id,
    name: repository,
    ...deletedOf(env, row),
  }));
}
