/** Routes that read and delete blobs by digest (end-2 and end-10). */

import { checkBlob, deleteBlob, pullBlob } from '../../app/blobs.ts';
import { parseDigest } from '../../oci/digest.ts';
import { sendContent } from '../content.ts';
import { type AppEnv, contentCallOf, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';

export const blobs = new Hono<AppEnv>({ strict: false })
  .get('/:name{.+}/blobs/:digest', async (c) => {
    const digest = parseDigest(c.req.param('digest'));
    const read = c.req.method === 'HEAD' ? checkBlob : pullBlob;
    const { size, open } = await read(contentCallOf(c), repositoryIn(c), digest);
    return sendContent(c, { digest, size, mediaType: 'application/octet-stream', caching: 'immutable' }, open);
  })

  .delete('/:name{.+}/blobs/:digest', async (c) => {
    await deleteBlob(contentCallOf(c), repositoryIn(c), parseDigest(c.req.param('digest')));
    return c.body(null, 202);
  });
