/** end-4, end-5, end-6, end-11, end-13 and end-14: how blobs come in. */
import { type Context, Hono } from 'hono';
import { allows, isGranted } from '../../auth/policy.ts';
import { sealUpload, unsealUpload } from '../../auth/tokens.ts';
import { judgeOf, pullsSaid } from '../../auth/visibility.ts';
import { type Digest, isDigest, parseAlgorithm, parseDigest } from '../../oci/digest.ts';
import { isRepositoryName, type RepositoryName } from '../../oci/name.ts';
import { mountBlob } from '../../registry/blobs.ts';
import { checkRepositoryExists, repositoriesHolding } from '../../registry/repositories/repositories.ts';
import { newUploadId, type Upload } from '../../registry/uploads/sessions.ts';
import { appendToUpload, cancelUpload, finishUpload, uploadAtOnce, uploadOffset } from '../../registry/uploads/uploads.ts';
import { isRefusal, Refusal } from '../../vocabulary/refusal.ts';
import { authorityOf, may, mayCreateByPush } from '../authorize.ts';
import { type AppEnv, actorOf, afterwards, finishing, runtimeOf, uploaderOf } from '../context.ts';
import { DoorRefusal } from '../errors.ts';
import { limitUploadStarts } from '../limits.ts';
import { chunkOf, single } from '../params.ts';

type UploadContext = Context<AppEnv & { Variables: { repository: RepositoryName } }>;

export const uploads = new Hono<AppEnv>({ strict: false })
  .post('/:name{.+}/blobs/uploads', may('push'), async (c) => {
    const { repository } = c.var;
    await limitUploadStarts(c, authorityOf(c).subject);
    const mayCreate = mayCreateByPush(c, repository);
    if (!mayCreate) await checkRepositoryExists(c.env, repository);
    const mount = single(c, 'mount');
    if (mount !== undefined && isDigest(mount) && (await mounted(c, mount, mayCreate))) return created(c, mount);
    const algorithm = parseAlgorithm(single(c, 'digest-algorithm') ?? 'sha256');
    const upload: Upload = { id: newUploadId(Date.now()), repository, algorithm, offset: 0, mayCreate, by: actorOf(c) };
    const parameter = digestParameter(c);
    if (parameter === undefined) return progress(c, 202, 0, upload);
    const digest = parseDigest(parameter);
    await finishing(c, uploadAtOnce(c.env, upload, digest, chunkOf(c), afterwards(c)));
    return created(c, digest);
  })

  .get('/:name{.+}/blobs/uploads/:upload', may('push'), async (c) => {
    const upload = await uploadOf(c);
    return progress(c, 204, await uploadOffset(c.env, upload), upload);
  })

  .patch('/:name{.+}/blobs/uploads/:upload', may('push'), async (c) => {
    const upload = await uploadOf(c);
    return inStep(c, upload, async () => {
      const offset = await finishing(c, appendToUpload(c.env, upload, chunkOf(c), afterwards(c)));
      return progress(c, 202, offset, upload);
    });
  })

  .put('/:name{.+}/blobs/uploads/:upload', may('push'), async (c) => {
    const upload = await uploadOf(c);
    const digest = parseDigest(digestParameter(c));
    return inStep(c, upload, async () => {
      await finishing(c, finishUpload(c.env, upload, digest, chunkOf(c), afterwards(c)));
      return created(c, digest);
    });
  })

  .delete('/:name{.+}/blobs/uploads/:upload', may('push'), async (c) => {
    await cancelUpload(c.env, await uploadOf(c), afterwards(c));
    return c.body(null, 204);
  });

/** A digest given twice is no digest. @throws digest-mismatch */
function digestParameter(c: UploadContext): string | undefined {
  const digests = c.req.queries('digest') ?? [];
  if (digests.length > 1) throw new Refusal('digest-invalid', { message: 'the digest is given more than once' });
  return digests[0];
}

/** end-11. What cannot be mounted is uploaded: no reason is given, and none of these is an error. */
async function mounted(c: UploadContext, digest: Digest, mayCreate: boolean): Promise<boolean> {
  const { repository } = c.var;
  const from = single(c, 'from');
  const sources = from === undefined ? await readableHolders(c, digest) : readable(c, from);
  return finishing(
    c,
    mountBlob(c.env, { repository, digest, sources, isNamed: from !== undefined, by: actorOf(c), mayCreate }),
  );
}

/** Looked at for a mount that names no source. */
const HOLDERS_MAX = 100;

/**
 * Of the repositories that hold it, those the caller may pull: by who they are, not by the scopes of their token, as a client
 * cannot ask for the scope of a repository it does not know of.
 */
async function readableHolders(c: UploadContext, digest: Digest): Promise<RepositoryName[]> {
  const holders = await repositoriesHolding(c.env, digest, HOLDERS_MAX);
  if (holders.length === 0) return [];
  const authority = authorityOf(c);
  const said = await pullsSaid(c.env, authority.principals, holders);
  const judge = judgeOf(authority, 'pull');
  return holders.filter((name) => judge(name, said.get(name)));
}

/** The named source, if the caller may pull it and shows a token for it. Anybody else gets an upload (end-11). */
function readable(c: UploadContext, from: string): RepositoryName[] {
  const isReadable = isRepositoryName(from) && allows(authorityOf(c), 'pull', from) && isGranted(c.var.caller, 'pull', from);
  return isReadable ? [from] : [];
}

function created(c: UploadContext, digest: Digest): Response {
  return c.body(null, 201, { location: `/v2/${c.var.repository}/blobs/${digest}`, 'docker-content-digest': digest });
}

async function progress(c: UploadContext, status: 202 | 204, offset: number, upload: Upload): Promise<Response> {
  return c.body(null, status, { ...(await standing(c, upload, offset)), 'docker-upload-uuid': upload.id });
}

/** `Range` says what has been received; the protocol has no way to say nothing but `0-0`. The location says where to go on. */
async function standing(c: UploadContext, upload: Upload, offset: number): Promise<{ location: string; range: string }> {
  const range = `0-${Math.max(0, offset - 1)}`;
  if (c.req.method !== 'POST' && upload.offset === offset) return { location: c.req.path, range };
  const sealed = await sealUpload(c.env, { ...upload, offset }, uploaderOf(c), runtimeOf(c));
  return { location: `/v2/${upload.repository}/blobs/uploads/${sealed}`, range };
}

async function uploadOf(c: UploadContext): Promise<Upload> {
  const { repository } = c.var;
  const expected = { repository, subject: uploaderOf(c) };
  const upload = await unsealUpload(c.env, c.req.param('upload') ?? '', expected, runtimeOf(c));
  if (!upload) throw new Refusal('upload-unknown');
  return { ...upload, mayCreate: c.req.method === 'PUT' && mayCreateByPush(c, repository), by: actorOf(c) };
}

/** A 416 says where the upload stands, so that the client can go on. */
async function inStep(c: UploadContext, upload: Upload, work: () => Promise<Response>): Promise<Response> {
  try {
    return await work();
  } catch (error) {
    if (!isRefusal(error, 'chunk-out-of-order')) throw error;
    const { offset } = (error.detail ?? { offset: await uploadOffset(c.env, upload) }) as { offset: number };
    throw new DoorRefusal(error.reason, {
      message: error.message,
      detail: { offset },
      headers: await standing(c, upload, offset),
    });
  }
}
