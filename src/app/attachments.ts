/** Reads content that is attached to an image, such as an SBOM, for display. */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import { openBlob, statBlob } from '../registry/blobs.ts';
import { ATTACHMENT_MAX_BYTES } from '../vocabulary/images.ts';
import { requireRight } from './access.ts';
import type { Call } from './call.ts';

/** Returns the text of a blob, or `null` if it is longer than `ATTACHMENT_MAX_BYTES` or is no UTF-8. @throws blob-unknown */
export async function readBlobText(call: Call, repository: RepositoryName, digest: Digest): Promise<string | null> {
  requireRight(call, 'pull', repository);
  const { env, now } = call;
  const blob = await statBlob(env, repository, digest, now);
  if (blob.size > ATTACHMENT_MAX_BYTES) return null;
  const stream = await openBlob(env, repository, blob, { range: null, now });
  const bytes = await new Response(stream).arrayBuffer();
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch {
    return null;
  }
}
