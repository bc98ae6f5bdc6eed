/** Routes about the whole registry: the version check (end-1) and the catalog of repositories. */

import { listCatalog } from '../../app/repository-lists.ts';
import { sendJson } from '../content.ts';
import { type AppEnv, callOf } from '../context.ts';
import { Hono } from '../hono.ts';
import { nextLink, pageSize, single } from '../params.ts';

export const base = new Hono<AppEnv>({ strict: false })
  .get('/', (c) => sendJson(c, {}))

  .get('/_catalog', async (c) => {
    const limit = pageSize(c);
    const { items, next } = await listCatalog(callOf(c), { after: single(c, 'last') ?? '', limit });
    const link = next === null ? {} : nextLink(c, { n: String(limit), last: next });
    return sendJson(c, { repositories: items }, link);
  });
