/** Deletions of tags and images in the management API. */
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

const deletedTag = { tag: z.string(), digest: z.string().describe('The digest that the tag names') };

export const deletedContent = z.strictObject({
  tags: z.array(z.strictObject(deletedTag)).describe('Deleted tags, those of deleted images included'),
  manifests: z.array(z.string()).describe('Digests of the deleted manifests'),
});

export const deletionPreview = z.strictObject({
  tags: z
    .array(z.strictObject({ ...deletedTag, immutable: z.boolean().describe('True: the deletion would be refused') }))
    .describe('Tags that would go, those of the images included'),
  attached: z
    .array(z.strictObject(deletedTag))
    .describe('Tags of signatures, attestations and SBOMs that would go with the image that their name refers to'),
  manifests: z.array(
    z.strictObject({ digest: z.string(), mediaType: z.string(), size: z.int().describe('Bytes of the manifest itself') }),
  ),
  referenced: z
    .array(z.strictObject({ digest: z.string(), referencedBy: z.string() }))
    .describe('Images that an index lists which is not named: the deletion would be refused'),
  orphans: z
    .array(z.string())
    .describe('Images that would stay although nothing holds them any more. `"orphans": "delete"` takes them along'),
  bytes: z
    .int()
    .describe(
      'Bytes that this repository no longer holds once the trash is emptied. What another repository holds as well stays in ' +
        'the registry',
    ),
  freedBytes: z
    .nullable(z.int())
    .describe('Bytes of these that no other repository holds. For administrators; null for others'),
});
