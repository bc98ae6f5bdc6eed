/** Finds images that a client names by their digest, by a tag, or by both, up to a hundred in one query. */
import { type Env, settings, type Vars } from '../../env.ts';
import { type Database, newBatch } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { readText } from '../../storage/objects.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { MUTABILITY_RULE } from '../tags/mutability.ts';

/** An image as a client names it. At least one of the two is not `null`. */
export interface ImageName {
  digest: Digest | null;
  tag: Tag | null;
}

export interface FoundImage extends ImageName {
  digest: Digest;
  mediaType: string;
  /** The number of bytes of the document. */
  size: number;
}

/** `absent`: there is no such image or tag. `mismatch`: the tag exists, and names another image than the digest. */
export type Found<T> = T | 'absent' | 'mismatch';

interface NamedRow {
  tagged: Digest | null;
  digest: Digest | null;
  mediaType: string;
  size: number;
}

/** SQL: for each name in `:names`, in their order, the digest of its tag and the columns of its manifest `m`. */
const named = (columns: string) => `SELECT t.digest AS tagged, m.digest, m.media_type AS mediaType, m.size ${columns}
  FROM repositories r LEFT JOIN json_each(:names) j
  LEFT JOIN tags t ON t.repository_id = r.id AND t.name = j.value ->> 'tag'
  LEFT JOIN manifests m ON m.repository_id = r.id AND m.digest = coalesce(j.value ->> 'digest', t.digest)
    AND m.object_key IS NOT ''
  WHERE r.name = :repository ORDER BY j.key`;

/** @returns one entry for each name, in their order. @throws repository-unknown */
export function findImages(env: Database, repository: RepositoryName, names: ImageName[]): Promise<Found<FoundImage>[]> {
  return find<NamedRow, FoundImage>(env, repository, { names, columns: '' }, ({ mediaType, size }) => ({ mediaType, size }));
}

interface Finding {
  names: ImageName[];
  /** SQL text: further columns, each after a comma. */
  columns: string;
}

async function find<Row extends NamedRow, Item extends ImageName>(
  env: Database,
  repository: RepositoryName,
  { names, columns }: Finding,
  itemOf: (row: Row) => Omit<Item, 'digest' | 'tag'>,
): Promise<Found<Item>[]> {
  const { results } = await prepare(env, named(columns), { repository, names }).all<Row>();
  if (results.length === 0) throw new Refusal('repository-unknown');
  return names.map(({ digest, tag }, n) => {
    const row = results[n];
    if (!row || (tag !== null && row.tagged === null)) return 'absent';
    if (tag !== null && digest !== null && row.tagged !== digest) return 'mismatch';
    return row.digest === null ? 'absent' : ({ digest: row.digest, tag, ...itemOf(row) } as Item);
  });
}

/** The maximum number of tags of an image that one deletion reads. */
export const DELETED_TAGS_MAX = 1000;

/** The maximum number of images of one deletion. So an image with more references than this is referenced by one that stays. */
const DELETED_MAX = 100;

/** An image that a client wants to delete. */
export interface DeletableImage extends ImageName {
  digest: Digest;
  /** The names of its tags, at most `DELETED_TAGS_MAX` + 1. */
  tags: Tag[];
  /** Manifests that reference it, at most `DELETED_MAX` + 1. */
  parents: Digest[];
  /** The rule on immutable tags of the repository (`tags/mutability.ts`). */
  rule: string;
}

/** @returns one entry for each name, in their order. @throws repository-unknown */
export function findDeletable(env: Database, repository: RepositoryName, names: ImageName[]): Promise<Found<DeletableImage>[]> {
  const columns = `, ${MUTABILITY_RULE} AS rule,
    (SELECT json_group_array(name) FROM (SELECT o.name FROM tags o INDEXED BY tags_by_digest
      WHERE o.repository_id = m.repository_id AND o.digest = m.digest LIMIT ${DELETED_TAGS_MAX + 1})) AS tags,
    (SELECT json_group_array(parent) FROM (SELECT x.parent FROM manifest_references x
      WHERE x.repository_id = m.repository_id AND x.child = m.digest LIMIT ${DELETED_MAX + 1})) AS parents`;
  type Row = NamedRow & { rule: string | null; tags: string; parents: string };
  return find<Row, DeletableImage>(env, repository, { names, columns }, ({ rule, tags, parents }) => ({
    rule: rule ?? '',
    tags: JSON.parse(tags) as Tag[],
    parents: JSON.parse(parents) as Digest[],
  }));
}

interface StoredDocument {
  digest: Digest;
  content: string | null;
  objectKey: string | null;
}

/**
 * Reads the documents of manifests. Leaves out those that do not exist.
 * @param leased the manifests that the client will not push again because they exist. They get a lease (invariant 8)
 */
export async function readDocuments(
  env: Database & Pick<Env, 'BLOBS'> & Vars,
  repository: RepositoryName,
  digests: Digest[],
  leased: Digest[],
): Promise<Map<Digest, string>> {
  const batch = newBatch(env);
  if (leased.length > 0) {
    batch.run(
      `UPDATE manifests SET leased_until = unixepoch() + :lease WHERE repository_id = ${REPOSITORY_ID}
       AND digest IN (SELECT value FROM json_each(:leased)) AND leased_until < unixepoch() + :lease / 2`,
      { repository, leased, lease: settings(env).leaseSeconds },
    );
  }
  const stored = batch.query<StoredDocument>(
    `SELECT m.digest, m.content, m.object_key AS objectKey FROM json_each(:digests) d
     CROSS JOIN manifests m ON m.repository_id = ${REPOSITORY_ID} AND m.digest = d.value AND m.object_key IS NOT ''`,
    { repository, digests },
  );
  const documents = new Map<Digest, string>();
  // One after the other: several long documents at once could use up the memory of the isolate.
  for (const { digest, content, objectKey } of (await batch.commit()).of(stored)) {
    const text = content ?? (await readText(env, objectKey ?? ''));
    if (text !== null) documents.set(digest, text);
  }
  return documents;
}
