/** The route that lists the tags of a repository (end-8). */

import { listTags } from '../../app/manifests.ts';
import { sendJson } from '../content.ts';
import { type AppEnv, contentCallOf, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { nextLink, pageSize, single } from '../params.ts';

export const tags = new Hono<AppEnv>({ strict: false }).get('/:name{.+}/tags/list', async (c) => {
  const repository = repositoryIn(c);
  const limit = pageSize(c);
  const { items, more } = await listTags(contentCallOf(c), repository, { after: single(c, 'last') ?? '', limit });
  const link = more && limit > 0 ? nextLink(c, { n: String(limit), last: items.at(-1) }) : {};
  return sendJson(c, { name: repository, tags: items }, link);
});
