/** Layers as the ECR API handles them: availability, uploads in parts, and downloads by a URL. */
import { mintDownload, newLayerUpload, openLayerUpload, verifyDownload } from '../auth/layers.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/name.ts';
import { requireLayer, statLayers } from '../registry/layers.ts';
import { finishParts, withMemory } from '../registry/uploads/parts.ts';
import { UPLOAD_LIFETIME, type Upload, uploadIdAt } from '../registry/uploads/sessions.ts';
import { isRefusal, Refusal } from '../vocabulary/refusal.ts';
import { may, requireRight } from './access.ts';
import { loadCaller } from './authentication.ts';
import { appendChunk, type OpenBlob, pullBlob, startUpload } from './blobs.ts';
import { type Arrival, type Call, finishing } from './call.ts';
import { type ContentCall, mayCreateByPush, uploaderOf } from './content.ts';

export { withMemory };

/** The maximum number of layers that one request names. */
const LAYERS_MAX = 100;

/** Returns the sizes of those layers that the repository holds. @throws not-found, repository-unknown, too-much-work */
export async function checkLayers(call: Call, repository: RepositoryName, digests: Digest[]): Promise<Map<Digest, number>> {
  requireRight(call, 'pull', repository);
  if (digests.length > LAYERS_MAX) throw new Refusal('too-much-work', { message: `name up to ${LAYERS_MAX} layers at a time` });
  return statLayers(call.env, repository, digests, { isPusher: may(call.authority, 'push', repository) });
}

/** Starts an upload. @returns its id, a UUID that only this caller can use. @throws not-found, forbidden, repository-unknown */
export async function startLayerUpload(call: ContentCall & Call, repository: RepositoryName): Promise<string> {
  requireRight(call, 'push', repository);
  await startUpload(call, repository, 'sha256');
  return newLayerUpload(call.env, { repository, owner: uploaderOf(call) }, call);
}

interface Part {
  /** The place of the first and the last byte in the layer. */
  first: number;
  last: number;
  bytes: Uint8Array;
}

/**
 * Appends a part. A part that was received before is not appended again, because the client may not have got the answer.
 * @throws not-found, forbidden, upload-unknown, length-mismatch, quota-exceeded; chunk-out-of-order with the number of received
 *   bytes as `detail.offset`
 */
export async function uploadLayerPart(
  call: ContentCall & Call,
  repository: RepositoryName,
  id: string,
  part: Part,
): Promise<void> {
  const { first, last, bytes } = part;
  const { byteLength: length } = bytes;
  const upload = await uploadOf(call, repository, id);
  if (length !== last - first + 1)
    throw new Refusal('length-mismatch', { message: `the part has ${length} bytes: nothing was kept` });
  const body = { stream: new Response(bytes as Uint8Array<ArrayBuffer>).body, length };
  const chunk = { body, range: { offset: first, length }, isPart: true };
  try {
    await appendChunk(call, { ...upload, offset: first }, chunk);
  } catch (error) {
    const isRepeated = isRefusal(error, 'chunk-out-of-order') && (error.detail as { offset?: number })?.offset === last + 1;
    if (!isRepeated) throw error;
  }
}

/**
 * Finishes an upload.
 * @throws not-found, forbidden, and the reasons of `finishParts`
 */
export async function finishLayerUpload(
  call: ContentCall & Call,
  repository: RepositoryName,
  id: string,
  digest: Digest,
): Promise<void> {
  const { madeAt, ...upload } = await uploadOf(call, repository, id);
  const isOld = madeAt < call.now - UPLOAD_LIFETIME * 1000;
  await finishing(call, finishParts(call.env, upload, digest, { isOld, work: call.work }));
}

/** @throws not-found, forbidden; upload-unknown if the id was not made for this caller and repository */
async function uploadOf(
  call: ContentCall & Call,
  repository: RepositoryName,
  id: string,
): Promise<Upload & { madeAt: number }> {
  const by = requireRight(call, 'push', repository);
  const opened = await openLayerUpload(call.env, id, { repository, owner: uploaderOf(call) });
  if (opened === null) throw new Refusal('upload-unknown');
  const { madeAt, name } = opened;
  const mayCreate = mayCreateByPush(call, repository);
  return { id: `${uploadIdAt(madeAt)}${name}`, madeAt, repository, algorithm: 'sha256', offset: null, mayCreate, by };
}

/**
 * Makes a URL from which the caller can download a layer for 15 minutes, as long as the caller's credential and right last.
 * @throws not-found, repository-unknown, blob-unknown; content-gone if no image references the layer
 */
export async function downloadUrl(call: Call, repository: RepositoryName, digest: Digest): Promise<string> {
  requireRight(call, 'pull', repository);
  await requireLayer(call.env, repository, digest);
  const token = await mintDownload(call.env, call.authority, { repository, digest }, call);
  // Clients that log a URL leave out the values of its query.
  return `${call.origin}/layers/${digest}?token=${token}`;
}

/**
 * Opens the layer that a download URL is for. The rights of its holder are read from the database again.
 * @param named the digest in the URL
 * @throws forbidden if the token is not valid, has expired, or its holder may not pull any more; blob-unknown
 */
export async function openDownload(arrival: Arrival, named: string, token: string): Promise<OpenBlob> {
  const ended = () =>
    new Refusal('forbidden', { message: 'this download URL is not valid, or not valid any more: request another one' });
  const download = await verifyDownload(arrival.env, token, arrival);
  if (download?.digest !== named) throw ended();
  const { repository, digest, credential } = download;
  const authority = await loadCaller(arrival, credential, { repositories: [repository] }).catch((error: unknown) => {
    throw isRefusal(error, 'unauthenticated') ? ended() : error;
  });
  if (!may(authority, 'pull', repository)) throw ended();
  const caller = { subject: authority.subject, credential, grants: null };
  return pullBlob({ ...arrival, authority, caller, uploading: null, assumed: null, address: null }, repository, digest);
}
