/** Lists the trash of a repository, and the deleted repositories. */
import { type Env, settings, type Vars } from '../../env.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { type Page, pageOf } from '../../oci/page.ts';
import { Refusal } from '../../vocabulary/refusal.ts';

type Stores = Pick<Env, 'DB'> & Vars;

const DAY = 24 * 60 * 60;

interface Deleted {
  /** The time of the deletion, in seconds since the epoch. */
  deletedAt: number;
  /** The subject of the user or robot who deleted the content, for example `user:alice`. */
  deletedBy: string;
  /** The lifecycle rule that deleted the content, or `null` if a user did. */
  reason: string | null;
  /**
   * The end of the retention time, in seconds since the epoch. The entry may be restorable somewhat longer, until the garbage
   * collector purges it.
   */
  restorableUntil: number;
}

export interface TrashEntry extends Deleted {
  kind: 'manifest' | 'tag';
  /** The name of the tag, or the digest of the manifest. */
  name: string;
  digest: Digest;
  /** The names of the tags that named the manifest. */
  tags: string[];
  /** The media type of the manifest, or `null` for a tag. */
  mediaType: string | null;
  size: number | null;
}

interface Row {
  deleted_at: number;
  actor: string;
  reason: string | null;
}

/**
 * Returns the time until which the trash keeps content that was deleted at `deletedAt`. Both times are in seconds since the
 * epoch.
 */
export function restorableUntil(env: Vars, deletedAt: number): number {
  return deletedAt + settings(env).trashDays * DAY;
}

function deletedOf(env: Vars, { deleted_at, actor, reason }: Row): Deleted {
  return { deletedAt: deleted_at, deletedBy: actor, reason, restorableUntil: restorableUntil(env, deleted_at) };
}

/**
 * Returns a page of the trash: first the manifests by digest, then the tags by name.
 * @param after the last entry of the previous page
 * @throws repository-unknown
 */
export async function listTrash(
  env: Stores,
  repository: RepositoryName,
  { after, limit }: { after: { kind: string; name: string }; limit: number },
): Promise<Page<TrashEntry>> {
  const { results } = await prepare(
    env,
    `SELECT e.kind, e.name, coalesce(e.digest, e.name) AS digest, e.tags, t.media_type, t.size, e.deleted_at, e.actor, e.reason
     FROM repositories r LEFT JOIN trash e ON e.repository_id = r.id AND (e.kind, e.name) > (:kind, :name)
       AND e.kind IN ('manifest', 'tag') AND NOT e.purging
     LEFT JOIN trashed_manifests t ON e.kind = 'manifest' AND t.repository_id = r.id AND t.digest = e.name
     WHERE r.name = :repository ORDER BY e.kind, e.name LIMIT :rows`,
    { repository, kind: after.kind, name: after.name, rows: limit + 1 },
  ).all<
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

/** Returns `null` if the trash of the repository has no such entry. */
export async function findEntry(
  env: Pick<Env, 'DB'>,
  repository: RepositoryName,
  kind: TrashEntry['kind'],
  name: string,
): Promise<{ repositoryId: number; kind: TrashEntry['kind']; name: string } | null> {
  const repositoryId = await prepare(
    env,
    `SELECT r.id FROM repositories r JOIN trash e ON e.repository_id = r.id AND e.kind = :kind AND e.name = :name
     WHERE r.name = :repository`,
    { repository, kind, name },
  ).first<number>('id');
  return repositoryId === null ? null : { repositoryId, kind, name };
}

export interface DeletedRepository extends Deleted {
  entry: number;
  name: RepositoryName;
}

/**
 * A position in the list of deleted repositories. Several of them may have the same name, so the position also has the id of
 * the entry.
 */
interface TrashCursor {
  name: string;
  entry: number;
}

interface DeletedPage extends Page<DeletedRepository> {
  /**
   * The cursor of the next page if filling this page took too long. It may contain the name of a repository that the caller may
   * not see, so callers get it encrypted. `null` if the next page begins after the last item.
   */
  stoppedAt: TrashCursor | null;
}

/**
 * The maximum number of rounds, and of rows in each round after the first. They limit the cost of a request from a caller who
 * may see only a few of the repositories.
 */
const ROUNDS = 8;
const CHUNK = 2000;

/**
 * Returns a page of the deleted repositories that can be restored, sorted by name. For each prefix, reads only as many index
 * entries as the page needs.
 * @param reach prefixes of names ('' for all names) and names. They may include more than the caller may see
 * @param isShown returns true if the caller may see the repository, or `null` if this request cannot find out. In that case the
 * page ends before that repository
 */
export async function listDeletedRepositories(
  env: Stores,
  { after, limit }: { after: TrashCursor; limit: number },
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
      if (shown === null && found.length <= limit) return { items: found, more: true, stoppedAt: rows[n - 1] ?? from };
      if (shown) found.push(row);
    }
    if (found.length > limit || rows.length < size) return { ...pageOf(found, limit), stoppedAt: null };
    from = rows.at(-1) ?? from;
  }
  return { items: found, more: true, stoppedAt: from };
}

async function deletedAfter(
  env: Stores,
  after: TrashCursor,
  limit: number,
  { prefixes, names }: { prefixes: string[]; names: string[] },
): Promise<DeletedRepository[]> {
  const next = (range: string) => `(SELECT json_group_array(repository_id) FROM (
    SELECT repository_id FROM trash INDEXED BY trash_of_repositories WHERE kind = 'repository' AND NOT purging AND ${range}
      AND (repository > :name OR repository_id > :entry) ORDER BY repository, repository_id LIMIT :limit))`;
  const { results } = await prepare(
    env,
    `SELECT e.repository_id, e.repository, e.deleted_at, e.actor, e.reason FROM (
       SELECT ${next('repository >= max(p.value, :name) AND repository < p.value || char(1114111)')} AS ids
         FROM json_each(:prefixes) p
       UNION ALL SELECT ${next('repository = n.value AND repository >= :name')} FROM json_each(:names) n) found
     CROSS JOIN json_each(found.ids) i
     CROSS JOIN trash e ON e.repository_id = i.value AND e.kind = 'repository' AND e.name = ''
     GROUP BY e.repository_id ORDER BY e.repository, e.repository_id LIMIT :limit`,
    { ...after, prefixes, names, limit },
  ).all<Row & { repository_id: number; repository: RepositoryName }>();
  return results.map(({ repository_id, repository, ...row }) => ({
    entry: repository_id,
    name: repository,
    ...deletedOf(env, row),
  }));
}
