/** The pages that show the audit log of a repository, an organization or the registry: who did what and when. */
import type { Context } from 'hono';
import { type ActivityFilter, type LoggedActivity, listActivity } from '../../../app/activity.ts';
import { activityQuery } from '../../../contract/activity.ts';
import { parse } from '../../../contract/valid.ts';
import type { RepositoryName } from '../../../oci/name.ts';
import { isRefusal, type Refusal } from '../../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { limitExpensiveReads } from '../../limits.ts';
import { render } from '../page.tsx';
import { withQuery } from '../parts/addresses.ts';
import { Sentence } from '../parts/event.tsx';
import { Notice, sentence } from '../parts/form.tsx';
import { type Column, Empty, Pager, Table } from '../parts/table.tsx';
import { Foreign, visible, When } from '../parts/text.tsx';
import { type Place, PlacePage, placeAt, placeOf } from '../places/place.tsx';
import { statusOf } from '../refused.tsx';
import { Filters, type Wanted, wantedIn } from './filters.tsx';

const PAGE_SIZE = 50;
/** The approximate maximum of D1 rows that one page reads. */
const ROWS_READ = 4200;

export const activityPages = new Hono<AppEnv>()
  .get('/activity', show)
  .get('/organizations/:organization/activity', show)
  .get('/repositories/:name{.+}/-/activity', show);

async function show(c: Context<AppEnv>): Promise<Response> {
  await limitExpensiveReads(c, ROWS_READ);
  const wanted = wantedIn(c);
  const place = placeOf(c);
  const found = await search(c, wanted);
  const props = { c, place: await place, wanted };
  if ('refusal' in found) {
    return render(c, <Activity {...props} items={[]} next={null} refusal={found.refusal} />, statusOf(found.refusal));
  }
  return render(c, <Activity {...props} {...found} />);
}

/** Searches the log. If a filter is invalid, the error is shown above the list. */
async function search(c: Context<AppEnv>, wanted: Wanted) {
  try {
    const { filter, before } = filterOf(c, wanted);
    return await listActivity(callOf(c), filter, { before, limit: PAGE_SIZE });
  } catch (error) {
    if (!isRefusal(error, 'request-invalid', 'forbidden')) throw error;
    if (statusOf(error) === 403 && wanted.actor === undefined) throw error;
    return { refusal: error };
  }
}

/** Returns the filter for the operation. @throws request-invalid */
function filterOf(c: RequestContext, wanted: Wanted): { filter: ActivityFilter; before: number | null } {
  const repository = c.var.repository;
  const {
    since,
    until,
    type: types,
    tag,
    actor,
    last,
    organization,
  } = parse(activityQuery, {
    ...wanted.query,
    ...(repository === undefined ? {} : { repository }),
    ...(c.req.param('organization') === undefined ? {} : { organization: c.req.param('organization')?.toLowerCase() }),
  });
  const seconds = (time: string | undefined) => (time === undefined ? undefined : Math.ceil(Date.parse(time) / 1000));
  return {
    filter: {
      ...{ repository: repository as RepositoryName | undefined, organization, types, tag, actor },
      ...{ since: seconds(since), until: seconds(until) },
    },
    before: last === undefined ? null : Number(last),
  };
}

interface ActivityProps {
  c: RequestContext;
  place: Place;
  wanted: Wanted;
  items: LoggedActivity[];
  next: number | null;
  refusal?: Refusal;
}

function Activity({ c, place, wanted, items, next, refusal }: ActivityProps) {
  const path = placeAt(place, 'activity');
  const { last, ...query } = wanted.query;
  return (
    <PlacePage c={c} place={place} tab="activity" title="Activity" json={jsonOf(place, query)}>
      <Intro c={c} place={place} />
      <Filters path={path} wanted={wanted} hasTags={place.repository !== null} />
      {refusal === undefined ? null : <Notice tone="bad">{sentence(refusal.message)}</Notice>}
      <div id="results" data-results>
        {items.length === 0 ? (
          <Nothing path={path} isFiltered={wanted.isFiltered} goesOn={next !== null} />
        ) : (
          <Table caption="Events, the newest first" columns={COLUMNS} items={items} />
        )}
        <Pager path={path} query={wanted.fields} last={last} next={next === null ? null : String(next)} />
      </div>
    </PlacePage>
  );
}

function jsonOf({ scope, name, repository }: Place, query: Record<string, string | undefined>): string {
  const of = scope === 'registry' ? {} : repository === null ? { organization: name } : { repository: name };
  return withQuery('/api/v1/events', { ...of, ...query });
}

function Intro({ c, place }: { c: RequestContext; place: Place }) {
  if (place.scope !== 'registry' || callOf(c).authority.administrator) return null;
  return <p class="soft">What you did. The activity of a repository or organization that you manage is on its own page.</p>;
}

function Nothing({ path, isFiltered, goesOn }: { path: string; isFiltered: boolean; goesOn: boolean }) {
  if (goesOn) return <Empty title="No match so far: there are more events to look at on the next page" />;
  if (!isFiltered) return <Empty title="Nothing happened yet" />;
  return (
    <Empty title="No event matches">
      <p>
        <a href={path}>Show all events</a>
      </p>
    </Empty>
  );
}

const COLUMNS: Column<LoggedActivity>[] = [
  {
    head: 'Event',
    cell: (event) => (
      <>
        <Sentence event={event} />
        <Details event={event} />
      </>
    ),
  },
  {
    head: 'With',
    cell: ({ by, keyName, address }) => (
      <>
        {by.key ? <Key id={by.key} name={keyName} /> : null}
        {address === null ? null : <code>{address}</code>}
        {by.key || address !== null ? null : <span class="soft">not recorded</span>}
      </>
    ),
  },
  { head: 'When', cell: ({ at }) => <When at={at} /> },
];

function Key({ id, name }: { id: string; name: string | null }) {
  return (
    <div title={id}>
      key <Foreign text={name ?? id} />
    </div>
  );
}

function Details({ event: { type, target } }: { event: LoggedActivity }) {
  return (
    <details class="event">
      <summary>{type}</summary>
      <pre tabindex={0}>{visible(JSON.stringify(target, null, 2))}</pre>
    </details>
  );
}
