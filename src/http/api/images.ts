/** Routes that list the tags of a repository, and read one tag or image. */
import { Hono } from 'hono';
import type * as z from 'zod';
import { listTagDetails, type TagDetails, tagCursor } from '../../app/images.ts';
import { tagDetails, tagListQuery } from '../../contract/images.ts';
import { pageSchema } from '../../contract/pages.ts';
import { type AppEnv, callOf, repositoryIn } from '../context.ts';
import { answerItems, timeOf } from './answers.ts';
import { operation } from './operation.ts';

/** The approximate number of database rows that a page of tags reads. */
const PAGE_ROWS = 900;

export const images = new Hono<AppEnv>({ strict: false }).get(
  '/repositories/:name{.+}/-/tags',
  operation({
    group: 'Tags',
    summary: 'List the tags of a repository, with what they name',
    description:
      'Filters and sorts over all tags. Attestations are counted with the image that they belong to, and are never listed ' +
      'as platforms. The end is where `next` is null.',
    query: tagListQuery,
    example: { query: { sort: 'name' } },
    refusals: {
      'repository-unknown': 'You may pull a repository of this name, and there is none',
      'too-much-work': 'There are too many tags to sort them by version',
    },
    answers: { 200: { description: 'A page of tags', schema: pageSchema(tagDetails) } },
    rowsRead: PAGE_ROWS,
  }),
  async (c) => {
    const { items, next } = await listTagDetails(callOf(c), repositoryIn(c), c.var.query);
    return answerItems(items.map(shownTag), next, ({ pushedAt, tag }) =>
      tagCursor({ pushedAt: Date.parse(pushedAt) / 1000, tag }),
    );
  },
);

function shownTag({ tag, digest, pushedAt, change, immutable, sameAs, image }: TagDetails): z.output<typeof tagDetails> {
  return {
    ...{ tag, digest, immutable, sameAs },
    pushedAt: timeOf(pushedAt),
    changedAt: change && timeOf(change.at),
    changedBy: change?.by ? { subject: change.by.subject, key: change.by.key ?? null } : null,
    image: image && { ...image, lastPulledOn: image.lastPulledOn === null ? null : dayOf(image.lastPulledOn) },
  };
}

/** The date of a day, such as `2026-01-31`. @param day the number of days since the epoch */
function dayOf(day: number): string {
  return new Date(day * 24 * 60 * 60 * 1000).toISOString().slice(0, 10);
}
