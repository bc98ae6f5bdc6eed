/**
 * The facts about a manifest that lists show: kind, size, platforms and last pull. SQL reads them from the manifest's row and
 * from the document in the row.
 */
import type { Digest } from '../../oci/digest.ts';
import { isIndexMediaType, MANIFEST_MEDIA_TYPES } from '../../oci/manifest.ts';

/** The kind of a manifest. An `artifact` is an image manifest whose config is not the config of a container image. */
export type ImageKind = 'image' | 'index' | 'artifact';

/** One image of an index. A field is `null` if the index does not state it. */
export interface Platform {
  os: string | null;
  architecture: string | null;
  variant: string | null;
  osVersion: string | null;
  digest: Digest;
  /** The number of bytes of the image's config and layers, or `null` if unknown. */
  size: number | null;
}

export interface ManifestFacts {
  mediaType: string;
  kind: ImageKind;
  /** The `artifactType` of the document, otherwise the media type of its config, otherwise `null`. */
  artifactType: string | null;
  /** The number of bytes of the document. */
  manifestSize: number;
  /** The number of bytes of config and layers. For an index, the sum of its images. `null` if unknown. */
  size: number | null;
  /** `null` if the platforms are unknown: the document is too long for lists, or the image's config was not read yet. */
  platforms: Platform[] | null;
  /**
   * The number of entries of an index that are attestations and not images: BuildKit's attestations, and entries with the
   * platform `unknown/unknown`.
   */
  attestations: number;
  /** The day of the last pull, in days since the epoch, or `null` if there was none. */
  lastPulledOn: number | null;
  /** The number of manifests whose subject is this manifest, counted up to `REFERRERS_MAX`. */
  referrers: number;
}

/** The number up to which lists count the referrers of a manifest. */
export const REFERRERS_MAX = 100;

/**
 * The maximum number of entries of an index that lists read. Each entry costs a row, and clients can push an index with
 * thousands of entries.
 */
export const ENTRIES_MAX = 64;

/** The maximum number of characters of a platform field in lists. An index may state any text. */
const FIELD_MAX = 64;

const quoted = (texts: readonly string[]) => texts.map((text) => `'${text}'`).join(', ');
/** The media types of indexes, as a list for SQL. */
export const INDEX_TYPES = quoted(MANIFEST_MEDIA_TYPES.filter(isIndexMediaType));

/** SQL condition: the descriptor is of a layer that registries do not store. */
export const isForeign = (descriptor: string) => `${descriptor} ->> 'mediaType' GLOB '*.nondistributable.v1.tar*'
  OR ${descriptor} ->> 'mediaType' GLOB '*.rootfs.foreign.diff.tar*'`;

/** SQL query on manifest `m`: the digest and size of each blob that the document in its row references. */
export const partsOf = (
  m: string,
  union: 'UNION' | 'UNION ALL' = 'UNION',
) => `SELECT ${m}.content ->> '$.config.digest' AS digest, ${m}.content ->> '$.config.size' AS size
  ${union} SELECT value ->> 'digest', value ->> 'size' FROM json_each(${m}.content, '$.layers')
    WHERE NOT (${isForeign('value')})
  ${union} SELECT value ->> 'digest', value ->> 'size' FROM json_each(${m}.content, '$.manifests')
    WHERE value ->> 'mediaType' NOT IN (${quoted(MANIFEST_MEDIA_TYPES)})`;

/**
 * SQL expression on manifest `m`: the bytes of the blobs that it references. It is stored with the row; for rows of earlier
 * versions it is computed from the document. It is NULL if the document is in R2.
 */
export const contentSize = (m: string) => `coalesce(${m}.content_size, (
    SELECT CAST(min(total(size), ${Number.MAX_SAFE_INTEGER}) AS INTEGER) FROM (${partsOf(m)})
    WHERE digest IS NOT NULL AND ${m}.content IS NOT NULL HAVING ${m}.content IS NOT NULL))`;

const field = (name: string) => `substr(value ->> '$.platform.${name}', 1, ${FIELD_MAX})`;

/**
 * SQL expression on manifest `m`: the first entries of an index as JSON, each with the size of its image. NULL if `m` is no
 * index.
 */
const ENTRIES = `CASE WHEN m.media_type IN (${INDEX_TYPES}) AND m.content IS NOT NULL THEN (
  SELECT json_group_array(json_array(x.digest, x.os, x.architecture, x.variant, x.version, x.attests,
      iif(x.attests, NULL, ${contentSize('c')})))
  FROM (SELECT *, is_attestation OR (os = 'unknown' AND architecture = 'unknown') AS attests FROM (
    SELECT value ->> 'digest' AS digest, ${field('os')} AS os, ${field('architecture')} AS architecture,
      ${field('variant')} AS variant, ${field('"os.version"')} AS version,
      value ->> '$.annotations."vnd.docker.reference.type"' IS NOT NULL AS is_attestation
    FROM json_each(m.content, '$.manifests') LIMIT ${ENTRIES_MAX})) x
  LEFT JOIN manifests c ON NOT x.attests AND c.repository_id = m.repository_id AND c.digest = x.digest) END`;

/** SQL columns on manifest `m` that make up a `FactsRow`. */
export const FACTS = `m.media_type AS mediaType, m.artifact_type AS artifactType, m.size AS manifestSize,
  ${contentSize('m')} AS contentSize, m.platform, json_array_length(m.content, '$.manifests') AS listed, ${ENTRIES} AS entries,
  (SELECT max(u.day) FROM pulls u WHERE u.repository_id = m.repository_id AND u.digest = m.digest) AS lastPulledOn,
  (SELECT count(*) FROM (SELECT 1 FROM manifests s INDEXED BY manifests_by_subject
    WHERE s.repository_id = m.repository_id AND s.subject = m.digest LIMIT ${REFERRERS_MAX})) AS referrers`;

type Entry = [
  digest: Digest,
  os: string | null,
  architecture: string | null,
  variant: string | null,
  osVersion: string | null,
  attests: number,
  size: number | null,
];

export interface FactsRow {
  digest: Digest;
  mediaType: string;
  artifactType: string;
  manifestSize: number;
  contentSize: number | null;
  platform: string | null;
  listed: number | null;
  entries: string | null;
  lastPulledOn: number | null;
  referrers: number;
}

export function factsOf(row: FactsRow): ManifestFacts {
  const kind = kindOf(row.mediaType, row.artifactType);
  return {
    mediaType: row.mediaType,
    kind,
    artifactType: row.artifactType || null,
    manifestSize: row.manifestSize,
    ...(kind === 'index' ? indexFacts(row) : imageFacts(row)),
    lastPulledOn: row.lastPulledOn,
    referrers: row.referrers,
  };
}

type Sized = Pick<ManifestFacts, 'size' | 'platforms' | 'attestations'>;

function imageFacts({ digest, contentSize: size, platform }: FactsRow): Sized {
  return { size, platforms: platform === null ? null : [{ ...platformOf(platform), digest, size }], attestations: 0 };
}

function indexFacts({ contentSize: own, entries: text, listed }: FactsRow): Sized {
  const entries = text === null ? [] : (JSON.parse(text) as Entry[]);
  if (text === null || (listed ?? 0) > entries.length) return { size: null, platforms: null, attestations: 0 };
  const platforms = entries
    .filter(([, , , , , attests]) => attests === 0)
    .map(([digest, os, architecture, variant, osVersion, , size]) => ({
      ...{ os, architecture, variant, osVersion },
      ...{ digest, size },
    }));
  const sizes = [own, ...platforms.map(({ size }) => size)];
  const size = sizes.includes(null) ? null : sizes.reduce<number>((sum, one) => sum + (one ?? 0), 0);
  return { size, platforms, attestations: entries.length - platforms.length };
}

/** The config media types of container images. The empty string stands for a manifest without a config media type. */
const IMAGE_CONFIGS = ['', 'application/vnd.oci.image.config.v1+json', 'application/vnd.docker.container.image.v1+json'];

export function kindOf(mediaType: string, artifactType: string): ImageKind {
  if (isIndexMediaType(mediaType)) return 'index';
  return IMAGE_CONFIGS.includes(artifactType) ? 'image' : 'artifact';
}

/** Parses a platform. @param text for example `linux/arm64/v8` */
export function platformOf(text: string): Omit<Platform, 'digest' | 'size'> {
  const [os = '', architecture = '', variant = ''] = text.split('/');
  return { os: os || null, architecture: architecture || null, variant: variant || null, osVersion: null };
}
