/** The route that lists the referrers of a manifest: manifests whose `subject` is that manifest (end-12). */

import { listReferrers } from '../../app/manifests.ts';
import { parseDigest } from '../../oci/digest.ts';
import { INDEX_MEDIA_TYPE } from '../../oci/manifest.ts';
import { sendJson } from '../content.ts';
import { type AppEnv, contentCallOf, type RequestContext, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { nextLink, pageSize, single } from '../params.ts';

export const referrers = new Hono<AppEnv>({ strict: false }).get('/:name{.+}/referrers/:digest', async (c) => {
  const subject = parseDigest(c.req.param('digest'));
  const artifactType = mediaType(c, 'artifactType') || undefined;
  const [lastType, last] = [mediaType(c, 'lastType'), single(c, 'last')];
  const limit = Math.max(1, pageSize(c));
  const after = last === undefined ? undefined : { artifactType: lastType ?? '', digest: last };
  const artifactTypes = artifactType === undefined ? [] : [artifactType];
  const query = { subject, artifactTypes, after, limit };
  const { items, more } = await listReferrers(contentCallOf(c), repositoryIn(c), query);
  const end = items.at(-1);
  return sendJson(
    c,
    { schemaVersion: 2, mediaType: INDEX_MEDIA_TYPE, manifests: items },
    {
      'content-type': INDEX_MEDIA_TYPE,
      ...(artifactType ? { 'oci-filters-applied': 'artifactType' } : {}),
      ...(more && end
        ? nextLink(c, { artifactType, n: single(c, 'n'), lastType: end.artifactType ?? '', last: end.digest })
        : {}),
    },
  );
});

/**
 * Returns a query parameter whose value is a media type. A plus in the value stays a plus. In a query string a plus usually
 * means a space, but many media types contain a plus, and many clients do not encode it.
 */
function mediaType(c: RequestContext, name: string): string | undefined {
  const decoded = single(c, name);
  const sent = new RegExp(`[?&]${name}=([^&]*)`).exec(new URL(c.req.url).search)?.[1];
  if (decoded === undefined || sent === undefined || !sent.includes('+')) return decoded;
  // The parameter is parsed again with the plus encoded.
  return new URLSearchParams(`${name}=${sent.replaceAll('+', '%2B')}`).get(name) ?? decoded;
}
