/** Images that a client names by a digest, by a tag, or by both, several in one request; and lists of them. */
import { type Digest, isDigest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import { isTag, type Tag } from '../oci/reference.ts';
import { type FoundImage, findImages, type ImageName } from '../registry/images/named-images.ts';
import {
  type DescribedImage,
  describeImages as describeStored,
  type ImageId,
  type ImagePlace,
  listDigests,
  listImageIds as listStoredIds,
  type Tagged,
} from '../registry/images/paged-images.ts';
import { listReferrers } from '../registry/manifests/referrers.ts';
import { checkRepositoryExists as requireExistence } from '../registry/repositories/repositories.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { requireRight } from './access.ts';
import type { Call } from './call.ts';

export type { DescribedImage, ImageId, ImagePlace, Tagged };

/** The name of an image as a client sent it. */
export interface SentName {
  digest?: string | undefined;
  tag?: string | undefined;
}

/** Why an operation on several images leaves one out. `message` is set if it says more than the code. */
export interface ImageProblem {
  code:
    | 'name-missing'
    | 'digest-invalid'
    | 'tag-invalid'
    | 'absent'
    | 'mismatch'
    | 'referenced'
    | 'immutable'
    | 'not-accepted'
    | 'too-large';
  message?: string;
}

/** A name that was sent, with what it stands for or why it is left out. */
export type Judged<T> = { sent: SentName } & ({ found: T } | { problem: ImageProblem });

/** The grammar of digests (image-spec, descriptor.md), without its separators. */
const DIGEST = /^[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+$/;

/** The maximum number of images that one request names. */
const NAMES_MAX = 100;

/** Parses names. @returns one entry for each name, in their order. @throws too-much-work */
export function parseNames(names: readonly SentName[]): Judged<ImageName>[] {
  if (names.length > NAMES_MAX) throw new Refusal('too-much-work', { message: `name up to ${NAMES_MAX} images at a time` });
  return names.map((sent) => {
    const { digest, tag } = sent;
    if (digest === undefined && tag === undefined) return { sent, problem: { code: 'name-missing' } };
    if (digest !== undefined && !DIGEST.test(digest)) return { sent, problem: { code: 'digest-invalid' } };
    if (tag !== undefined && !isTag(tag)) return { sent, problem: { code: 'tag-invalid' } };
    // A digest of another algorithm is valid, and names nothing here.
    if (digest !== undefined && !isDigest(digest)) return { sent, problem: { code: 'absent' } };
    return { sent, found: { digest: (digest as Digest | undefined) ?? null, tag: (tag as Tag | undefined) ?? null } };
  });
}

/** Replaces the parsed names by what `find` returns for them. */
export async function lookUp<T extends object>(
  parsed: Judged<ImageName>[],
  find: (names: ImageName[]) => Promise<(T | 'absent' | 'mismatch')[]>,
): Promise<Judged<T>[]> {
  const found = (await find(parsed.flatMap((one) => ('found' in one ? [one.found] : [])))).values();
  return parsed.map((one) => {
    if (!('found' in one)) return one;
    const { sent } = one;
    const result = found.next().value as T | 'absent' | 'mismatch';
    return result === 'absent' || result === 'mismatch' ? { sent, problem: { code: result } } : { sent, found: result };
  });
}

/** Finds images. @throws not-found, repository-unknown */
export function findNamed(call: Call, repository: RepositoryName, names: readonly SentName[]): Promise<Judged<FoundImage>[]> {
  requireRight(call, 'pull', repository);
  return lookUp(parseNames(names), (parsed) => findImages(call.env, repository, parsed));
}

/** Finds one image that must exist. @throws not-found, repository-unknown, manifest-unknown */
export async function getNamed(call: Call, repository: RepositoryName, name: SentName): Promise<FoundImage> {
  const [judged] = await findNamed(call, repository, [name]);
  if (judged && 'found' in judged) return judged.found;
  throw new Refusal('manifest-unknown', { detail: name });
}

/**
 * Confirms that an image is in the storage class in which all images of this registry are. Nothing changes.
 * @throws not-found, forbidden, repository-unknown, manifest-unknown
 */
export function keepStored(call: Call, repository: RepositoryName, name: SentName): Promise<FoundImage> {
  requireRight(call, 'push', repository);
  return getNamed(call, repository, name);
}

interface PageOfImages {
  tagged: Tagged;
  after: ImagePlace | null;
  limit: number;
}

/** Lists images, once for each of their tags. @throws not-found, repository-unknown */
export function listImageIds(
  call: Call,
  repository: RepositoryName,
  page: PageOfImages,
): Promise<{ items: ImageId[]; next: ImagePlace | null }> {
  requireRight(call, 'pull', repository);
  return listStoredIds(call.env, repository, page);
}

/** Describes the images of a page. @throws not-found, repository-unknown */
export async function listDescribed(
  call: Call,
  repository: RepositoryName,
  page: PageOfImages,
): Promise<{ items: DescribedImage[]; next: ImagePlace | null }> {
  requireRight(call, 'pull', repository);
  const { items, next } = await listDigests(call.env, repository, page);
  const digests = items.map(({ digest }) => digest);
  return { items: digests.length === 0 ? [] : await describeStored(call.env, repository, digests), next };
}

/**
 * Describes images that must all exist.
 * @throws not-found, repository-unknown; manifest-unknown with the name of the first that does not exist as detail
 */
export async function describeNamed(
  call: Call,
  repository: RepositoryName,
  names: readonly SentName[],
): Promise<DescribedImage[]> {
  const judged = await findNamed(call, repository, names);
  const digests = judged.map((one) => {
    if ('found' in one) return one.found.digest;
    throw new Refusal('manifest-unknown', { detail: one.sent });
  });
  return describeStored(call.env, repository, [...new Set(digests)]);
}

/** Lists the manifests that refer to a subject, which need not exist. @throws not-found, repository-unknown */
export async function listReferrersOf(
  call: Call,
  repository: RepositoryName,
  query: Parameters<typeof listReferrers>[2],
): ReturnType<typeof listReferrers> {
  requireRight(call, 'pull', repository);
  const [page] = await Promise.all([listReferrers(call.env, repository, query), requireExistence(call.env, repository)]);
  return page;
}
