/** Pulls several images in one request, and puts one. */
import type { Condition } from '../oci/condition.ts';
import { algorithmOf, type Digest, digestOf } from '../oci/digest.ts';
import type { Manifest } from '../oci/manifest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Tag } from '../oci/reference.ts';
import { type FoundImage, readDocuments } from '../registry/images/named-images.ts';
import { isRefusal, Refusal } from '../vocabulary/refusal.ts';
import { may, requireRight } from './access.ts';
import type { Call } from './call.ts';
import type { ContentCall } from './content.ts';
import { findNamed, type Judged, type SentName } from './image-ids.ts';
import { pushManifest } from './manifests.ts';
import { countUse } from './pull-counter.ts';

export interface PulledImage extends FoundImage {
  /** The document as it was pushed. */
  text: string;
}

/** The maximum number of bytes of the documents in one answer. A document that alone has more is still sent alone. */
const ANSWER_MAX_BYTES = 4 * 1024 * 1024;

interface Pull {
  /** The media types that the client accepts. Absent if it accepts all. */
  accepted: readonly string[] | undefined;
  /** A random number of at least 0 and below 1 (`countUse`). */
  random: number;
}

/** Pulls images. Each is counted like a pull of its manifest. @throws not-found, repository-unknown */
export async function pullImages(
  call: Call,
  repository: RepositoryName,
  names: readonly SentName[],
  { accepted, random }: Pull,
): Promise<Judged<PulledImage>[]> {
  const judged = withinAnswer((await findNamed(call, repository, names)).map((one) => ifAccepted(one, accepted)));
  const found = judged.flatMap((one) => ('found' in one ? [one.found] : []));
  if (found.length === 0) return judged as Judged<PulledImage>[];
  const digests = [...new Set(found.map(({ digest }) => digest))];
  // A client that may push and finds an image by its digest does not push it again.
  const skipped = may(call.authority, 'push', repository) ? found.filter(({ tag }) => tag === null) : [];
  const leased = [...new Set(skipped.map(({ digest }) => digest))];
  const documents = await readDocuments(call.env, repository, digests, leased);
  for (const digest of documents.keys()) countUse(call, { repository, digest, pulls: 1, random });
  return judged.map((one) => {
    if (!('found' in one)) return one;
    const text = documents.get(one.found.digest);
    const { sent } = one;
    return text === undefined ? { sent, problem: { code: 'absent' } } : { sent, found: { ...one.found, text } };
  });
}

function ifAccepted(one: Judged<FoundImage>, accepted: Pull['accepted']): Judged<FoundImage> {
  if (!('found' in one) || accepted === undefined || accepted.includes(one.found.mediaType)) return one;
  const message = `the media type of the image is ${one.found.mediaType}, which the request does not accept`;
  return { sent: one.sent, problem: { code: 'not-accepted', message } };
}

/** Leaves out the images whose documents do not fit into the answer. The first one always fits. */
function withinAnswer(judged: Judged<FoundImage>[]): Judged<FoundImage>[] {
  let room = Number.POSITIVE_INFINITY;
  return judged.map((one) => {
    if (!('found' in one)) return one;
    const { size } = one.found;
    const fits = size <= room;
    if (fits) room = Math.min(room, ANSWER_MAX_BYTES) - size;
    const message = 'the manifests of this request are too long for one answer: request this image again, with fewer others';
    return fits ? one : { sent: one.sent, problem: { code: 'too-large', message } };
  });
}

interface NewImage {
  repository: RepositoryName;
  bytes: Uint8Array;
  mediaType: string | undefined;
  /** The digest that the client expects, or `null`. */
  expected: Digest | null;
  tag: Tag | null;
  /** Is called with the parsed manifest before anything is written. */
  charge: (manifest: Manifest) => void;
}

/**
 * Puts an image that must not exist: the tag must not name it already, or without a tag, the manifest must not exist.
 * @throws condition-failed with the digest as detail if it exists, and the reasons of `pushManifest`
 */
export async function putImage(call: ContentCall & Call, image: NewImage): Promise<{ digest: Digest; mediaType: string }> {
  const { repository, bytes, mediaType, expected, tag, charge } = image;
  requireRight(call, 'push', repository, tag);
  const digest = await digestOf(expected ? algorithmOf(expected) : 'sha256', bytes);
  const condition: Condition = { match: null, noneMatch: [digest] };
  const tags = tag === null ? [] : [tag];
  const put = { repository, bytes, contentType: mediaType, expected: expected ?? digest, tags, condition, charge };
  try {
    const { manifest } = await pushManifest(call, put);
    return { digest, mediaType: manifest.mediaType };
  } catch (error) {
    if (!isRefusal(error, 'condition-failed')) throw error;
    throw new Refusal('condition-failed', { message: 'this image exists already', detail: { digest } });
  }
}
