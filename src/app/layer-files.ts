/** Lists the files of a layer. */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import { type LayerFiles, listLayerFiles as listStored, type TarEntry } from '../registry/layer-files.ts';
import { requireRight } from './access.ts';
import type { Call } from './call.ts';

export type { LayerFiles, TarEntry };

/** @throws blob-unknown, too-much-work, conflict */
export async function listLayerFiles(call: Call, repository: RepositoryName, digest: Digest): Promise<LayerFiles> {
  requireRight(call, 'pull', repository);
  return listStored(call.env, repository, digest, call.now);
}
