/**
 * Describes one image completely: its platforms, config, layers, annotations and referrers, and how much of it other images of
 * its repository share.
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
import { MUTABILITY_RULE, mutabilityOf, mutabilityOfTag, type TagMutability } from '../tags/mutability.ts';
import { type Blob, type ImageDocument, platformInConfig, readDocument } from './document.ts';
import { contentSize, type Platform, platformOf } from './facts.ts';
import { IMAGE, type ImageRow, imageOf, type ListedImage } from './image-list.ts';
import { bytesAloneIn, found, indexSums, type SharedPart, sharing } from './sharing.ts';

type Stores = Pick<Env, 'DB' | 'EVENTS' | 'BLOBS'>;

export interface Image extends ListedImage {
  annotations: Record<string, string>;
  config: Blob | null;
  /** `sharedBy`: manifests of the repository with the layer, this one included, up to `sharedMax`; `null`: not counted. */
  layers: (Blob & { sharedBy: number | null })[];
  /** Manifests that are counted for a layer: few for an image of many layers, and up to `SHARED_MAX`. */
  sharedMax: number;
  /**
   * The number of bytes of all blobs, each counted once. For an index, this includes the blobs of its images. `null` if there
   * are too many to count.
   */
  bytesInAll: number | null;
  /** The part of `bytesInAll` that no other manifest of the repository references. */
  bytesAlone: number | null;
  /** The first referrers. */
  referrerList: { digest: Digest; artifactType: string; mediaType: string; size: number }[];
  attestationList: { digest: Digest; about: string | null }[];
  /** True if a part of the document was left out or shortened. */
  truncated: boolean;
}

/** An image with the details of its page in the web console: the text of the config, and the tags attached to the image. */
export interface WholeImage extends Image {
  /**
   * The text of the config. `null` if the image has no config, the config is longer than `CONFIG_MAX_BYTES`, or its R2 object
   * is missing.
   */
  configText: string | null;
  /** Tags of signatures, attestations and SBOMs whose name contains the digest of the image, such as `sha256-….sig`. */
  attachedTags: { tag: Tag; digest: Digest }[];
  /** Whether the tag by which the image was found is immutable. `null` if the image was found by digest. */
  mutability: TagMutability | null;
}

const REFERRERS_SHOWN = 20;

/** SQL expression: the digest to which `:reference` (a tag or a digest) refers. */
function digestSql({ tag }: Reference): string {
  return tag === undefined
    ? ':reference'
    : `(SELECT digest FROM tags WHERE repository_id = ${REPOSITORY_ID} AND name = :reference)`;
}

const REFERRERS = (digest: string) => `SELECT digest, artifact_type AS artifactType, media_type AS mediaType, size
  FROM manifests INDEXED BY manifests_by_subject WHERE repository_id = ${REPOSITORY_ID} AND subject = ${digest}
  ORDER BY artifact_type, digest LIMIT ${REFERRERS_SHOWN}`;

/** SQL query: the tags attached to a manifest. The name of such a tag is the manifest's digest (64 hex digits) and a suffix. */
const attachedTo = (digest: string) => `SELECT t.name AS tag, t.digest
  FROM (VALUES (''), ('.att'), ('.sbom'), ('.sig')) s CROSS JOIN tags t ON t.repository_id = ${REPOSITORY_ID}
  AND t.name = replace(substr(${digest}, 1, 71), ':', '-') || s.column1`;

/**
 * The maximum number of bytes of a config from which the platform is read. The config of an ordinary image has a few thousand
 * bytes.
 */
const PLATFORM_MAX_BYTES = 256 * 1024;

/** SQL expression on manifest `m`: the R2 key of its config, or NULL if the config is longer than `max` bytes. */
const configKey = (max: number) => `(SELECT b.object_key FROM repository_blobs l
  CROSS JOIN blobs b ON b.digest = l.digest AND b.missing_since IS NULL AND b.size <= ${max}
  WHERE l.digest = m.content ->> '$.config.digest' AND l.repository_id = m.repository_id)`;

/** SQL expression on manifest `m`: the R2 key of its config if the platform of the image is unknown, otherwise NULL. */
const CONFIG_KEY = `iif(m.platform IS NULL, ${configKey(PLATFORM_MAX_BYTES)}, NULL)`;

/** @throws manifest-unknown */
export async function describeImage(
  env: Stores,
  repository: RepositoryName,
  reference: Reference,
  work: Background,
): Promise<Image> {
  const {
    configText: _,
    attachedTags: __,
    mutability: ___,
    ...image
  } = await describe(env, repository, reference, { work, isWhole: false });
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

/** Describes an image. If the platform of the image is unknown, reads it from the config and stores it for lists. */
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
  const shared = batch.query<SharedPart>(sharing(digest), parameters);
  const sums = batch.query<{ inAll: number | null; alone: number | null }>(indexSums(digest), parameters);
  const referrers = batch.query<Image['referrerList'][number]>(REFERRERS(digest), parameters);
  const attached = isWhole ? batch.query<WholeImage['attachedTags'][number]>(attachedTo(digest), parameters) : null;
  const rule = isWhole ? batch.query<{ rule: string }>(`SELECT ${MUTABILITY_RULE} AS rule`, { repository }) : null;
  const results = await batch.commit();
  const row = results.first(image);
  const text = row && (row.content ?? (await readText(env, row.objectKey ?? '')));
  if (!row || text === null) throw unknownManifest(repository, reference);
  const document = readDocument(text);
  const parts = results.of(shared);
  const sharedBy = new Map(parts.map((part) => [part.digest, part.sharedBy]));
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
    sharedMax: parts[0]?.most ?? SHARED_MAX,
    ...(listed.kind === 'index' ? bytesOfIndex(results.first(sums)) : bytesOfImage(listed, parts)),
    referrerList: results.of(referrers),
    attestationList: document.entries.filter(({ attests }) => attests).map(({ digest, about }) => ({ digest, about })),
    truncated: document.truncated,
    configText,
    attachedTags: attached === null ? [] : results.of(attached),
    mutability: tagMutability(reference, rule && results.first(rule)),
  };
}

function tagMutability({ tag }: Reference, row: { rule: string } | null): TagMutability | null {
  return tag === undefined || row === null ? null : mutabilityOfTag(mutabilityOf(row.rule), tag);
}

type Bytes = Pick<Image, 'bytesInAll' | 'bytesAlone'>;

function bytesOfIndex(sums: { inAll: number | null; alone: number | null } | null): Bytes {
  return sums ? { bytesInAll: sums.inAll, bytesAlone: sums.alone ?? 0 } : { bytesInAll: null, bytesAlone: null };
}

function bytesOfImage({ size }: ListedImage, parts: readonly SharedPart[]): Bytes {
  return { bytesInAll: size, bytesAlone: size !== null && parts.length === 0 && size > 0 ? null : bytesAloneIn(parts) };
}

/** Adds the platforms of an index whose document is too long for lists. */
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

/** Adds the platform of an image. Adds its size too if the document is too long for lists. */
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
