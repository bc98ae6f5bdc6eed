/** What lists say of a manifest: its kind, size, platforms and last pull. Read from its row and from the document in it. */
import type { Digest } from '../../oci/digest.ts';
import { isIndexMediaType, MANIFEST_MEDIA_TYPES } from '../../oci/manifest.ts';

/** What a manifest is for: `artifact` is an image manifest whose config is not that of a container image. */
export type ImageKind = 'image' | 'index' | 'artifact';

/** One image of an index. A field is `null` if the index does not state it. */
export interface Platform {
  os: string | null;
  architecture: string | null;
  variant: string | null;
  osVersion: string | null;
  digest: Digest;
  /** Bytes of its config and layers; `null`: not known. */
  size: number | null;
}

export interface ManifestFacts {
  mediaType: string;
  kind: ImageKind;
  /** The document's own type, otherwise the media type of its config; `null`: it has neither. */
  artifactType: string | null;
  /** Bytes of the document. */
  manifestSize: number;
  /** Bytes of config and layers; of an index the sum of its platforms; `null`: not known. */
  size: number | null;
  /** `null`: not known, as the document is too long for lists, or as the config of an image was not read yet. */
  platforms: Platform[] | null;
  /** Entries of an index that are no platforms: attestations of BuildKit, and `unknown/unknown`. */
  attestations: number;
  /** Days since the epoch; `null`: never. */
  lastPulledOn: number | null;
  /** Manifests whose subject this is, counted up to `REFERRERS_MAX`. */
  referrers: number;
}

/** Referrers that lists count. */
export const REFERRERS_MAX = 100;

/** Entries of an index that lists look at. Each is a row, and somebody can push an index of thousands. */
export const ENTRIES_MAX = 64;

/** Characters of a platform's field that lists show: an index may state any text. */
const FIELD_MAX = 64;

const quoted = (texts: readonly string[]) => texts.map((text) => `'${text}'`).join(', ');
/** The media types of indexes, as a list for SQL. */
export const INDEX_TYPES = quoted(MANIFEST_MEDIA_TYPES.filter(isIndexMediaType));

/** SQL: whether the descriptor is of a layer that registries do not store. */
export const isForeign = (descriptor: string) => `${descriptor} ->> 'mediaType' GLOB '*.nondistributable.v1.tar*'
  OR ${descriptor} ->> 'mediaType' GLOB '*.rootfs.foreign.diff.tar*'`;

/** SQL on manifest `m`: the digests and sizes of the blobs that the document in its row references, each once. */
export const partsOf = (
  m: string,
) => `SELECT ${m}.content ->> '$.config.digest' AS digest, ${m}.content ->> '$.config.size' AS size
  UNION SELECT value ->> 'digest', value ->> 'size' FROM json_each(${m}.content, '$.layers') 
    WHERE NOT (${isForeign('value')})
  UNION SELECT value ->> 'digest', value ->> 'size' FROM json_each(${m}.content, '$.manifests')
    WHERE value ->> 'mediaType' NOT IN (${quoted(MANIFEST_MEDIA_TYPES)})`;

/**
 * SQL on manifest `m`: bytes of the blobs that it references. Computed for rows that an earlier version wrote; NULL if their
 * document is not in the row.
 */
export const contentSize = (m: string) => `coalesce(${m}.content_size, (
    SELECT CAST(min(total(size), ${Number.MAX_SAFE_INTEGER}) AS INTEGER) FROM (${partsOf(m)})
    WHERE digest IS NOT NULL AND ${m}.content IS NOT NULL HAVING ${m}.content IS NOT NULL))`;

const field = (name: string) => `substr(value ->> '$.platform.${name}', 1, ${FIELD_MAX})`;

/** SQL on manifest `m`: the first entries of an index as JSON, each with the size of its image. NULL for other manifests. */
const ENTRIES = `CASE WHEN m.media_type IN (${INDEX_TYPES}) AND m.content IS NOT NULL THEN (
  SELECT json_group_array(json_array(x.digest, x.os, x.architecture, x.variant, x.version, x.attests,
      iif(x.attests, NULL, ${contentSize('c')})))
  FROM (SELECT *, is_attestation OR (os = 'unknown' AND architecture = 'unknown') AS attests FROM (
    SELECT value ->> 'digest' AS digest, ${field('os')} AS os, ${field('architecture')} AS architecture,
      ${field('variant')} AS variant, ${field('"os.version"')} AS version,
      value ->> '$.annotations."vnd.docker.reference.type"' IS NOT NULL AS is_attestation
    FROM json_each(m.content, '$.manifests') LIMIT ${ENTRIES_MAX})) x
  LEFT JOIN manifests c ON NOT x.attests AND c.repository_id = m.repository_id AND c.digest = x.digest) END`;

/** SQL columns of a `FactsRow` on manifest `m`. */
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

/** The config media types of container images. '' stands for a manifest that has no config media type. */
const IMAGE_CONFIGS = ['', 'application/vnd.oci.image.config.v1+json', 'application/vnd.docker.container.image.v1+json'];

export function kindOf(mediaType: string, artifactType: string): ImageKind {
  if (isIndexMediaType(mediaType)) return 'index';
  return IMAGE_CONFIGS.includes(artifactType) ? 'image' : 'artifact';
}

/** @param text `linux/arm64/v8` */
export function platformOf(text: string): Omit<Platform, 'digest' | 'size'> {
  const [os = '', architecture = '', variant = ''] = text.split('/');
  return { os: os || null, architecture: architecture || null, variant: variant || null, osVersion: null };
}
