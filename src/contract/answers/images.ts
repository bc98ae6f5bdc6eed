/** Schemas of the answers that belong to `../images.ts`. The Worker does not contain them. */
import * as z from 'zod';
import { FILE_CHANGES_SHOWN_MAX, SHARED_MAX } from '../../vocabulary/images.ts';

const bytes = z.nullable(z.int());

const day = z.nullable(z.iso.date()).describe('The day of the last pull (UTC); null: never');

const actor = z
  .nullable(z.strictObject({ subject: z.string(), key: z.nullable(z.string()) }))
  .describe('Who it was, and with which access key. Null unless you may push here');

const platform = z.strictObject({
  os: z.nullable(z.string()),
  architecture: z.nullable(z.string()),
  variant: z.nullable(z.string()),
  osVersion: z.nullable(z.string()),
  digest: z.string(),
  size: bytes.describe('Bytes of its config and layers'),
});

const facts = {
  mediaType: z.string(),
  kind: z
    .enum(['image', 'index', 'artifact'])
    .describe('`index`: images of several platforms. `artifact`: not a container image, like a chart or a signature'),
  artifactType: z.nullable(z.string()).describe('The type of the document, otherwise that of its config'),
  manifestSize: z.int().describe('Bytes of the manifest itself'),
  size: bytes.describe(
    'Bytes of config and layers, each blob once. Of an index: the sum of its platforms. Null if the document is too long for ' +
      'lists: read the image itself',
  ),
  platforms: z
    .nullable(z.array(platform))
    .describe(
      'The image for each platform; its digest pulls it alone. Null if it is not known: of an image without an index ' +
        'until it was read once, and of an index that is too long for lists',
    ),
  attestations: z
    .int()
    .describe('Entries of the index that are no platforms: attestations, shown elsewhere as `unknown/unknown`'),
  lastPulledOn: day,
  referrers: z.int().describe('Signatures, SBOMs and others whose subject it is; 100 stands for 100 or more'),
};

export const tagDetails = z.strictObject({
  tag: z.string(),
  digest: z.string(),
  pushedAt: z.iso.datetime().describe('The last push, also one that changed nothing'),
  changedAt: z
    .nullable(z.iso.datetime())
    .describe('Since when it names this digest; null: since before the history that is kept'),
  changedBy: actor,
  immutable: z.boolean().describe('True: it can be neither moved nor deleted'),
  sameAs: z.array(z.string()).describe('Other tags of the same digest: the first 10 by name'),
  image: z.nullable(z.strictObject(facts)).describe('What the tag names; null if its document is gone from storage'),
});

const image = {
  digest: z.string(),
  ...facts,
  pushedAt: z.iso.datetime().describe('The last push, also one that changed nothing'),
  tags: z.array(z.string()).describe('The first 10 tags by name'),
  taggedAt: z.nullable(z.iso.datetime()).describe('When the first of its tags came to name it'),
  taggedBy: actor,
  subject: z.nullable(z.string()).describe('The image that it is about: that of a signature or an SBOM'),
  listed: z.boolean().describe('True: an index lists it, and it cannot be deleted before the index'),
};

export const imageSummary = z.strictObject(image);

const blob = { digest: z.string(), mediaType: z.string(), size: z.int() };

export const imageDetails = z.strictObject({
  ...image,
  annotations: z.record(z.string(), z.string()).describe('Up to 100 of them, each cut at 2,000 characters'),
  config: z.nullable(z.strictObject(blob)),
  layers: z
    .array(
      z.strictObject({
        ...blob,
        sharedBy: z
          .nullable(z.int())
          .describe(
            'Images of this repository that have the layer, this one included; `sharedMax` stands for as many or more. Null: ' +
              'not counted',
          ),
      }),
    )
    .describe('In their order, up to 500'),
  sharedMax: z
    .int()
    .describe(`How many images are counted for a layer: ${SHARED_MAX}, and fewer for an image of more than 15 layers`),
  bytesInAll: bytes.describe('Bytes of all blobs, each once; of an index with those of its images. Null: too many to count'),
  bytesAlone: bytes.describe('Bytes of these that no other image of this repository needs'),
  referrerList: z
    .array(z.strictObject({ digest: z.string(), artifactType: z.string(), mediaType: z.string(), size: z.int() }))
    .describe('The first 20 signatures, SBOMs and others whose subject it is. `/v2/<name>/referrers/<digest>` has all'),
  attestationList: z
    .array(z.strictObject({ digest: z.string(), about: z.nullable(z.string()) }))
    .describe('Attestations that the index lists, each with the digest of the platform that it is about'),
  truncated: z.boolean().describe('True: something was left out or cut. The manifest itself has all of it'),
});

const fileState = z
  .nullable(
    z.strictObject({
      kind: z.enum(['file', 'folder', 'link', 'hard link', 'other']),
      size: z.int(),
      mode: z.int().describe('The permission bits'),
      modifiedAt: z.iso.datetime(),
      target: z.nullable(z.string()).describe('Where a link leads to'),
    }),
  )
  .describe('Null: it is not in this image, or no layer that was read has it');

export const fileChanges = z.strictObject({
  from: z.string().describe('The digest of the first image'),
  to: z.string().describe('The digest of the second image'),
  sharedLayers: z.int().describe('How many of the lowest layers are the same in both'),
  sharedLayersRead: z
    .boolean()
    .describe('False: the shared layers were not read. A file of theirs that changed counts as added or removed'),
  unread: z
    .array(z.strictObject({ digest: z.string(), size: z.int() }))
    .describe(
      'Layers that were not read: one request reads 20, of up to `LAYER_FILES_BYTES` together. Ask again for the others',
    ),
  unreadable: z
    .array(z.strictObject({ digest: z.string(), message: z.string() }))
    .describe('Layers whose files cannot be listed, and why'),
  changes: z
    .nullable(
      z.strictObject({
        added: z.int(),
        removed: z.int(),
        changed: z.int(),
        addedBytes: z.int().describe('Unpacked bytes of the files that were added, or that changed'),
        removedBytes: z.int().describe('Unpacked bytes of the files that were removed, or that changed'),
        items: z
          .array(
            z.strictObject({
              path: z.string(),
              change: z.enum(['added', 'removed', 'changed']),
              from: fileState,
              to: fileState,
            }),
          )
          .describe(`Sorted by path, up to ${FILE_CHANGES_SHOWN_MAX}: filter by path to see others`),
      }),
    )
    .describe('Null: layers that differ were not read'),
  truncated: z.boolean().describe('True: there are more files or changes than are looked at'),
});
