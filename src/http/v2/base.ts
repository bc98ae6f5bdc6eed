/** end-1, and `_catalog`: what is asked of the registry as a whole. */
import { Hono } from 'hono';
import { listRepositories } from '../../registry/repositories.ts';
import { mayOverall } from '../authorize.ts';
import type { AppEnv } from '../context.ts';
import { nextLink, pageSize, single } from '../params.ts';

export const base = new Hono<AppEnv>({ strict: false })
  .get('/', mayOverall('login'), (c) => c.json({}))

  .get('/_catalog', mayOverall('catalog'), async (c) => {
    const limit = pageSize(c);
    const { items, more } = await listRepositories(c.env, { after: single(c, 'last') ?? '', limit });
    const link = more && limit > 0 ? nextLink(c, { n: String(limit), last: items.at(-1) }) : {};
    return c.json({ repositories: items }, 200, link);
  });
