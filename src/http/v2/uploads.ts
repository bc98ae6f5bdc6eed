/** Routes that upload and mount blobs (end-4, end-5, end-6, end-11, end-13 and end-14). */
import type { Context } from 'hono';
import {
  appendChunk,
  cancelUpload,
  finishUpload,
  locationOf,
  mountBlob,
  offsetOf,
  openUpload,
  startUpload,
  type Upload,
  uploadBlob,
} from '../../app/blobs.ts';
import { type Digest, isDigest, parseAlgorithm, parseDigest } from '../../oci/digest.ts';
import { isRefusal, Refusal } from '../../vocabulary/refusal.ts';
import { type AppEnv, callOf, contentCallOf, repositoryIn } from '../context.ts';
import { DoorRefusal } from '../errors.ts';
import { Hono } from '../hono.ts';
import { limitUploadStarts } from '../limits.ts';
import { chunkOf, single } from '../params.ts';

type UploadContext = Context<AppEnv>;

export const uploads = new Hono<AppEnv>({ strict: false })
  .post('/:name{.+}/blobs/uploads', async (c) => {
    await limitUploadStarts(c, callOf(c).authority.subject);
    const call = contentCallOf(c);
    const algorithm = parseAlgorithm(single(c, 'digest-algorithm') ?? 'sha256');
    const mount = single(c, 'mount');
    if (mount !== undefined && isDigest(mount) && (await mountBlob(call, repositoryIn(c), mount, single(c, 'from')))) {
      return created(c, mount);
    }
    const parameter = digestParameter(c);
    const upload = await startUpload(call, repositoryIn(c), algorithm, parameter !== undefined);
    if (parameter === undefined) return progress(c, 202, 0, upload);
    const digest = parseDigest(parameter);
    await uploadBlob(call, upload, digest, chunkOf(c));
    return created(c, digest);
  })

  .get('/:name{.+}/blobs/uploads/:upload', async (c) => {
    const upload = await uploadOf(c);
    return progress(c, 204, await offsetOf(contentCallOf(c), upload), upload);
  })

  .patch('/:name{.+}/blobs/uploads/:upload', async (c) => {
    const upload = await uploadOf(c);
    return inStep(c, upload, async () => progress(c, 202, await appendChunk(contentCallOf(c), upload, chunkOf(c)), upload));
  })

  .put('/:name{.+}/blobs/uploads/:upload', async (c) => {
    const upload = await uploadOf(c);
    const digest = parseDigest(digestParameter(c));
    return inStep(c, upload, async () => {
      await finishUpload(contentCallOf(c), upload, digest, chunkOf(c));
      return created(c, digest);
    });
  })

  .delete('/:name{.+}/blobs/uploads/:upload', async (c) => {
    await cancelUpload(contentCallOf(c), await uploadOf(c));
    return c.body(null, 204);
  });

/** Returns the query parameter `digest`. @throws digest-invalid if it is given more than once */
function digestParameter(c: UploadContext): string | undefined {
  const digests = c.req.queries('digest') ?? [];
  if (digests.length > 1) throw new Refusal('digest-invalid', { message: 'the digest is given more than once: send it once' });
  return digests[0];
}

function created(c: UploadContext, digest: Digest): Response {
  return c.body(null, 201, { location: `/v2/${repositoryIn(c)}/blobs/${digest}`, 'docker-content-digest': digest });
}

async function progress(c: UploadContext, status: 202 | 204, offset: number, upload: Upload): Promise<Response> {
  return c.body(null, status, { ...(await standing(c, upload, offset)), 'docker-upload-uuid': upload.id });
}

/**
 * Returns the headers that tell the client the state of an upload. `Range` states the received bytes; if nothing was received,
 * the protocol has no better value than `0-0`. The location contains the offset, so that a chunk which the client sends again
 * to an older location is recognized.
 */
async function standing(c: UploadContext, upload: Upload, offset: number): Promise<{ location: string; range: string }> {
  const range = `0-${Math.max(0, offset - 1)}`;
  if (c.req.method !== 'POST' && upload.offset === offset) return { location: c.req.path, range };
  const sealed = await locationOf(contentCallOf(c), upload, offset);
  return { location: `/v2/${upload.repository}/blobs/uploads/${sealed}`, range };
}

/** Returns the upload in the path. @throws upload-unknown if the caller may not continue it, or if its location is invalid */
function uploadOf(c: UploadContext): Promise<Upload> {
  return openUpload(contentCallOf(c), repositoryIn(c), c.req.param('upload') ?? '');
}

/** Adds the offset and the location at which the client can continue to an answer with status 416. */
async function inStep(c: UploadContext, upload: Upload, work: () => Promise<Response>): Promise<Response> {
  try {
    return await work();
  } catch (error) {
    if (!isRefusal(error, 'chunk-out-of-order')) throw error;
    const { offset } = (error.detail ?? { offset: await offsetOf(contentCallOf(c), upload) }) as { offset: number };
    throw new DoorRefusal(error.reason, {
      message: error.message,
      detail: { offset },
      headers: await standing(c, upload, offset),
    });
  }
}
