/**
 * Reads the parts of a manifest's document that users see: layers, platforms and annotations, each up to a limit. This module
 * does no I/O.
 */
import type { Digest } from '../../oci/digest.ts';

export interface Blob {
  digest: Digest;
  mediaType: string;
  size: number;
}

/** An entry of an index. If the entry is an attestation, `about` is the digest of the attested image. */
export interface IndexEntry {
  digest: Digest;
  os: string | null;
  architecture: string | null;
  variant: string | null;
  osVersion: string | null;
  attests: boolean;
  about: string | null;
}

export interface ImageDocument {
  config: Blob | null;
  /** The layers in the order of the document. The same layer may occur several times. */
  layers: Blob[];
  entries: IndexEntry[];
  annotations: Record<string, string>;
  /** True if something was left out or shortened because of the limits. */
  truncated: boolean;
}

/** The limits of what is shown of a document. A document may have up to 8 MiB. */
const LAYERS_MAX = 500;
const ENTRIES_MAX = 500;
const ANNOTATIONS_MAX = 100;
const TEXT_MAX = 2000;
/** The maximum number of characters of all annotations together. */
const ANNOTATIONS_LENGTH_MAX = 50_000;
const FIELD_MAX = 64;
const DIGEST_MAX = 135;

interface Descriptor {
  digest: Digest;
  mediaType: string;
  size?: number | null;
  platform?: Record<string, unknown> | null;
  annotations?: Record<string, string> | null;
}

interface Document {
  config?: Descriptor | null;
  layers?: Descriptor[] | null;
  manifests?: Descriptor[] | null;
  annotations?: Record<string, string> | null;
}

/** Reads a document that was validated when it was pushed. */
export function readDocument(text: string): ImageDocument {
  const { config, layers, manifests, annotations } = JSON.parse(text) as Document;
  const notes = shortNotes(annotations ?? {});
  return {
    config: config ? blobOf(config) : null,
    layers: (layers ?? []).slice(0, LAYERS_MAX).map(blobOf),
    entries: (manifests ?? []).slice(0, ENTRIES_MAX).map(entryOf),
    annotations: notes.annotations,
    truncated: notes.truncated || (layers ?? []).length > LAYERS_MAX || (manifests ?? []).length > ENTRIES_MAX,
  };
}

function shortNotes(all: Record<string, string>): Pick<ImageDocument, 'annotations' | 'truncated'> {
  const entries = Object.entries(all);
  const kept: [string, string][] = [];
  let room = ANNOTATIONS_LENGTH_MAX;
  for (const [key, note] of entries.slice(0, ANNOTATIONS_MAX)) {
    room -= Math.min(key.length, TEXT_MAX) + Math.min(note.length, TEXT_MAX);
    if (room < 0) break;
    kept.push([key.slice(0, TEXT_MAX), note.slice(0, TEXT_MAX)]);
  }
  const isCut = kept.some(([, note], n) => note.length < (entries[n]?.[1].length ?? 0));
  return { annotations: Object.fromEntries(kept), truncated: isCut || kept.length < entries.length };
}

function blobOf({ digest, mediaType, size }: Descriptor): Blob {
  return { digest, mediaType, size: size ?? 0 };
}

function entryOf({ digest, platform, annotations }: Descriptor): IndexEntry {
  const field = (name: string) => {
    const value = platform?.[name];
    return typeof value === 'string' ? value.slice(0, FIELD_MAX) : null;
  };
  const [os, architecture] = [field('os'), field('architecture')];
  return {
    ...{ digest, os, architecture, variant: field('variant'), osVersion: field('os.version') },
    attests: annotations?.['vnd.docker.reference.type'] !== undefined || (os === 'unknown' && architecture === 'unknown'),
    about: annotations?.['vnd.docker.reference.digest']?.slice(0, DIGEST_MAX) ?? null,
  };
}

/** Returns the platform that the config of an image states, for example `linux/arm64/v8`, or `null` if it states none. */
export function platformInConfig(text: string): string | null {
  const config = parsed(text);
  const field = (name: string) => {
    const value = config?.[name];
    return typeof value === 'string' && /^[\w.-]{1,64}$/.test(value) ? value : null;
  };
  const [os, architecture, variant] = [field('os'), field('architecture'), field('variant')];
  return os === null || architecture === null ? null : [os, architecture, ...(variant === null ? [] : [variant])].join('/');
}

/**
 * Returns the parsed config, or `null`. A config may be any blob, and the registry does not check at a push that it is JSON.
 */
function parsed(text: string): Record<string, unknown> | null {
  try {
    return JSON.parse(text) as Record<string, unknown> | null;
  } catch {
    return null;
  }
}
