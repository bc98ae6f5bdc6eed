/** The route of the audit log. */

import type * as z from 'zod';
import { type Activity, type LoggedActivity, listActivity } from '../../app/activity.ts';
import { activityQuery } from '../../contract/activity.ts';
import type { event, loggedEvent } from '../../contract/answers/activity.ts';
import type { RepositoryName } from '../../oci/name.ts';
import { type AppEnv, callOf } from '../context.ts';
import { Hono } from '../hono.ts';
import { answerItems, shownActor, timeOf } from './answers.ts';
import { operation } from './operation.ts';
import { secondsOf } from './params.ts';

export const events = new Hono<AppEnv>({ strict: false }).get(
  '/events',

  operation({
    query: activityQuery,
    rowsRead: 4200,
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
