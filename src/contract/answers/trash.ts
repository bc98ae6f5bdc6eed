/** Schemas of the answers that belong to `../trash.ts`. The Worker does not contain them. */
import * as z from 'zod';

const deletion = {
  deletedAt: z.iso.datetime(),
  deletedBy: z.string().describe('A subject; `registry` if a lifecycle rule deleted it'),
  restorableUntil: z.iso
    .datetime()
    .describe('Until then it can be restored for certain; afterwards as long as it is still listed'),
};

export const trashEntry = z.strictObject({
  kind: z.enum(['manifest', 'tag']),
  name: z.string().describe('The digest of the manifest, or the tag'),
  digest: z.string().describe('The digest of the manifest, or of what the tag named'),
  tags: z.array(z.string()).describe('Tags that were deleted with the manifest'),
  mediaType: z.nullable(z.string()).describe('`null` for a tag'),
  size: z.nullable(z.int()).describe('Bytes of the manifest; `null` for a tag'),
  reason: z.nullable(z.string()).describe('The lifecycle rule that deleted it; null if somebody did'),
  ...deletion,
});

export const trashedRepository = z.strictObject({
  entry: z.string().describe('Identifies it in the trash, as there may be several of one name'),
  name: z.string(),
  ...deletion,
});

export const restored = z.strictObject({
  tags: z.array(z.string()).describe('Restored tags'),
  notRestored: z
    .array(z.string())
    .describe(
      'Tags that were deleted with it and stay in the trash: they exist again, or are reserved for another image because ' +
        'they were immutable',
    ),
  manifests: z.array(z.string()).describe('Digests of the restored manifests'),
  attachedTags: z.array(z.string()).describe('Tags of signatures, attestations and SBOMs that were restored with their image'),
  bytes: z.int().describe('Bytes by which the repository has grown'),
  withoutReferrers: z
    .boolean()
    .describe('True: what refers to the manifest stays in the trash, because it is too much, or content of it is gone'),
});

const held = {
  tags: z.int().describe('Number of its tags'),
  manifests: z.int().describe('Number of its manifests'),
  bytes: z.int().describe('Bytes of its manifests, and of the layers and configs that they reference, each once'),
};

export const deletedRepository = z.strictObject({
  name: z.string(),
  entry: z.string().describe('Identifies it in the trash: `POST /trash/{entry}/restore`'),
  ...held,
  webhooks: z.int().describe('Number of its webhooks. They get no more events, and are restored disabled'),
  restorableUntil: deletion.restorableUntil,
});

export const restoredRepository = z.strictObject({
  name: z.string(),
  ...held,
  webhooks: z
    .strictObject({
      restored: z
        .array(z.string())
        .describe('Ids of its webhooks. They are disabled: enable each one when its receiver is ready'),
      notRestored: z.int().describe('Webhooks that are lost, because the owner of the repository has as many as there can be'),
    })
    .describe('What became of its webhooks'),
});

export const purged = z.strictObject({
  purged: z.string().describe('The tag, digest or repository'),
  note: z.string().describe('What happens to its bytes'),
});
