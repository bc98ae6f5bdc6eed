/**
 * Deletes several images and tags in one request. Those that cannot be deleted are left out. An immutable tag is never deleted,
 * and neither is an image that has one.
 */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import type { Tag } from '../oci/reference.ts';
import { DELETED_TAGS_MAX, type DeletableImage, findDeletable } from '../registry/images/named-images.ts';
import { requireDeletion } from '../registry/manifests/deletion.ts';
import { deleteNamed, type NamedContent } from '../registry/manifests/named-deletion.ts';
import type { DeletedTag } from '../registry/tags/changes.ts';
import { judgementOf } from '../registry/tags/mutability.ts';
import { isRefusal } from '../vocabulary/refusal.ts';
import { may, requireDeleteRights } from './access.ts';
import { type Call, finishing } from './call.ts';
import { type ImageProblem, type Judged, lookUp, parseNames, type SentName } from './image-ids.ts';

export interface DeletedImageId {
  digest: Digest;
  /** `null` for an image that had no tag. */
  tag: Tag | null;
}

interface Deletion {
  deleted: DeletedImageId[];
  failures: { sent: SentName; problem: ImageProblem }[];
}

/** The maximum number of attempts, if other requests change the same images meanwhile. */
const ATTEMPTS_MAX = 3;

/**
 * Deletes images by their digests, and tags. With its last tag, an image is deleted as well. Everything that can be deleted is
 * deleted in one batch, and the rest is left out.
 * @throws not-found, forbidden, repository-unknown, deletion-disabled, too-much-work
 */
export async function deleteImages(call: Call, repository: RepositoryName, names: readonly SentName[]): Promise<Deletion> {
  const parsed = parseNames(names);
  const valid = parsed.flatMap((one) => ('found' in one ? [one.found] : []));
  const tags = valid.flatMap(({ tag }) => tag ?? []);
  const by = requireDeleteRights(call, repository, { tags, images: valid.some(({ tag }) => tag === null) });
  requireDeletion(call.env);
  for (let attempt = 1; ; attempt++) {
    const judged = await lookUp(parsed, (found) => findDeletable(call.env, repository, found));
    const { named, expected, failures } = planOf(judged, may(call.authority, 'delete', repository));
    if (named.tags.length + named.digests.length === 0) return { deleted: [], failures };
    try {
      const content = await finishing(call, deleteNamed(call.env, repository, named, { by, expected }));
      const tagged = new Set(content.tags.map(({ digest }) => digest));
      const untagged = content.manifests.filter((digest) => !tagged.has(digest)).map((digest) => ({ digest, tag: null }));
      return { deleted: [...content.tags, ...untagged], failures };
    } catch (error) {
      if (attempt === ATTEMPTS_MAX || !isRefusal(error, ...RACES)) throw error;
    }
  }
}

/** The reasons of a batch that is refused because something has changed since it was planned. */
const RACES = ['version-mismatch', 'manifest-unknown', 'content-referenced', 'tag-immutable', 'conflict'] as const;

interface Plan {
  named: NamedContent;
  /** All tags that are deleted. */
  expected: DeletedTag[];
  failures: Deletion['failures'];
}

interface Candidate {
  sent: SentName;
  image: DeletableImage;
}

/** @param mayDeleteImages false if the caller may only delete some tags. An image then stays without its last tag */
function planOf(judged: Judged<DeletableImage>[], mayDeleteImages: boolean): Plan {
  const failures = judged.flatMap((one) => ('problem' in one ? [{ sent: one.sent, problem: one.problem }] : []));
  let going: Candidate[] = [];
  for (const one of judged) {
    if (!('found' in one)) continue;
    const problem = problemOf(one.found);
    if (problem === null) going.push({ sent: one.sent, image: one.found });
    else failures.push({ sent: one.sent, problem });
  }
  for (;;) {
    const images = imagesIn(going, mayDeleteImages);
    const held = going.filter(({ image }) => images.has(image.digest) && holderOf(image, images) !== undefined);
    if (held.length === 0) return { ...contentOf(going, images), failures };
    for (const { sent, image } of held) {
      failures.push({ sent, problem: { code: 'referenced', message: holderOf(image, images) ?? '' } });
    }
    going = going.filter((one) => !held.includes(one));
  }
}

function problemOf({ tag, tags: all, rule }: DeletableImage): ImageProblem | null {
  const tags = tag === null ? all : [tag];
  if (tags.length > DELETED_TAGS_MAX)
    return { code: 'too-large', message: `the image has more than ${DELETED_TAGS_MAX} tags: delete some of them first` };
  if (rule === '') return null;
  const free = new Set(judgementOf(rule).free(tags));
  const fixed = tags.find((one) => !free.has(one));
  if (fixed === undefined) return null;
  const message = `the tag ${fixed} is immutable. Nothing of this image was deleted: ask an owner to change the rule`;
  return { code: 'immutable', message };
}

/** Returns the images to delete: those that the request names by digest, and those that lose all their tags. */
function imagesIn(going: Candidate[], mayDeleteImages: boolean): Map<Digest, DeletableImage> {
  const tags = new Set(going.map(({ image }) => image.tag));
  const whole = going.filter(
    ({ image }) => image.tag === null || (mayDeleteImages && image.tags.every((tag) => tags.has(tag))),
  );
  return new Map(whole.map(({ image }) => [image.digest, image]));
}

/** A manifest that is not deleted and references the image. */
function holderOf({ parents }: DeletableImage, images: ReadonlyMap<Digest, unknown>): Digest | undefined {
  return parents.find((parent) => !images.has(parent));
}

function contentOf(going: Candidate[], images: ReadonlyMap<Digest, DeletableImage>): Pick<Plan, 'named' | 'expected'> {
  const ofImages = [...images.values()].flatMap(({ digest, tags }) => tags.map((tag) => ({ tag, digest })));
  const alone = going.flatMap(({ image: { tag, digest } }) =>
    tag === null || images.has(digest) ? [] : [[tag, digest] as const],
  );
  const others = [...new Map(alone)].map(([tag, digest]) => ({ tag, digest }));
  return {
    named: { tags: others.map(({ tag }) => tag), digests: [...images.keys()] },
    expected: [...ofImages, ...others],
  };
}
