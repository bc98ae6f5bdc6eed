/**
 * Manifests and indexes (image-spec manifest.md and image-index.md; Docker image manifest version 2, schema 2):
 * which types are stored, whether a document is one, and what it points at. Pure: existence is the registry's question.
 */

import { Refusal } from '../vocabulary/refusal.ts';
import { type Digest, isDigest } from './digest.ts';
import { parseStrictJson } from './json.ts';

/** Bytes. The specification asks for 4 MiB at least; D1 and R2 are not the limit, the parse within a Worker's CPU is. */
export const MANIFEST_MAX_BYTES = 8 * 1024 * 1024;

export const INDEX_MEDIA_TYPE = 'application/vnd.oci.image.index.v1+json';

/** Only these are stored and served: a type from a client never becomes a type that a browser would run. */
const KINDS = {
  'application/vnd.oci.image.manifest.v1+json': 'image',
  'application/vnd.docker.distribution.manifest.v2+json': 'image',
  [INDEX_MEDIA_TYPE]: 'index',
  'application/vnd.docker.distribution.manifest.list.v2+json': 'index',
} as const;

type ManifestMediaType = keyof typeof KINDS;

export const MANIFEST_MEDIA_TYPES = Object.keys(KINDS) as ManifestMediaType[];

/** Layers that image-spec and Docker keep elsewhere ("non-distributable", "foreign"): they need not be here. */
const FOREIGN_LAYER =
  /^application\/vnd\.(?:oci\.image\.layer\.nondistributable\.v1\.tar|docker\.image\.rootfs\.foreign\.diff\.tar)(?:[.+](?:gzip|zstd))?$/;

/** RFC 6838, 4.2: at most 127 characters of ASCII on either side of the slash. Parameters are let through. */
const MEDIA_TYPE = /^[!-.0-:<-~]{1,127}\/[!-.0-:<-~]{1,127}(?:;[ -~]{0,255})?$/;

/** Meant to be a media type, but not every client makes it one; bounded, as an index of the database holds it. */
const ARTIFACT_TYPE = /^[ -~]{0,255}$/;

/** Something a manifest points at and that lives in the same repository. */
export interface ManifestReference {
  digest: Digest;
  kind: 'blob' | 'manifest';
  /** `false` for foreign layers: kept while present, not missed while absent. */
  required: boolean;
  /** What the descriptor says of the target; a manifest that lies about it could never be pulled. */
  size: number;
  mediaType: string;
}

export interface Manifest {
  mediaType: ManifestMediaType;
  /** What referrers lists filter on: the document's own, else the media type of an image's config; `null` for neither. */
  artifactType: string | null;
  subject: Digest | null;
  references: ManifestReference[];
  /** The document as received: valid UTF-8, so text and bytes are one and the same. */
  text: string;
}

export function isManifestMediaType(text: string): text is ManifestMediaType {
  return Object.hasOwn(KINDS, text);
}

/** @throws manifest-invalid with the reason */
export function parseManifest(bytes: Uint8Array, contentType: string | null | undefined): Manifest {
  const mediaType = parseContentType(contentType);
  const { text, value } = parseDocument(bytes);
  const document = object(value, 'a manifest');
  if (document.schemaVersion === 1) invalid(withdrawn(SCHEMA_1) ?? '');
  const stated = optionalText(document.mediaType, 'mediaType');
  // First of all, as artifact manifests have no schemaVersion.
  const unsupported = withdrawn(stated ?? '');
  if (unsupported !== null) invalid(unsupported);
  if (document.schemaVersion !== 2) invalid('schemaVersion is not 2');
  if (stated !== null && stated !== mediaType) {
    invalid(`mediaType and Content-Type differ: ${shown(stated)} and ${shown(mediaType)}`);
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
  return invalid(withdrawn(type) ?? `Content-Type is none of ${MANIFEST_MEDIA_TYPES.join(', ')}`);
}

const SCHEMA_1 = 'application/vnd.docker.distribution.manifest.v1+json';

/** Types that once were manifests: what to push in their place; `null` for all others. */
function withdrawn(type: string): string | null {
  if (type === SCHEMA_1 || type === 'application/vnd.docker.distribution.manifest.v1+prettyjws') {
    return 'Docker image manifest schema 1 is not supported: push schema 2, or an OCI image manifest';
  }
  if (/^application\/vnd\.(?:oci|cncf\.oras)\.artifact\.manifest\.v1\+json$/.test(type)) {
    return `artifact manifests (${type}) are not supported, as they were withdrawn before OCI 1.1: push an OCI image manifest with an artifactType`;
  }
  return null;
}

function artifactTypeOf(document: Record<string, unknown>): string | null {
  const text = optionalText(document.artifactType, 'artifactType');
  return text === null || ARTIFACT_TYPE.test(text) ? text : invalid('artifactType is not a media type');
}

function parseDocument(bytes: Uint8Array): { text: string; value: unknown } {
  try {
    return parseStrictJson(bytes);
  } catch (error) {
    if (error instanceof SyntaxError) return invalid(`not a JSON document: ${error.message}`);
    throw error;
  }
}

interface Parts {
  references: ManifestReference[];
  configType: string | null;
}

function imageParts(document: Record<string, unknown>): Parts {
  if (!isAbsent(document.manifests)) invalid('an image manifest has no manifests (CVE-2021-41190)');
  const config: ManifestReference = { ...descriptor(document.config, 'config'), kind: 'blob', required: true };
  const layers = optionalList(document.layers, 'layers').map((layer, n): ManifestReference => {
    const target = descriptor(layer, `layers[${n}]`);
    return { ...target, kind: 'blob', required: !FOREIGN_LAYER.test(target.mediaType) };
  });
  return { references: [config, ...layers], configType: config.mediaType };
}

function indexParts(document: Record<string, unknown>): Parts {
  if (!isAbsent(document.layers) || !isAbsent(document.config)) {
    invalid('an index has neither config nor layers (CVE-2021-41190)');
  }
  const references = optionalList(document.manifests, 'manifests').map((child, n): ManifestReference => {
    const target = descriptor(child, `manifests[${n}]`);
    // BuildKit's registry cache lists layers in an index: what is no manifest by type is a blob.
    return { ...target, kind: isManifestMediaType(target.mediaType) ? 'manifest' : 'blob', required: true };
  });
  return { references, configType: null };
}

interface Descriptor {
  mediaType: string;
  digest: Digest;
  size: number;
}

/** image-spec descriptor.md, "Properties". `data` is kept as it came and never trusted in place of the content. */
function descriptor(value: unknown, where: string): Descriptor {
  const { mediaType, digest, size, urls, annotations: notes, data, artifactType } = object(value, where);
  if (typeof mediaType !== 'string' || !MEDIA_TYPE.test(mediaType)) return invalid(`${where}.mediaType is not a media type`);
  if (typeof digest !== 'string' || !isDigest(digest)) return invalid(`${where}.digest is not a sha256 or sha512 digest`);
  for (const [n, url] of optionalList(urls, `${where}.urls`).entries()) text(url, `${where}.urls[${n}]`);
  annotations(notes, `${where}.annotations`);
  optionalText(data, `${where}.data`);
  optionalText(artifactType, `${where}.artifactType`);
  return { mediaType, digest, size: sizeOf(size, digest, `${where}.size`) };
}

/** Of no bytes, which Go leaves out as the zero that it is. */
const EMPTY_CONTENT: readonly string[] = [
  'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  'sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e',
];

function sizeOf(size: unknown, digest: Digest, where: string): number {
  if (isAbsent(size) && EMPTY_CONTENT.includes(digest)) return 0;
  if (isAbsent(size)) return invalid(`${where} is missing: only content of no bytes may leave it out`);
  return typeof size === 'number' && Number.isSafeInteger(size) && size >= 0 ? size : invalid(`${where} is not a byte count`);
}

function annotations(value: unknown, where: string): void {
  if (isAbsent(value)) return;
  for (const [key, note] of Object.entries(object(value, where))) text(note, `${where}[${shown(key)}]`);
}

/** Of what a client sent, for a message: JSON, and not too long. */
function shown(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}...` : text);
}

/** Go writes a nil slice, map or pointer as `null`, and leaves out zero values: both mean that there is nothing. */
function isAbsent(value: unknown): value is undefined | null {
  return value === undefined || value === null;
}

function object(value: unknown, where: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  return invalid(isAbsent(value) ? `${where} is missing` : `${where} is not a JSON object`);
}

function optionalList(value: unknown, where: string): unknown[] {
  if (isAbsent(value)) return [];
  return Array.isArray(value) ? value : invalid(`${where} is not a list`);
}

function text(value: unknown, where: string): string {
  return typeof value === 'string' ? value : invalid(`${where} is not a string`);
}

function optionalText(value: unknown, where: string): string | null {
  return isAbsent(value) ? null : text(value, where);
}

/**
 * A layer may stand in a manifest more than once; it is one reference, required if any mention is. Mentions that differ in
 * what is checked against the target cannot both be true. Blobs have no type of their own.
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
