/** The route of the audit log. */

import type * as z from 'zod';
import { type Activity, type LoggedActivity, listActivity } from '../../app/activity.ts';
import { activityQuery, type event, loggedEvent } from '../../contract/activity.ts';
import { pageSchema } from '../../contract/pages.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { type AppEnv, callOf } from '../context.ts';
import { Hono } from '../hono.ts';
import { answerItems, shownActor, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { secondsOf } from './params.ts';

export const events = new Hono<AppEnv>({ strict: false }).get(
  '/events',

  operation({
    group: 'Audit log',
    summary: 'Search the audit log',
    description:
      'The newest event comes first. Without `repository` and `organization`, administrators see all events, and ' +
      'others see what they did themselves. A page may be short or empty before the end of the list, which is where ' +
      '`next` is null.',
    query: activityQuery,
    example: { query: { repository: 'acme/app', type: 'tag.created,tag.moved', n: '1' } },
    rowsRead: 4200,
    refusals: {
      'not-found': 'The repository or organization does not exist, or you may not know of it',
      forbidden: 'You may see only a part of this: name a repository that you may administer, or yourself as `actor`',
    },
    answers: { 200: { description: 'A page of events', schema: pageSchema(loggedEvent) } },
  }),
  async (c) => {
    const { n: limit, last, repository, organization, tag, digest, actor, ...times } = c.var.query;
    const { type: types, cause, since, until } = times;
    const filter = {
      ...{ repository: repository as RepositoryName | undefined, organization, tag, digest, actor, types, cause },
      since: since === undefined ? undefined : secondsOf(since),
      until: until === undefined ? undefined : secondsOf(until),
    };
    const before = last === undefined ? null : Number(last);
    const { items, next } = await listActivity(callOf(c), filter, { before, limit });
    return answerItems(items.map(shownLogged), next === null ? null : String(next), ({ id }) => String(id));
  },
);

function shownLogged({ address, keyName, ...activity }: LoggedActivity): z.output<typeof loggedEvent> {
  const { actor, ...shown } = shownEvent(activity);
  return { ...shown, actor: { ...actor, keyName }, ...(address === null ? {} : { address }) };
}

export function shownEvent(activity: Activity): z.output<typeof event> {
  const { id, sequence, at, type, repository, organization, target, by } = activity;
  const actor = shownActor(by);
  return { id, sequence, at: timeOf(at), type, repository, organization, target, actor };
}
