/** Routes that list the tags and images of a repository, and read one tag or image. */

import type * as z from 'zod';
import { deleteImage } from '../../app/deletions.ts';
import {
  getImage,
  type ImageSummary,
  listImages,
  listTagDetails,
  type ManifestFacts,
  type TagDetails,
  tagCursor,
} from '../../app/images.ts';
import type { imageSummary, tagDetails } from '../../contract/answers/images.ts';
import { imageListQuery, imageQuery, tagListQuery } from '../../contract/images.ts';
import { parseDigest } from '../../oci/digest.ts';
import { parseReferenceToRead } from '../../oci/reference.ts';
import { IMAGES_DEFAULT } from '../../vocabulary/images.ts';
import { type AppEnv, callOf, repositoryIn } from '../context.ts';
import { Hono } from '../hono.ts';
import { chargeReads } from '../limits.ts';
import { conditionIn } from '../params.ts';
import { answer, answerItems, dateOf, shownActor, timeOf } from './answers.ts';
import { operation } from './operation.ts';

/** The approximate number of D1 rows that a page of tags reads. */
const PAGE_ROWS = 900;
/** The approximate number of D1 rows that a page of images, or one image, reads. */
const IMAGE_ROWS = 300;
/**
 * The approximate number of D1 rows that a search reads if it found less than a page. It has then read all tags or images, or
 * as many as one request may.
 */
const SEARCH_ROWS = 2000;
const WHOLE_SEARCH_ROWS = 10_000;

export const images = new Hono<AppEnv>({ strict: false })
  .get(
    '/repositories/:name{.+}/-/tags',
    operation({
      query: tagListQuery,
      rowsRead: PAGE_ROWS,
    }),
    async (c) => {
      const { filter = '', attached, n = IMAGES_DEFAULT } = c.var.query;
      const { items, next } = await listTagDetails(callOf(c), repositoryIn(c), c.var.query);
      const isSearch = filter !== '' || attached === 'false';
      if (isSearch && items.length < n) chargeReads(c, next === null ? SEARCH_ROWS : WHOLE_SEARCH_ROWS);
      return answerItems(items.map(shownTag), next, ({ pushedAt, tag }) =>
        tagCursor({ pushedAt: Date.parse(pushedAt) / 1000, tag }),
      );
    },
  )
  .get(
    '/repositories/:name{.+}/-/images',
    operation({
      query: imageListQuery,
      rowsRead: PAGE_ROWS,
    }),
    async (c) => {
      const { untagged, n = IMAGES_DEFAULT } = c.var.query;
      const { items, next } = await listImages(callOf(c), repositoryIn(c), c.var.query);
      if (untagged === 'true' && items.length < n) chargeReads(c, next === null ? SEARCH_ROWS : WHOLE_SEARCH_ROWS);
      return answerItems(items.map(shownImage), next, ({ digest }) => digest);
    },
  )
  .get(
    '/repositories/:name{.+}/-/images/:digest',
    operation({
      query: imageQuery,
      rowsRead: IMAGE_ROWS,
    }),
    async (c) => {
      const image = await getImage(callOf(c), repositoryIn(c), parseReferenceToRead(c.req.param('digest') ?? ''));
      const { annotations, config, layers, sharedMax, bytesInAll, bytesAlone } = image;
      const { referrerList, attestationList, truncated } = image;
      return answer({
        ...shownImage(image),
        ...{ annotations, config, layers, sharedMax, bytesInAll, bytesAlone, referrerList, attestationList, truncated },
      });
    },
  )
  .delete('/repositories/:name{.+}/-/images/:digest', operation({}), async (c) =>
    answer(await deleteImage(callOf(c), repositoryIn(c), parseDigest(c.req.param('digest') ?? ''), conditionIn(c))),
  );

function shownImage(image: ImageSummary): z.output<typeof imageSummary> {
  const { digest, subject, tags, pushedAt, tagged, isListed } = image;
  return {
    ...{ digest, subject, tags, listed: isListed },
    ...shownFacts(image),
    pushedAt: timeOf(pushedAt),
    taggedAt: tagged && timeOf(tagged.at),
    taggedBy: tagged?.by ? shownActor(tagged.by) : null,
  };
}

function shownFacts({ lastPulledOn, ...image }: ManifestFacts) {
  const { mediaType, kind, artifactType, manifestSize, size, platforms, attestations, referrers } = image;
  return {
    ...{ mediaType, kind, artifactType, manifestSize, size, platforms, attestations, referrers },
    lastPulledOn: lastPulledOn === null ? null : dateOf(lastPulledOn),
  };
}

function shownTag({ tag, digest, pushedAt, tagged, immutable, sameAs, image }: TagDetails): z.output<typeof tagDetails> {
  return {
    ...{ tag, digest, immutable, sameAs },
    pushedAt: timeOf(pushedAt),
    changedAt: tagged && timeOf(tagged.at),
    changedBy: tagged?.by ? shownActor(tagged.by) : null,
    image: image && shownFacts(image),
  };
}
