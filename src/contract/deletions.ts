/** Schemas of the deletion of tags and images in the management API. */
import * as z from 'zod';
import { isDigest } from '../oci/digest.ts';
import { isTag } from '../oci/reference.ts';
import { DELETED_IMAGES_MAX, DELETED_TAGS_MAX } from '../vocabulary/images.ts';

export const deletionRequest = z
  .strictObject({
    tags: z
      .optional(z.array(z.string().refine(isTag, 'must be a tag')).max(DELETED_TAGS_MAX))
      .describe('Tags to delete. The images that they name stay'),
    images: z
      .optional(
        z.array(z.string().refine(isDigest, 'must be sha256: and 64 hex digits, or sha512: and 128')).max(DELETED_IMAGES_MAX),
      )
      .describe('Digests of images to delete, with all their tags'),
    orphans: z
      .optional(z.enum(['keep', 'delete']))
      .describe(
        '`delete`: images that nothing holds any more go as well: those that the tags named, those that a deleted index ' +
          'lists, and signatures of these. With `keep` (the default) they stay until a lifecycle rule for untagged images ' +
          'takes them',
      ),
  })
  .refine(({ tags = [], images = [] }) => tags.length + images.length > 0, 'must name a tag or an image');
