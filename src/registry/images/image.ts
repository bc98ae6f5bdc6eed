/**
 * One image in full: its platforms, config, layers and annotations, what it shares within its repository, and its referrers.
 */
import type { Env } from '../../env.ts';
import { type Background, newBatch } from '../../events/batch.ts';
import { prepare } from '../../events/sql.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/name.ts';
import type { Reference, Tag } from '../../oci/reference.ts';
import { readText } from '../../storage/objects.ts';
import { CONFIG_MAX_BYTES, SHARED_MAX } from '../../vocabulary/images.ts';
import { unknownManifest } from '../manifests/manifests.ts';
import { REPOSITORY_ID } from '../repositories/repositories.ts';
import { type Blob, type ImageDocument, platformInConfig, readDocument } from './document.ts';
import { contentSize, type Platform, platformOf } from './facts.ts';
import { IMAGE, type ImageRow, imageOf, type ListedImage } from './image-list.ts';

type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'>;

export interface Image extends ListedImage {
  annotations: Record<string, string>;
  config: Blob | null;
  /** `sharedBy`: manifests of the repository with the layer, this one included, up to `SHARED_MAX`; `null`: not counted. */
  layers: (Blob & { sharedBy: number | null })[];
  /** Bytes of all blobs, those of listed images included, each once; `null`: too many to count. */
  bytesInAll: number | null;
  /** Those of them that no other manifest of the repository references. */
  bytesAlone: number | null;
  /** The first ones. */
  referrerList: { digest: Digest; artifactType: string; mediaType: string; size: number }[];
  attestationList: { digest: Digest; about: string | null }[];
  /** True if something of the document was left out or cut. */
  truncated: boolean;
}

/** An image with what its page shows besides: the config as text, and what is attached by a tag. */
export interface WholeImage extends Image {
  /** `null`: there is none, it is longer than `CONFIG_MAX_BYTES`, or its object is missing. */
  configText: string | null;
  /** Signatures, attestations and SBOMs that a tag attaches, like `sha256-….sig`. */
  attachedTags: { tag: Tag; digest: Digest }[];
}

/** Layers whose sharing is counted: each takes some rows. */
const COUNTED_LAYERS_MAX = 100;
/** Images of an index, and blobs of an image, whose bytes are summed. */
const SUMMED_IMAGES_MAX = 64;
const SUMMED_BLOBS_MAX = 1000;
const REFERRERS_SHOWN = 20;

/** SQL: the digest that `:reference` names. */
function digestSql({ tag }: Reference): string {
  return tag === undefined
    ? ':reference'
    : `(SELECT digest FROM tags WHERE repository_id = ${REPOSITORY_ID} AND name = :reference)`;
}

const found = (digest: string) => `FROM manifests m WHERE m.repository_id = ${REPOSITORY_ID} AND m.digest = ${digest}
  AND m.object_key IS NOT ''`;

/** SQL: layers with the number of manifests that have them. */
const sharing = (digest: string) => `SELECT l.digest, (SELECT count(*) FROM (SELECT 1 FROM manifest_references x
    WHERE x.repository_id = ${REPOSITORY_ID} AND x.child = l.digest LIMIT ${SHARED_MAX})) AS sharedBy
  FROM (SELECT DISTINCT value ->> 'digest' AS digest
    FROM (SELECT m.content ${found(digest)}) c, json_each(c.content, '$.layers')
    LIMIT ${COUNTED_LAYERS_MAX}) l`;

/**
 * SQL: `inAll`, the bytes of all blobs of a manifest and of the manifests that it lists, and `alone`, the bytes of those blobs
 * that no other manifest needs. There is no row if the manifests or blobs are too many to count, or if a document is in R2.
 */
const sums = (digest: string) => `WITH own AS MATERIALIZED (
    SELECT m.digest ${found(digest)}
    UNION SELECT value ->> 'digest' FROM (SELECT m.content ${found(digest)}) c, json_each(c.content, '$.manifests')
    LIMIT ${SUMMED_IMAGES_MAX + 1}),
  parts AS MATERIALIZED (
    SELECT DISTINCT j.value AS digest FROM own
    CROSS JOIN manifests p ON p.repository_id = ${REPOSITORY_ID} AND p.digest = own.digest
    CROSS JOIN json_each((SELECT json_group_array(d) FROM (
      SELECT p.content ->> '$.config.digest' AS d
      UNION ALL SELECT value ->> 'digest' FROM json_each(p.content, '$.layers')
      UNION ALL SELECT value ->> 'digest' FROM json_each(p.content, '$.manifests')) WHERE d IS NOT NULL)) j
    LIMIT ${SUMMED_BLOBS_MAX + 1})
  SELECT sum(size) AS inAll, sum(size) FILTER (WHERE alone) AS alone FROM (
    SELECT b.size, NOT EXISTS (SELECT 1 FROM manifest_references x WHERE x.repository_id = l.repository_id
      AND x.child = b.digest AND x.parent NOT IN (SELECT digest FROM own)) AS alone
    FROM parts CROSS JOIN blobs b ON b.digest = parts.digest
    CROSS JOIN repository_blobs l ON l.digest = b.digest AND l.repository_id = ${REPOSITORY_ID})
  WHERE (SELECT count(*) FROM own) <= ${SUMMED_IMAGES_MAX} AND (SELECT count(*) FROM parts) <= ${SUMMED_BLOBS_MAX}
    AND NOT EXISTS (SELECT 1 FROM own CROSS JOIN manifests p ON p.repository_id = ${REPOSITORY_ID} AND p.digest = own.digest
      WHERE p.content IS NULL)
  HAVING count(*) > 0`;

const REFERRERS = (digest: string) => `SELECT digest, artifact_type AS artifactType, media_type AS mediaType, size
  FROM manifests INDEXED BY manifests_by_subject WHERE repository_id = ${REPOSITORY_ID} AND subject = ${digest}
  ORDER BY artifact_type, digest LIMIT ${REFERRERS_SHOWN}`;

/** SQL: the tags that attach something to the manifest. Their names end after 64 hex digits of its digest. */
const attachedTo = (digest: string) => `SELECT t.name AS tag, t.digest
  FROM (VALUES (''), ('.att'), ('.sbom'), ('.sig')) s CROSS JOIN tags t ON t.repository_id = ${REPOSITORY_ID}
  AND t.name = replace(substr(${digest}, 1, 71), ':', '-') || s.column1`;

/** Bytes of a config that is read. That of an ordinary image has a few thousand. */
const PLATFORM_MAX_BYTES = 256 * 1024;

/** SQL on manifest `m`: the object of its config, if that is not longer than `max` bytes. */
const configKey = (max: number) => `(SELECT b.object_key FROM repository_blobs l
  CROSS JOIN blobs b ON b.digest = l.digest AND b.missing_since IS NULL AND b.size <= ${max}
  WHERE l.digest = m.content ->> '$.config.digest' AND l.repository_id = m.repository_id)`;

/** The config is read if the platform of the image is not known. */
const CONFIG_KEY = `iif(m.platform IS NULL, ${configKey(PLATFORM_MAX_BYTES)}, NULL)`;

/** @throws manifest-unknown */
export async function describeImage(
  env: Stores,
  repository: RepositoryName,
  reference: Reference,
  work: Background,
): Promise<Image> {
  const { configText: _, attachedTags: __, ...image } = await describe(env, repository, reference, { work, isWhole: false });
  return image;
}

/** @throws manifest-unknown */
export function describeWholeImage(
  env: Stores,
  repository: RepositoryName,
  reference: Reference,
  work: Background,
): Promise<WholeImage> {
  return describe(env, repository, reference, { work, isWhole: true });
}

/** The first time that an image without an index is described, its config is read, and its platform kept for lists. */
async function describe(
  env: Stores,
  repository: RepositoryName,
  reference: Reference,
  { work, isWhole }: { work: Background; isWhole: boolean },
): Promise<WholeImage> {
  const digest = digestSql(reference);
  const parameters = { repository, reference: reference.tag ?? reference.digest };
  const batch = newBatch(env);
  const image = batch.query<ImageRow & { content: string | null; objectKey: string | null; configKey: string | null }>(
    `SELECT ${IMAGE}, m.content, m.object_key AS objectKey,
       ${isWhole ? configKey(CONFIG_MAX_BYTES) : CONFIG_KEY} AS configKey
     ${found(digest)}`,
    parameters,
  );
  const shared = batch.query<{ digest: Digest; sharedBy: number }>(sharing(digest), parameters);
  const bytes = batch.query<{ inAll: number | null; alone: number | null }>(sums(digest), parameters);
  const referrers = batch.query<Image['referrerList'][number]>(REFERRERS(digest), parameters);
  const attached = isWhole ? batch.query<WholeImage['attachedTags'][number]>(attachedTo(digest), parameters) : null;
  const results = await batch.commit();
  const row = results.first(image);
  const text = row && (row.content ?? (await readText(env, row.objectKey ?? '')));
  if (!row || text === null) throw unknownManifest(repository, reference);
  const document = readDocument(text);
  const sharedBy = new Map(results.of(shared).map((layer) => [layer.digest, layer.sharedBy]));
  const sum = results.first(bytes);
  const listed = imageOf(row);
  const configText = listed.kind === 'index' || row.configKey === null ? null : await readText(env, row.configKey);
  const isNew = listed.kind === 'image' && row.platform === null && configText !== null;
  const platform = isNew ? platformInConfig(configText) : null;
  if (platform !== null) work.waitUntil(keepPlatform(env, repository, row.digest, platform));
  return {
    ...(listed.kind === 'index' ? await wholeIndex(env, repository, listed, document) : wholeImage(listed, document, platform)),
    annotations: document.annotations,
    config: document.config,
    layers: document.layers.map((layer) => ({ ...layer, sharedBy: sharedBy.get(layer.digest) ?? null })),
    bytesInAll: sum?.inAll ?? null,
    bytesAlone: sum ? (sum.alone ?? 0) : null,
    referrerList: results.of(referrers),
    attestationList: document.entries.filter(({ attests }) => attests).map(({ digest, about }) => ({ digest, about })),
    truncated: document.truncated,
    configText,
    attachedTags: attached === null ? [] : results.of(attached),
  };
}

/** Adds the platforms of an index that is too long for lists. */
async function wholeIndex(
  env: Stores,
  repository: RepositoryName,
  index: ListedImage,
  { entries }: ImageDocument,
): Promise<ListedImage> {
  if (index.platforms !== null) return index;
  const platforms = await platformsOf(env, repository, entries);
  return { ...index, platforms, attestations: entries.length - platforms.length };
}

/** Adds the platform of an image, and its size if it is too long for lists. */
function wholeImage(image: ListedImage, { config, layers }: ImageDocument, platform: string | null): ListedImage {
  const parts = new Map([...(config ? [config] : []), ...layers].map(({ digest, size }) => [digest, size]));
  const all = [...parts.values()].reduce((sum, one) => sum + one, 0);
  const size = image.size ?? Math.min(all, Number.MAX_SAFE_INTEGER);
  if (platform === null) return { ...image, size };
  return { ...image, size, platforms: [{ ...platformOf(platform), digest: image.digest, size }] };
}

async function platformsOf(env: Stores, repository: RepositoryName, entries: ImageDocument['entries']): Promise<Platform[]> {
  const listed = entries.filter(({ attests }) => !attests);
  const { results } = await prepare(
    env,
    `SELECT m.digest, ${contentSize('m')} AS size FROM json_each(:digests) d
     CROSS JOIN manifests m ON m.repository_id = ${REPOSITORY_ID} AND m.digest = d.value`,
    { repository, digests: listed.map(({ digest }) => digest) },
  ).all<{ digest: Digest; size: number | null }>();
  const sizes = new Map(results.map(({ digest, size }) => [digest, size]));
  return listed.map(({ attests: _, about: __, ...entry }) => ({ ...entry, size: sizes.get(entry.digest) ?? null }));
}

async function keepPlatform(
  env: Pick<Stores, 'DB'>,
  repository: RepositoryName,
  digest: Digest,
  platform: string,
): Promise<void> {
  await prepare(
    env,
    `UPDATE manifests SET platform = :platform
     WHERE repository_id = ${REPOSITORY_ID} AND digest = :digest AND platform IS NULL`,
    { repository, digest, platform },
  ).run();
}
