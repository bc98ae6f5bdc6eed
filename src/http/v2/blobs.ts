/** end-2 and end-10: blobs by digest. */
import { Hono } from 'hono';
import { parseDigest } from '../../oci/digest.ts';
import { deleteBlob, openBlob, statBlob, statBlobForPush } from '../../registry/blobs.ts';
import { requireDeletion } from '../../registry/manifests/deletion.ts';
import { may, mayAlso } from '../authorize.ts';
import { sendContent } from '../content.ts';
import { type AppEnv, actorOf } from '../context.ts';

export const blobs = new Hono<AppEnv>({ strict: false })
  .get('/:name{.+}/blobs/:digest', may('pull'), async (c) => {
    const { repository } = c.var;
    const digest = parseDigest(c.req.param('digest'));
    const willSkipUpload = c.req.method === 'HEAD' && mayAlso(c, 'push', repository);
    const blob = await (willSkipUpload ? statBlobForPush : statBlob)(c.env, repository, digest);
    const content = { digest, size: blob.size, mediaType: 'application/octet-stream', caching: 'immutable' as const };
    return sendContent(c, content, (range) => openBlob(c.env, blob, range));
  })

  .delete('/:name{.+}/blobs/:digest', may('delete'), async (c) => {
    requireDeletion(c.env);
    await deleteBlob(c.env, c.var.repository, parseDigest(c.req.param('digest')), actorOf(c));
    return c.body(null, 202);
  });
