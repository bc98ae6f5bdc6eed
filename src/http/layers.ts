/** Downloads of layers by a URL of the ECR API (GetDownloadUrlForLayer). The token in the query is the credential. */
import { openDownload } from '../app/layers.ts';
import { arrivalOf } from './authenticate.ts';
import { sendContent } from './content.ts';
import type { AppEnv } from './context.ts';
import { Hono } from './hono.ts';
import { single } from './params.ts';

export const layers = new Hono<AppEnv>({ strict: false }).get('/:digest', async (c) => {
  const { digest, size, open } = await openDownload(arrivalOf(c), c.req.param('digest') ?? '', single(c, 'token') ?? '');
  return sendContent(c, { digest, size, mediaType: 'application/octet-stream', caching: 'immutable' }, open);
});
