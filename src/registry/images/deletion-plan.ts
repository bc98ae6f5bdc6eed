/** Previews deletions: which tags and manifests a deletion would remove, and how many bytes it would free. */
import type { Env, Vars } from '../../env.ts';
import { type Database, newBatch } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import { type Digest, digestOf } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Tag } from '../../oci/reference.ts';
import { Refusal } from '../../vocabulary/refusal.ts';
import { referencesIn } from '../manifests/deletion.ts';
import type { ReferencingManifest } from '../manifests/drop.ts';
import {
  type AttachedLevel,
  absent,
  findAttached,
  HOLDERS,
  IS_HELD,
  type NamedContent,
  requireShortDocuments,
} from '../manifests/named-deletion.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { type DeletedTag, tagsNamed, tagsNaming } from '../tags/changes.ts';
import { isImmutable, MUTABILITY_RULE, mutabilityOf } from '../tags/mutability.ts';

type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'> & Vars;

export interface DeletionPlan {
  /** The tags to delete: the tags that the caller named, and the tags of the manifests to delete. */
  tags: (DeletedTag & { immutable: boolean })[];
  /** The tags of signatures, attestations and SBOMs to delete together with their image. */
  attached: DeletedTag[];
  manifests: { digest: Digest; mediaType: string; size: number }[];
  /**
   * The manifests that the caller named but that cannot be deleted, because a manifest that is not to be deleted references
   * them.
   */
  referenced: { digest: Digest; referencedBy: Digest }[];
  /** The number of bytes that the repository no longer contains after the deletion, once the trash is emptied. */
  bytes: number;
  /** The part of `bytes` that no other repository contains. */
  freedBytes: number;
  /** The ETag of the plan. The caller sends it back to delete exactly what the plan says. */
  etag: string;
}

/**
 * The maximum number of rounds of the search for orphans. A round finds manifests that only manifests of the round before
 * reference: images of an index, then signatures of these images.
 */
const ROUNDS = 4;
/** The maximum number of orphans that one round finds. */
const ORPHANS_MAX = 200;

/**
 * SQL query: the orphans of one round. These are manifests that a manifest of `:frontier` lists, whose subject is such a
 * manifest, or that a tag of `:named` names. No other tag or manifest needs them, and they are not in `:gone`.
 */
const ORPHANS = `SELECT d.value FROM (
    SELECT c.value ->> 'digest' AS value FROM json_each(:frontier) f
      CROSS JOIN manifests p ON p.repository_id = ${REPOSITORY_ID} AND p.digest = f.value
      CROSS JOIN json_each(p.content, '$.manifests') c
    UNION SELECT s.digest FROM json_each(:frontier) f
      CROSS JOIN manifests s INDEXED BY manifests_by_subject ON s.repository_id = ${REPOSITORY_ID} AND s.subject = f.value
    UNION SELECT t.digest FROM json_each(:named) n
      CROSS JOIN tags t ON t.repository_id = ${REPOSITORY_ID} AND t.name = n.value) d
  CROSS JOIN manifests m ON m.repository_id = ${REPOSITORY_ID} AND m.digest = d.value
  WHERE d.value NOT IN (SELECT value FROM json_each(:gone)) AND NOT ${IS_HELD} LIMIT ${ORPHANS_MAX + 1}`;

/**
 * Finds the orphans of a deletion: the manifests that nothing needs once the given tags and manifests are deleted. These are
 * images of a deleted tag, images of an index, and signatures whose subject is one of them. The images of an index whose
 * document is too long for D1 are not found.
 */
export async function orphansOf(
  env: Database,
  repository: RepositoryName,
  { tags, digests }: Pick<NamedContent, 'tags' | 'digests'>,
): Promise<Digest[]> {
  const gone = new Set(digests);
  let frontier = digests;
  for (let round = 0; round < ROUNDS; round++) {
    const parameters = { repository, frontier, named: tags, gone: [...gone] };
    const { results } = await prepare(env, ORPHANS, parameters).all<{ value: Digest }>();
    frontier = results.map(({ value }) => value).filter((digest) => !gone.has(digest));
    if (frontier.length === 0) break;
    for (const digest of frontier) gone.add(digest);
    if (gone.size > ORPHANS_MAX) break;
  }
  return [...gone].slice(digests.length);
}

/** Returns the plan of a deletion. Nothing is changed. @throws manifest-unknown if a named tag or manifest does not exist */
export async function planDeletion(env: Stores, repository: RepositoryName, named: NamedContent): Promise<DeletionPlan> {
  const { tags, manifests, missing, referenced, rule } = await readNamed(env, repository, named);
  if (missing.length > 0) throw new Refusal('manifest-unknown', absent(missing));
  await requireShortDocuments(env, repository, named.digests);
  const references = named.digests.length === 0 ? [] : await referencesIn(env, repository, named.digests);
  const levels = await findAttached(env, repository, named.digests);
  const below = await attachedThatGo(env, repository, { tags, manifests, levels });
  const going = [...manifests, ...below.manifests];
  const goingReferences = [...references, ...levels.flatMap((level) => level.manifests)].filter(({ digest }) =>
    going.some((manifest) => manifest.digest === digest),
  );
  const mutability = mutabilityOf(rule);
  return {
    tags: tags.map((tag) => ({ ...tag, immutable: isImmutable(mutability, tag.tag) })),
    attached: below.tags,
    manifests: going,
    referenced,
    ...(await bytesOf(env, repository, going, goingReferences)),
    etag: await etagOf(tags, [...going.map(({ digest }) => digest), ...below.tags.map(({ tag }) => tag)]),
  };
}

type ManifestRow = DeletionPlan['manifests'][number];

async function readNamed(env: Database, repository: RepositoryName, { tags, digests }: NamedContent) {
  const [ofNames, ofManifests] = [tagsNamed(tags, digests), tagsNaming(digests)];
  const parameters = { ...ofNames.parameters, repository };
  const batch = newBatch(env);
  const named = batch.query<DeletedTag>(
    `SELECT name AS tag, digest FROM (${ofNames.sql} UNION ALL ${ofManifests.sql}) ORDER BY name`,
    parameters,
  );
  const found = batch.query<ManifestRow>(
    `SELECT m.digest, m.media_type AS mediaType, m.size FROM json_each(:gone) d
     CROSS JOIN manifests m ON m.repository_id = ${REPOSITORY_ID} AND m.digest = d.value`,
    parameters,
  );
  const holders = batch.query<{ digest: Digest; referencedBy: Digest }>(
    `SELECT child AS digest, min(parent) AS referencedBy FROM (${HOLDERS}) GROUP BY child`,
    parameters,
  );
  const rules = batch.query<{ rule: string }>(`SELECT ${MUTABILITY_RULE} AS rule`, { repository });
  const results = await batch.commit();
  const [goingTags, manifests] = [results.of(named), results.of(found)];
  const known = new Set<string>([...goingTags.map(({ tag }) => tag), ...manifests.map(({ digest }) => digest)]);
  return {
    tags: goingTags,
    manifests,
    missing: [...tags, ...digests].filter((name) => !known.has(name)),
    referenced: results.of(holders),
    rule: results.first(rules)?.rule ?? '',
  };
}

interface Going {
  tags: DeletedTag[];
  manifests: ManifestRow[];
  levels: AttachedLevel[];
}

/**
 * Returns the tags attached to deleted manifests, which are deleted with them, and the manifests of these tags, unless other
 * content needs the manifests.
 */
async function attachedThatGo(
  env: Database,
  repository: RepositoryName,
  { tags, manifests, levels }: Going,
): Promise<Pick<Going, 'tags' | 'manifests'>> {
  const gone = new Set(manifests.map(({ digest }) => digest));
  const names = new Set<Tag>(tags.map(({ tag }) => tag));
  const found: Pick<Going, 'tags' | 'manifests'> = { tags: [], manifests: [] };
  for (const level of levels) {
    const going = level.tags.filter(({ tag, subject }) => gone.has(subject) && !names.has(tag));
    for (const { tag, digest } of going) {
      names.add(tag);
      found.tags.push({ tag, digest });
    }
    const { results } = await prepare(
      env,
      `SELECT m.digest, m.media_type AS mediaType, m.size FROM json_each(:candidates) d
       CROSS JOIN manifests m ON m.repository_id = ${REPOSITORY_ID} AND m.digest = d.value WHERE NOT ${IS_HELD}`,
      {
        ...{ repository, named: [...names], gone: [...gone] },
        candidates: level.manifests.map(({ digest }) => digest).filter((digest) => !gone.has(digest)),
      },
    ).all<ManifestRow>();
    found.manifests.push(...results);
    for (const { digest } of results) gone.add(digest);
  }
  return found;
}

/** The maximum number of digests in one SQL parameter. D1 accepts parameters of up to 2 MB. */
const CHILDREN_MAX = 10_000;

/** Returns the number of bytes of the manifests and of the blobs that only they reference in the repository. */
async function bytesOf(
  env: Database,
  repository: RepositoryName,
  manifests: ManifestRow[],
  references: ReferencingManifest[],
): Promise<{ bytes: number; freedBytes: number }> {
  const documents = manifests.reduce((sum, { size }) => sum + size, 0);
  const gone = manifests.map(({ digest }) => digest);
  const children = [...new Set(references.flatMap((manifest) => manifest.references))];
  const sums = { bytes: documents, freedBytes: documents };
  for (let from = 0; from < children.length; from += CHILDREN_MAX) {
    const row = await prepare(env, BYTES, {
      ...{ repository, gone },
      children: children.slice(from, from + CHILDREN_MAX),
    }).first<{ bytes: number; freed: number }>();
    sums.bytes += row?.bytes ?? 0;
    sums.freedBytes += row?.freed ?? 0;
  }
  return sums;
}

/**
 * SQL query: `bytes`, the bytes of the blobs in `:children` that no manifest outside `:gone` references, and `freed`, the part
 * of these bytes that no other repository contains.
 */
const BYTES = `SELECT coalesce(sum(size), 0) AS bytes, coalesce(sum(size) FILTER (WHERE NOT is_shared), 0) AS freed FROM (
    SELECT b.size, EXISTS (SELECT 1 FROM repository_blobs o WHERE o.digest = b.digest AND o.repository_id <> ${REPOSITORY_ID})
        AS is_shared
    FROM json_each(:children) c CROSS JOIN blobs b ON b.digest = c.value
    CROSS JOIN repository_blobs l ON l.digest = b.digest AND l.repository_id = ${REPOSITORY_ID}
    WHERE NOT EXISTS (SELECT 1 FROM manifest_references x WHERE x.repository_id = ${REPOSITORY_ID} AND x.child = b.digest
      AND x.parent NOT IN (SELECT value FROM json_each(:gone))))`;

/** Returns an ETag that is the same for plans with the same tags and manifests. */
async function etagOf(tags: DeletedTag[], names: string[]): Promise<string> {
  const listed = [...tags.map(({ tag, digest }) => `${tag} ${digest}`), ...names].sort();
  return `"${(await digestOf('sha256', new TextEncoder().encode(listed.join('\n')))).slice(7, 39)}"`;
}
