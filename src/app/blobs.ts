/**
 * Operations on blobs in the distribution protocol: pull, mount, upload and delete. `end-2` and so on are the names of
 * endpoints in the OCI Distribution Specification.
 */

import { isGranted } from '../auth/policy.ts';
import type { UploadLocation } from '../auth/tokens.ts';
import { sealUpload, unsealUpload } from '../auth/tokens.ts';
import { judgeOf, pullsSaid } from '../auth/visibility.ts';
import type { Actor } from '../events/event.ts';
import type { Digest, DigestAlgorithm } from '../oci/digest.ts';
import { isRepositoryName, type RepositoryName } from '../oci/name.ts';
import type { ByteRange } from '../oci/range.ts';
import {
  type Blob,
  mountBlob as linkBlob,
  openBlob,
  statBlob,
  statBlobAgainForPush,
  deleteBlob as unlinkBlob,
} from '../registry/blobs.ts';
import { requireDeletion } from '../registry/manifests/deletion.ts';
import { checkRepositoryExists, notCreated, repositoriesHolding } from '../registry/repositories/repositories.ts';
import { isSmall, publishSmall } from '../registry/uploads/publishing.ts';
import type { Chunk } from '../registry/uploads/receiving.ts';
import { newUploadId, type Upload } from '../registry/uploads/sessions.ts';
import {
  appendToUpload,
  cancelUpload as cancelSession,
  finishUpload as finishSession,
  uploadAtOnce,
  uploadOffset,
} from '../registry/uploads/uploads.ts';
import { Refusal } from '../vocabulary/refusal.ts';
import { may } from './access.ts';
import { finishing } from './call.ts';
import {
  type ContentCall,
  changing,
  mayCreateByPush,
  mayOnContent,
  requireContentRight,
  requireRead,
  uploaderOf,
  withAuthority,
  withPresentRights,
} from './content.ts';

export type { Chunk, Upload };

export interface OpenBlob {
  digest: Digest;
  /** The number of bytes of the blob. */
  size: number;
  open(range: ByteRange | null): Promise<ReadableStream>;
}

/** end-2, GET. Takes one D1 query, or none if a manifest that references the blob was pulled before from this isolate. */
export async function pullBlob(call: ContentCall, repository: RepositoryName, digest: Digest): Promise<OpenBlob> {
  requireRead(call, repository);
  return opened(call, repository, await statBlob(call.env, repository, digest, call.now));
}

/**
 * end-2, HEAD. If the caller may push, takes a lease on the blob, because a client that finds the blob skips its upload
 * (invariant 8).
 */
export async function checkBlob(call: ContentCall, repository: RepositoryName, digest: Digest): Promise<OpenBlob> {
  if (!mayOnContent(call, 'push', repository)) return pullBlob(call, repository, digest);
  requireRead(call, repository);
  return opened(call, repository, await statBlobAgainForPush(call.env, repository, digest, call.now));
}

function opened({ env, now }: ContentCall, repository: RepositoryName, blob: Blob): OpenBlob {
  return { digest: blob.digest, size: blob.size, open: (range) => openBlob(env, repository, blob, { range, now }) };
}

/** end-10: deletes the blob from the repository. */
export async function deleteBlob(call: ContentCall, repository: RepositoryName, digest: Digest): Promise<void> {
  const by = requireContentRight(call, 'delete', repository, null);
  requireDeletion(call.env);
  await unlinkBlob(call.env, repository, digest, by);
}

/**
 * Returns the upload that a signed location names. @throws upload-unknown if the location is invalid, or was signed for another
 * caller or repository
 */
export async function openUpload(call: ContentCall, repository: RepositoryName, location: string): Promise<Upload> {
  const by = requireUpload(call, repository);
  const found = call.uploading ? call.uploading.location : await unsealUpload(call.env, location, call);
  if (found?.owner !== uploaderOf(call) || found.repository !== repository) throw new Refusal('upload-unknown');
  const { owner: _, ...upload } = found;
  return { ...upload, ...sessionIn(call), mayCreate: call.authority !== null && mayCreateByPush(call, repository), by };
}

/**
 * Returns the row of the upload if it was read together with the caller's rights, otherwise an empty object. @throws
 * upload-unknown
 */
function sessionIn({ uploading }: ContentCall): Pick<Upload, 'session'> {
  const session = uploading?.session() ?? null;
  return session === null ? {} : { session };
}

/**
 * Requires the right to push. For a request that only reads the offset of an upload, an access token suffices; the caller's
 * rights are not read from D1.
 * @throws unauthenticated, forbidden
 */
function requireUpload(call: ContentCall, repository: RepositoryName): Actor {
  if (call.authority !== null) return requireContentRight(call, 'push', repository, null);
  if (!mayOnContent(call, 'push', repository)) throw new Refusal('forbidden');
  return { subject: call.caller.subject };
}

/**
 * Starts an upload. No row is written until the first bytes arrive.
 * @param isWhole true if the same request uploads the whole blob (`uploadBlob`). Remembered rights are then enough
 * @throws repository-unknown if the repository does not exist and the caller may not create it
 */
export async function startUpload(
  before: ContentCall,
  repository: RepositoryName,
  algorithm: DigestAlgorithm,
  isWhole = false,
): Promise<Upload> {
  const call = isWhole ? before : await withPresentRights(before);
  const pusher = pusherOf(call, repository);
  // With remembered rights, the batch that publishes the blob finds out whether the repository exists.
  if (!pusher.mayCreate && call.assumed === null) await requireExistence(call, repository);
  return { id: newUploadId(call.now), repository, algorithm, offset: 0, ...pusher, ...sessionIn(call) };
}

/** @throws repository-unknown if the repository does not exist */
async function requireExistence({ env, uploading }: ContentCall, repository: RepositoryName): Promise<void> {
  if (uploading === null) await checkRepositoryExists(env, repository);
  else if (!uploading.exists()) throw notCreated(repository);
}

/**
 * Returns the location (URL) of an upload that has received `offset` bytes. The location is signed, and is valid only for this
 * caller.
 */
export function locationOf(call: ContentCall, upload: UploadLocation, offset: number): Promise<string> {
  return sealUpload(call.env, { ...upload, offset }, uploaderOf(call), call);
}

/**
 * end-11: mounts a blob of another repository. If the blob cannot be mounted, this is not an error: the client then uploads it.
 * The client is not told why.
 * @param from the repository to mount from; `undefined` means any repository from which the caller may pull
 * @returns true if the blob was mounted
 */
export function mountBlob(
  call: ContentCall,
  repository: RepositoryName,
  digest: Digest,
  from: string | undefined,
): Promise<boolean> {
  return changing(call, (present) => mountUnder(present, repository, digest, from));
}

async function mountUnder(
  call: ContentCall,
  repository: RepositoryName,
  digest: Digest,
  from: string | undefined,
): Promise<boolean> {
  const by = requireContentRight(call, 'push', repository, null);
  const sources = from === undefined ? await readableHolders(call, digest) : readable(call, from);
  if (sources.length === 0) return call.assumed !== null && mountUnder(await withPresentRights(call), repository, digest, from);
  const mayCreate = mayCreateByPush(call, repository);
  const mount = { repository, digest, sources, isNamed: from !== undefined, by, mayCreate, assumed: call.assumed };
  return finishing(call, linkBlob(call.env, mount));
}

/** The maximum number of repositories that are considered as the source of a mount if the client names none. */
const HOLDERS_MAX = 100;

/**
 * Returns repositories that contain the blob and from which the caller may pull. The scopes of the access token are ignored,
 * because a client cannot request the scope of a repository that it does not know.
 */
async function readableHolders(call: ContentCall, digest: Digest): Promise<RepositoryName[]> {
  const holders = await repositoriesHolding(call.env, digest, HOLDERS_MAX);
  if (holders.length === 0) return [];
  const { authority } = withAuthority(call);
  const said = await pullsSaid(call.env, authority, holders);
  const judge = judgeOf(authority, 'pull');
  return holders.filter((name) => judge(name, said.get(name)));
}

/**
 * Returns the source that the client named if the caller may pull from it and the access token grants this. Otherwise returns
 * an empty list.
 */
function readable(call: ContentCall, from: string): RepositoryName[] {
  const { authority } = withAuthority(call);
  return isRepositoryName(from) && may(authority, 'pull', from) && isGranted(call.caller, 'pull', from) ? [from] : [];
}

/** Returns what the batch of a push must know of the caller. @throws unauthenticated, forbidden */
function pusherOf(call: ContentCall, repository: RepositoryName): Pick<Upload, 'by' | 'mayCreate'> {
  return { by: requireContentRight(call, 'push', repository, null), mayCreate: mayCreateByPush(call, repository) };
}

/** end-4b: uploads the whole blob in one request. */
export async function uploadBlob(call: ContentCall, upload: Upload, digest: Digest, chunk: Chunk): Promise<void> {
  await uploadWhole(call, upload, digest, chunk, async (present, again) => {
    const { repository, algorithm } = upload;
    const started = present === call ? upload : await startUpload(present, repository, algorithm);
    await finishing(present, uploadAtOnce(present.env, started, digest, again, present.work));
  });
}

/**
 * Uploads a small blob that comes in one request. With remembered rights, this takes one call to the database. If anything is
 * refused, the present rights and the upload are read, and the request is decided by them.
 * @param usual uploads the blob with the present rights
 */
async function uploadWhole(
  call: ContentCall,
  upload: Upload,
  digest: Digest,
  chunk: Chunk,
  usual: (present: ContentCall, chunk: Chunk) => Promise<void>,
): Promise<void> {
  const { assumed, env, work } = call;
  if (assumed === null || upload.offset !== 0 || !isSmall(chunk.body.length)) {
    return usual(await withPresentRights(call), chunk);
  }
  const again = await finishing(call, publishSmall(env, { ...upload, assumed }, digest, chunk, work));
  if (again !== null) await usual(await withPresentRights(call), again);
}

/** end-13: returns the number of bytes that the upload has received. @throws upload-unknown */
export function offsetOf(call: ContentCall, upload: Upload): Promise<number> {
  return uploadOffset(call.env, upload);
}

/** end-5: appends a chunk and returns the new offset. @throws chunk-out-of-order with the current offset in the detail */
export function appendChunk(call: ContentCall, upload: Upload, chunk: Chunk): Promise<number> {
  return finishing(call, appendToUpload(call.env, upload, chunk, call.work));
}

/** end-6: appends the last chunk and publishes the blob. @throws chunk-out-of-order with the current offset in the detail */
export async function finishUpload(call: ContentCall, upload: Upload, digest: Digest, chunk: Chunk): Promise<void> {
  await uploadWhole(call, upload, digest, chunk, async (present, again) => {
    const opened = present === call ? upload : { ...upload, ...sessionIn(present), ...pusherOf(present, upload.repository) };
    await finishing(present, finishSession(present.env, opened, digest, again, present.work));
  });
}

export function cancelUpload(call: ContentCall, upload: Upload): Promise<void> {
  return cancelSession(call.env, upload, call.work);
}
