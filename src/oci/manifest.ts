/**
 * Manifests and indexes (image-spec manifest.md and image-index.md; Docker image manifest version 2, schema 2). Decides which
 * media types can be stored, whether a document is valid, and which content it references. This module does no I/O; callers
 * check whether the referenced content exists.
 */

import { Refusal } from '../vocabulary/refusal.ts';
import { type Digest, isDigest } from './digest.ts';
import { parseStrictJson } from './json.ts';

/**
 * The maximum number of bytes of a manifest. The specification asks for at least 4 MiB. The CPU time of parsing sets this
 * limit; D1 and R2 would allow more.
 */
export const MANIFEST_MAX_BYTES = 8 * 1024 * 1024;

export const INDEX_MEDIA_TYPE = 'application/vnd.oci.image.index.v1+json';

/**
 * The media types that are stored and served. A closed list prevents a client from making the registry serve a type that a
 * browser executes.
 */
const KINDS = {
  'application/vnd.oci.image.manifest.v1+json': 'image',
  'application/vnd.docker.distribution.manifest.v2+json': 'image',
  [INDEX_MEDIA_TYPE]: 'index',
  'application/vnd.docker.distribution.manifest.list.v2+json': 'index',
} as const;

type ManifestMediaType = keyof typeof KINDS;

export const MANIFEST_MEDIA_TYPES = Object.keys(KINDS) as ManifestMediaType[];

/**
 * The media types of layers that are stored outside the registry (image-spec: "non-distributable"; Docker: "foreign"). A
 * repository may lack such layers.
 */
const FOREIGN_LAYER = new RegExp(
  '^application/vnd\\.(?:oci\\.image\\.layer\\.nondistributable\\.v1|docker\\.image\\.rootfs\\.foreign\\.diff)' +
    '\\.tar(?:[.+](?:gzip|zstd))?$',
);

/** A media type has at most 127 ASCII characters on each side of the slash (RFC 6838, section 4.2). Parameters are allowed. */
const MEDIA_TYPE = /^[!-.0-:<-~]{1,127}\/[!-.0-:<-~]{1,127}(?:;[ -~]{0,255})?$/;

/**
 * The grammar of an artifact type. The specification requires a media type, but some clients send other texts. The length is
 * limited because the artifact type is part of a database index.
 */
const ARTIFACT_TYPE = /^[ -~]{0,255}$/;

/** A reference from a manifest to content in the same repository. */
export interface ManifestReference {
  digest: Digest;
  kind: 'blob' | 'manifest';
  /** False for a foreign layer, which the repository may lack. */
  required: boolean;
  /** The size that the descriptor states. If it is wrong, clients cannot pull the manifest, so the registry checks it. */
  size: number;
  mediaType: string;
}

export interface Manifest {
  mediaType: ManifestMediaType;
  /**
   * The type by which referrers are filtered. It is the document's own `artifactType`, otherwise the media type of an image's
   * config, otherwise `null`.
   */
  artifactType: string | null;
  subject: Digest | null;
  references: ManifestReference[];
  /** The document as received. Only valid UTF-8 is accepted, so encoding the text yields exactly the bytes that were sent. */
  text: string;
}

/**
 * Returns the sum of the sizes of the blobs that a manifest references, in bytes. Each blob counts once. Foreign layers do not
 * count, because they are stored elsewhere.
 */
export function contentSizeOf({ references }: Pick<Manifest, 'references'>): number {
  const blobs = references.filter(({ kind, required }) => kind === 'blob' && required);
  return Math.min(
    blobs.reduce((sum, { size }) => sum + size, 0),
    Number.MAX_SAFE_INTEGER,
  );
}

export function isManifestMediaType(text: string): text is ManifestMediaType {
  return Object.hasOwn(KINDS, text);
}

export function isIndexMediaType(text: string): boolean {
  return isManifestMediaType(text) && KINDS[text] === 'index';
}

/** Parses and checks a manifest. @throws manifest-invalid with a message that names the fault */
export function parseManifest(bytes: Uint8Array, contentType: string | null | undefined): Manifest {
  const mediaType = parseContentType(contentType);
  const { text, value } = parseDocument(bytes);
  const document = object(value, 'a manifest');
  if (document.schemaVersion === 1) invalid(withdrawn(SCHEMA_1) ?? '');
  const stated = optionalText(document.mediaType, 'mediaType');
  // This check precedes that of schemaVersion, because artifact manifests have no schemaVersion.
  const unsupported = withdrawn(stated ?? '');
  if (unsupported !== null) invalid(unsupported);
  if (document.schemaVersion !== 2) invalid('schemaVersion must be 2');
  if (stated !== null && stated !== mediaType) {
    invalid(`mediaType is ${shown(stated)}, and Content-Type is ${shown(mediaType)}: they must be the same`);
  }
  const subject = isAbsent(document.subject) ? null : descriptor(document.subject, 'subject').digest;
  const { references, configType } = KINDS[mediaType] === 'image' ? imageParts(document) : indexParts(document);
  const artifactType = artifactTypeOf(document) || configType;
  annotations(document.annotations, 'annotations');
  return { mediaType, artifactType, subject, references: distinct(references), text };
}

function parseContentType(contentType: string | null | undefined): ManifestMediaType {
  const type = (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
  if (isManifestMediaType(type)) return type;
  return invalid(withdrawn(type) ?? `Content-Type must be one of ${MANIFEST_MEDIA_TYPES.join(', ')}`);
}

const SCHEMA_1 = 'application/vnd.docker.distribution.manifest.v1+json';

/**
 * Returns an error message for a media type that is no longer in use. The message says what to push instead. Returns `null` for
 * all other types.
 */
function withdrawn(type: string): string | null {
  if (type === SCHEMA_1 || type === 'application/vnd.docker.distribution.manifest.v1+prettyjws') {
    return 'Docker image manifest schema 1 is not supported: push schema 2, or an OCI image manifest';
  }
  if (/^application\/vnd\.(?:oci|cncf\.oras)\.artifact\.manifest\.v1\+json$/.test(type)) {
    return (
      `artifact manifests (${type}) are not supported, as they were withdrawn before OCI 1.1: push an OCI image ` +
      `manifest with an artifactType`
    );
  }
  return null;
}

function artifactTypeOf(document: Record<string, unknown>): string | null {
  const text = optionalText(document.artifactType, 'artifactType');
  return text === null || ARTIFACT_TYPE.test(text) ? text : invalid('artifactType must be a media type');
}

function parseDocument(bytes: Uint8Array): { text: string; value: unknown } {
  try {
    return parseStrictJson(bytes);
  } catch (error) {
    if (error instanceof SyntaxError) return invalid(`the manifest is not valid JSON: ${error.message}`);
    throw error;
  }
}

interface Parts {
  references: ManifestReference[];
  configType: string | null;
}

function imageParts(document: Record<string, unknown>): Parts {
  if (!isAbsent(document.manifests)) invalid('an image manifest must not have manifests (CVE-2021-41190)');
  const config: ManifestReference = { ...descriptor(document.config, 'config'), kind: 'blob', required: true };
  const layers = optionalList(document.layers, 'layers').map((layer, n): ManifestReference => {
    const target = descriptor(layer, `layers[${n}]`);
    return { ...target, kind: 'blob', required: !FOREIGN_LAYER.test(target.mediaType) };
  });
  return { references: [config, ...layers], configType: config.mediaType };
}

function indexParts(document: Record<string, unknown>): Parts {
  if (!isAbsent(document.layers) || !isAbsent(document.config)) {
    invalid('an index must have neither config nor layers (CVE-2021-41190)');
  }
  const references = optionalList(document.manifests, 'manifests').map((child, n): ManifestReference => {
    const target = descriptor(child, `manifests[${n}]`);
    // BuildKit's registry cache lists layers in an index. So a child whose media type is not that of a manifest is a blob.
    return { ...target, kind: isManifestMediaType(target.mediaType) ? 'manifest' : 'blob', required: true };
  });
  return { references, configType: null };
}

interface Descriptor {
  mediaType: string;
  digest: Digest;
  size: number;
}

/**
 * Parses a descriptor (image-spec descriptor.md, "Properties"). Its field `data` (embedded content) is stored with the
 * document, but the registry always serves the referenced content itself.
 */
function descriptor(value: unknown, where: string): Descriptor {
  const { mediaType, digest, size, urls, annotations: notes, data, artifactType } = object(value, where);
  if (typeof mediaType !== 'string' || !MEDIA_TYPE.test(mediaType)) return invalid(`${where}.mediaType must be a media type`);
  if (typeof digest !== 'string' || !isDigest(digest))
    return invalid(`${where}.digest must be sha256: and 64 hex digits, or sha512: and 128`);
  for (const [n, url] of optionalList(urls, `${where}.urls`).entries()) text(url, `${where}.urls[${n}]`);
  annotations(notes, `${where}.annotations`);
  optionalText(data, `${where}.data`);
  optionalText(artifactType, `${where}.artifactType`);
  return { mediaType, digest, size: sizeOf(size, digest, `${where}.size`) };
}

/** The digests of empty content. Descriptors of empty content may lack `size`, because Go clients leave out zero values. */
const EMPTY_CONTENT: readonly string[] = [
  'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  'sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce' +
    '47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e',
];

function sizeOf(size: unknown, digest: Digest, where: string): number {
  if (isAbsent(size) && EMPTY_CONTENT.includes(digest)) return 0;
  if (isAbsent(size)) return invalid(`${where} is missing: only empty content may leave it out`);
  return typeof size === 'number' && Number.isSafeInteger(size) && size >= 0
    ? size
    : invalid(`${where} must be a number of bytes`);
}

function annotations(value: unknown, where: string): void {
  if (isAbsent(value)) return;
  for (const [key, note] of Object.entries(object(value, where))) text(note, `${where}[${shown(key)}]`);
}

/** Formats a text from a client for a message: as JSON, shortened to 100 characters. */
function shown(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}...` : text);
}

/**
 * Returns true if a member counts as absent. Go clients write a nil slice, map or pointer as `null`, so `null` counts as
 * absent, too.
 */
function isAbsent(value: unknown): value is undefined | null {
  return value === undefined || value === null;
}

function object(value: unknown, where: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  return invalid(isAbsent(value) ? `${where} is missing` : `${where} must be a JSON object`);
}

function optionalList(value: unknown, where: string): unknown[] {
  if (isAbsent(value)) return [];
  return Array.isArray(value) ? value : invalid(`${where} must be a list`);
}

function text(value: unknown, where: string): string {
  return typeof value === 'string' ? value : invalid(`${where} must be a string`);
}

function optionalText(value: unknown, where: string): string | null {
  return isAbsent(value) ? null : text(value, where);
}

/**
 * Merges references to the same content, because a manifest may list a layer several times. The merged reference is required if
 * one of them is. All descriptors of a digest must state the same size. Descriptors of a manifest must also state the same
 * media type. Those of a blob need not, because the registry stores no media types of blobs.
 */
function distinct(references: ManifestReference[]): ManifestReference[] {
  const byDigest = new Map<string, ManifestReference>();
  for (const reference of references) {
    const key = `${reference.kind} ${reference.digest}`;
    const known = byDigest.get(key);
    if (!known) byDigest.set(key, reference);
    else if (known.size !== reference.size) invalid(`two descriptors of ${reference.digest} differ in size`);
    else if (known.kind === 'manifest' && known.mediaType !== reference.mediaType) {
      invalid(`two descriptors of ${reference.digest} differ in media type`);
    } else known.required ||= reference.required;
  }
  return [...byDigest.values()];
}

function invalid(message: string): never {
  throw new Refusal('manifest-invalid', { message });
}
