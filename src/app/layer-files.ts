/** Lists the files of a layer, and compares the files of two images. */
import { fileChangesQuery } from '../contract/images.ts';
import { valid } from '../contract/valid.ts';
import type { Digest } from '../oci/digest.ts';
import { isIndexMediaType } from '../oci/manifest.ts';
import type { RepositoryName } from '../oci/name.ts';
import { parseReferenceToRead, type Reference } from '../oci/reference.ts';
import { compareImageFiles, type FileComparison } from '../registry/images/compare-files.ts';
import { readDocument } from '../registry/images/document.ts';
import { type LayerFiles, listLayerFiles as listStored, type TarEntry } from '../registry/layer-files.ts';
import { getManifest } from '../registry/manifests/manifests.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { requireRight } from './access.ts';
import type { Call } from './call.ts';
import type { WholeImageDetails } from './images.ts';

export type { FileComparison, LayerFiles, TarEntry };

/** @throws blob-unknown, too-much-work, conflict */
export async function listLayerFiles(call: Call, repository: RepositoryName, digest: Digest): Promise<LayerFiles> {
  requireRight(call, 'pull', repository);
  return listStored(call.env, repository, digest, call.now);
}

/**
 * Compares the files of two images that were read before, from the lists of their layers.
 * @param options.read whether layers are read whose files are not listed yet
 */
export async function compareFilesOf(
  call: Call,
  repository: RepositoryName,
  { from, to }: Record<'from' | 'to', WholeImageDetails>,
  { read }: { read: boolean },
): Promise<FileComparison> {
  requireRight(call, 'pull', repository);
  return compareImageFiles(call.env, repository, { from: from.layers, to: to.layers }, { read, now: call.now });
}

/** Compares the files of two images. @throws manifest-unknown, digest-invalid, request-invalid if one is an index */
export async function compareFiles(
  call: Call,
  repository: RepositoryName,
  query: { from: string; to: string; filter?: string | undefined },
): Promise<FileComparison & Record<'from' | 'to', Digest>> {
  requireRight(call, 'pull', repository);
  const { from, to } = valid(fileChangesQuery, query);
  const [before, after] = await Promise.all([from, to].map((one) => layersOf(call, repository, parseReferenceToRead(one))));
  if (before === undefined || after === undefined) throw new Refusal('manifest-unknown');
  const layers = { from: before.layers, to: after.layers };
  const compared = await compareImageFiles(call.env, repository, layers, { read: true, now: call.now });
  return { ...compared, from: before.digest, to: after.digest };
}

async function layersOf(call: Call, repository: RepositoryName, reference: Reference) {
  const { digest, mediaType, text } = await getManifest(call.env, repository, reference, call.now);
  if (isIndexMediaType(mediaType)) {
    throw new Refusal('request-invalid', {
      message: `${digest} is a list of images: give the digest of one of them. Nothing was compared`,
    });
  }
  return { digest, layers: readDocument(text).layers };
}
