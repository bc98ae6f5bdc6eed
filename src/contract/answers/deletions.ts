/** Schemas of the answers that belong to `../deletions.ts`. The Worker does not contain them. */
import * as z from 'zod';

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
