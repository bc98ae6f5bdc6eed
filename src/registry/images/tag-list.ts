/**
 * Lists the tags of a repository and the manifests that they name, filtered and sorted. A page takes one query. Sorting by
 * version takes a second query, which reads the names of all tags.
 */
import type { Database } from '../../events/batch.ts';
import { type Parameters, prepare } from '../../events/sql.ts';
import { HEX_MAX, SUFFIXES } from '../../oci/attachment.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { byVersion, isBehind } from '../../oci/version-order.ts';
import type { TagOrder } from '../../vocabulary/images.ts';
import { ATTACHED_TAGS_MAX, SCANNED_TAGS_MAX, SORTED_VERSIONS_MAX } from '../../vocabulary/images.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { isImmutable, MUTABILITY_RULE, mutabilityOf } from '../tags/mutability.ts';
import { FACTS, type FactsRow, factsOf, type ManifestFacts } from './facts.ts';
import { lastTagging, type Tagging, taggingOf } from './tagging.ts';

/** A position in a list of tags, for every sort order. */
export interface TagPlace {
  /** In seconds since the epoch. */
  pushedAt: number;
  tag: string;
}

interface TagListQuery {
  /** False: without the tags of signatures and attestations (`attachedTo`). */
  attached: boolean;
  /** A part of the tag's name, in upper or lower case. The empty string matches all tags. */
  filter: string;
  sort: TagOrder;
  /** The position after which the page begins, or `null` for the first page. */
  after: TagPlace | null;
  limit: number;
}

export interface ListedTag extends TagPlace {
  tag: Tag;
  digest: Digest;
  /** `null` if the document of the manifest is missing. */
  image: ManifestFacts | null;
  immutable: boolean;
  /** The change that made the tag name its digest. `null` if the tag history does not have the change. */
  tagged: Tagging | null;
  /** Other tags that name the same digest, the first ones by name. */
  sameAs: Tag[];
}

interface TagPage {
  items: ListedTag[];
  /**
   * The place where the next page begins. `null` at the end of the list. A page may be short before the end, because tags are
   * left out.
   */
  next: TagPlace | null;
  /** Tags of signatures and attestations in the repository, counted up to `ATTACHED_TAGS_MAX`. */
  attached: number;
}

/** The maximum number of tags in `sameAs`. */
const SAME_MAX = 10;

/** @throws repository-unknown, too-much-work if there are too many tags to sort by version */
export async function listTagDetails(env: Database, repository: RepositoryName, query: TagListQuery): Promise<TagPage> {
  const { sort } = query;
  return sort === 'version' ? listByVersion(env, repository, query) : listInOrder(env, repository, { ...query, sort });
}

/**
 * SQL of each sort order that an index serves: the condition on the tags after a position, the ORDER BY terms, and the position
 * at which the first page begins.
 */
const ORDERS = {
  newest: {
    from: 'tags t INDEXED BY tags_by_time',
    behind: '(t.updated_at, t.name) < (:time, :name)',
    order: (t: string) => `${t}.updated_at DESC, ${t}.name DESC`,
    start: { pushedAt: Number.MAX_SAFE_INTEGER, tag: '' },
  },
  oldest: {
    from: 'tags t INDEXED BY tags_by_time',
    behind: '(t.updated_at, t.name) > (:time, :name)',
    order: (t: string) => `${t}.updated_at, ${t}.name`,
    start: { pushedAt: -1, tag: '' },
  },
  name: {
    from: 'tags t',
    behind: ':time IS NOT NULL AND t.name > :name',
    order: (t: string) => `${t}.name`,
    start: { pushedAt: 0, tag: '' },
  },
} as const;

const texts = (all: readonly string[]) => all.map((text) => `'${text}'`).join(', ');
/** The name of the algorithm and the dash, which come before the hex digits. */
const PREFIXES = ['sha256-', 'sha512-'] as const;
const START = PREFIXES[0].length;

/** SQL condition: `attachedTo` finds a digest in the name. D1 takes no pattern that is long enough. */
const IS_ATTACHED = `(substr(name, 1, ${START}) IN (${texts(PREFIXES)})
  AND substr(name, ${START + HEX_MAX + 1}) IN (${texts(SUFFIXES)})
  AND length(name) >= ${START + HEX_MAX} AND ltrim(substr(name, ${START + 1}, ${HEX_MAX}), '0123456789abcdef') = '')`;

/** SQL expression: the number of tags of signatures and attestations, counted up to `ATTACHED_TAGS_MAX`. */
const ATTACHED = `min(${ATTACHED_TAGS_MAX}, ${PREFIXES.map(
  (prefix) => `(SELECT count(*) FROM (SELECT name FROM tags WHERE repository_id = ${REPOSITORY_ID}
    AND name >= '${prefix}' AND name < '${prefix}g' LIMIT ${ATTACHED_TAGS_MAX}) WHERE ${IS_ATTACHED})`,
).join(' + ')})`;

const MATCHES = 'instr(lower(name), :filter) > 0';

/**
 * Returns SQL queries of a page. `hits` yields its tags. `rest` yields the position at which the search stopped early, or NULL.
 */
function pageIn(sort: keyof typeof ORDERS, { filter, attached }: TagListQuery): { hits: string; rest: string } {
  const { from, behind, order } = ORDERS[sort];
  const tags = `SELECT t.name, t.updated_at FROM ${from} WHERE t.repository_id = ${REPOSITORY_ID} AND ${behind}
    ORDER BY ${order('t')}`;
  if (filter === '' && attached) return { hits: `${tags} LIMIT :rows`, rest: 'NULL' };
  const matches = attached ? MATCHES : `${MATCHES} AND NOT ${IS_ATTACHED}`;
  const last = `${tags} LIMIT 1 OFFSET ${SCANNED_TAGS_MAX - 1}`;
  return {
    hits: `SELECT name, updated_at FROM (${tags} LIMIT ${SCANNED_TAGS_MAX}) WHERE ${matches} LIMIT :rows`,
    rest: `iif((SELECT count(*) FROM hits) < :rows, (SELECT json_array(updated_at, name) FROM (${last})), NULL)`,
  };
}

/**
 * SQL query: the tags of `hits` and their manifests. It yields no row for an unknown repository and one row without a tag for a
 * repository without tags, because of the LEFT JOINs.
 */
const detailsOf = (hits: string, rest: string) => `WITH hits AS MATERIALIZED (${hits})
  SELECT ${MUTABILITY_RULE} AS rule, ${rest} AS rest, ${ATTACHED} AS attached,
    t.name AS tag, t.digest, t.updated_at AS pushedAt,
    ${lastTagging('t.repository_id', 't.name')} AS tagged,
    (SELECT json_group_array(name) FROM (SELECT o.name FROM tags o INDEXED BY tags_by_digest
      WHERE o.repository_id = t.repository_id AND o.digest = t.digest AND o.name <> t.name LIMIT ${SAME_MAX})) AS sameAs,
    ${FACTS}
  FROM repositories r LEFT JOIN hits h LEFT JOIN tags t ON t.repository_id = r.id AND t.name = h.name
  LEFT JOIN manifests m ON m.repository_id = t.repository_id AND m.digest = t.digest AND m.object_key IS NOT ''
  WHERE r.name = :repository`;

interface Row extends Omit<FactsRow, 'mediaType'> {
  rule: string;
  rest: string | null;
  attached: number;
  tag: Tag | null;
  pushedAt: number;
  tagged: string | null;
  sameAs: string;
  mediaType: string | null;
}

async function listInOrder(
  env: Database,
  repository: RepositoryName,
  query: TagListQuery & { sort: keyof typeof ORDERS },
): Promise<TagPage> {
  const { filter, sort, after, limit } = query;
  const { order, start } = ORDERS[sort];
  const place = after ?? start;
  const { hits, rest } = pageIn(sort, query);
  const parameters = { time: place.pushedAt, name: place.tag, filter: lowered(filter), rows: limit + 1 };
  const rows = await read(env, repository, `${detailsOf(hits, rest)} ORDER BY ${order('h')}`, parameters);
  const [first] = rows;
  const attached = first?.attached ?? 0;
  const all = rows.flatMap(tagOf);
  const items = all.slice(0, limit);
  if (all.length > limit) return { items, next: placeOf(items.at(-1)), attached };
  return { items, next: first?.rest ? placeIn(first.rest) : null, attached };
}

/** Lowers ASCII letters only, as SQLite's lower() does. Tags contain no other letters. */
function lowered(filter: string): string {
  return filter.replaceAll(/[A-Z]+/g, (text) => text.toLowerCase());
}

async function read(env: Database, repository: RepositoryName, sql: string, parameters: Parameters): Promise<Row[]> {
  const { results } = await prepare(env, sql, { ...parameters, repository }).all<Row>();
  if (results.length === 0) throw new Refusal('repository-unknown');
  return results;
}

function placeOf(item: TagPlace | undefined): TagPlace | null {
  return item === undefined ? null : { pushedAt: item.pushedAt, tag: item.tag };
}

function placeIn(rest: string): TagPlace {
  const [pushedAt, tag] = JSON.parse(rest) as [number, string];
  return { pushedAt, tag };
}

function tagOf({ rule, rest: _, attached: __, tag, pushedAt, tagged, sameAs, mediaType, ...row }: Row): ListedTag[] {
  if (tag === null) return [];
  return [
    {
      tag,
      digest: row.digest,
      pushedAt,
      image: mediaType === null ? null : factsOf({ ...row, mediaType }),
      immutable: isImmutable(mutabilityOf(rule), tag),
      tagged: taggingOf(tagged),
      sameAs: JSON.parse(sameAs) as Tag[],
    },
  ];
}

/** Lists tags by version, the highest first. Tags that are no versions follow, by name. */
async function listByVersion(
  env: Database,
  repository: RepositoryName,
  { attached, filter, after, limit }: TagListQuery,
): Promise<TagPage> {
  const names = await namesMatching(env, repository, { attached, filter: lowered(filter) });
  const sorted = byVersion(names);
  const from = after === null ? 0 : sorted.findIndex((name) => isBehind(name, after.tag));
  const page = from < 0 ? [] : sorted.slice(from, from + limit);
  const rows = await read(env, repository, detailsOf('SELECT value AS name FROM json_each(:names)', 'NULL'), { names: page });
  const found = new Map(rows.flatMap(tagOf).map((item) => [item.tag as string, item]));
  const items = page.flatMap((name) => found.get(name) ?? []);
  const next = from >= 0 && from + limit < sorted.length ? placeOf(items.at(-1)) : null;
  return { items, next, attached: rows[0]?.attached ?? 0 };
}

/** @throws repository-unknown, too-much-work */
async function namesMatching(
  env: Database,
  repository: RepositoryName,
  { attached, filter }: Pick<TagListQuery, 'attached' | 'filter'>,
): Promise<string[]> {
  const { results } = await prepare(
    env,
    `SELECT t.name, u.tags FROM repositories r LEFT JOIN repository_usage u ON u.repository_id = r.id LEFT JOIN (
       SELECT repository_id, name FROM (SELECT repository_id, name FROM tags WHERE repository_id = ${REPOSITORY_ID}
         LIMIT ${SCANNED_TAGS_MAX}) ${attached ? '' : `WHERE NOT ${IS_ATTACHED}`} LIMIT ${SORTED_VERSIONS_MAX + 1}) t
     WHERE r.name = :repository`,
    { repository },
  ).all<{ name: string | null; tags: number | null }>();
  const [first] = results;
  if (first === undefined) throw new Refusal('repository-unknown');
  if (results.length > SORTED_VERSIONS_MAX || (first.tags ?? 0) > SCANNED_TAGS_MAX) {
    throw new Refusal('too-much-work', {
      message: `up to ${SORTED_VERSIONS_MAX} tags can be sorted by version, and this repository has more: sort by name or time`,
    });
  }
  return results.flatMap(({ name }) => (name?.toLowerCase().includes(filter) ? name : []));
}
