/** Lists tags and images for display, and describes a single image. */
import { imageListQuery, tagListQuery } from '../contract/images.ts';
import { valid } from '../contract/valid.ts';
import type { Actor } from '../events/event.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Reference } from '../oci/reference.ts';
import type { ManifestFacts } from '../registry/images/facts.ts';
import { describeImage, describeWholeImage, type Image, type WholeImage } from '../registry/images/image.ts';
import { type ListedImage, listImages as listStoredImages } from '../registry/images/image-list.ts';
import { type ListedTag, listTagDetails as listStored, type TagPlace } from '../registry/images/tag-list.ts';
import type { Tagging } from '../registry/images/tagging.ts';
import { getManifest } from '../registry/manifests/manifests.ts';
import { IMAGES_DEFAULT, type TagOrder } from '../vocabulary/images.ts';
import { maySeeActors, requireRight } from './access.ts';
import type { Call } from './call.ts';

export type { ManifestFacts };

interface Tagged {
  tagged: Tagging | null;
}
/** A tag or image as the caller may see it. `tagged.by` is `null` if the caller may not see who set the tag. */
type Shown<T extends Tagged> = Omit<T, 'tagged'> & { tagged: (Omit<Tagging, 'by'> & { by: Actor | null }) | null };
export type TagDetails = Shown<ListedTag>;
export type ImageSummary = Shown<ListedImage>;
export type ImageDetails = Shown<Image>;
export type WholeImageDetails = Shown<WholeImage>;

interface TagListQuery {
  filter?: string | undefined;
  sort?: TagOrder | undefined;
  last?: string | undefined;
  n?: number | undefined;
  attached?: 'true' | 'false' | undefined;
}

/**
 * @returns attached: the number of tags of signatures and attestations, counted up to `ATTACHED_TAGS_MAX`
 * @throws repository-unknown, request-invalid, too-much-work if there are too many tags to sort by version
 */
export async function listTagDetails(
  call: Call,
  repository: RepositoryName,
  query: TagListQuery,
): Promise<{ items: TagDetails[]; next: string | null; attached: number }> {
  requireRight(call, 'pull', repository);
  const { filter = '', sort = 'newest', last, n: limit = IMAGES_DEFAULT, attached: kept } = valid(tagListQuery, query);
  const { items, next, attached } = await listStored(call.env, repository, {
    ...{ filter, sort, limit, attached: kept !== 'false' },
    after: last === undefined ? null : placeOf(last),
  });
  return { items: items.map((item) => shown(call, repository, item)), next: next && tagCursor(next), attached };
}

/** Returns the cursor after an item of `listTagDetails`. */
export function tagCursor({ pushedAt, tag }: TagPlace): string {
  return `${pushedAt}:${tag}`;
}

function placeOf(cursor: string): TagPlace {
  const [pushedAt = '', tag = ''] = cursor.split(':');
  return { pushedAt: Number(pushedAt), tag };
}

/** Lists manifests by digest. @throws repository-unknown, request-invalid */
export async function listImages(
  call: Call,
  repository: RepositoryName,
  query: { untagged?: 'true' | 'false' | undefined; last?: string | undefined; n?: number | undefined },
): Promise<{ items: ImageSummary[]; next: string | null }> {
  requireRight(call, 'pull', repository);
  const { untagged, last: after = '', n: limit = IMAGES_DEFAULT } = valid(imageListQuery, query);
  const { items, next } = await listStoredImages(call.env, repository, { untagged: untagged === 'true', after, limit });
  return { items: items.map((item) => shown(call, repository, item)), next };
}

/** Describes one image completely. All counts are limited to its repository. @throws manifest-unknown */
export async function getImage(call: Call, repository: RepositoryName, reference: Reference): Promise<ImageDetails> {
  requireRight(call, 'pull', repository);
  return shown(call, repository, await describeImage(call.env, repository, reference, call.work));
}

/**
 * Describes one image as `getImage` does, with the text of the config and the tags that attach signatures, attestations or
 * SBOMs. @throws manifest-unknown
 */
export async function getWholeImage(call: Call, repository: RepositoryName, reference: Reference): Promise<WholeImageDetails> {
  requireRight(call, 'pull', repository);
  return shown(call, repository, await describeWholeImage(call.env, repository, reference, call.work));
}

/** Returns the document of a manifest for display. This does not count as a pull. @throws manifest-unknown */
export async function readManifest(
  call: Call,
  repository: RepositoryName,
  reference: Reference,
): Promise<{ digest: Digest; mediaType: string; size: number; text: string }> {
  requireRight(call, 'pull', repository);
  return getManifest(call.env, repository, reference, call.now);
}

function shown<T extends Tagged>(call: Call, repository: RepositoryName, item: T): Shown<T> {
  const { tagged } = item;
  return { ...item, tagged: tagged && { ...tagged, by: maySeeActors(call, repository) ? tagged.by : null } };
}
