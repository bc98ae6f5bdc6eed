/** The filters of the log: the kind of event, the actor, the tag, and the time. They are in the query string of the page. */
import type { FC } from 'hono/jsx';
import { EVENT_TYPES, type EventType } from '../../../vocabulary/event-types.ts';
import type { RequestContext } from '../../context.ts';

/** The filters of a page, as fields of its form and as query parameters of the management API. */
export interface Wanted {
  fields: Partial<Record<'type' | 'actor' | 'tag' | 'since' | 'until', string>>;
  query: Partial<Record<'type' | 'actor' | 'tag' | 'since' | 'until' | 'last', string>>;
  actor: string | undefined;
  isFiltered: boolean;
}

/** The form of a day without a time, as a date field sends it. */
const DAY = /^\d{4}-\d{2}-\d{2}$/;
const DAY_MS = 24 * 60 * 60 * 1000;

export function wantedIn(c: RequestContext): Wanted {
  const text = (name: string) => c.req.query(name)?.trim() || undefined;
  const fields = defined({
    type: text('type'),
    actor: text('actor'),
    tag: c.var.repository === undefined ? undefined : text('tag'),
    since: text('since'),
    until: text('until'),
  });
  const { since, until, actor } = fields;
  const query = defined({
    ...fields,
    actor: actor === undefined ? undefined : subjectOf(actor),
    since: since === undefined ? undefined : startOf(since, 0),
    // The last day is included, so the search ends at the beginning of the next day.
    until: until === undefined ? undefined : startOf(until, DAY_MS),
    last: text('last'),
  });
  return { fields, query, actor, isFiltered: Object.keys(fields).length > 0 };
}

function defined<T extends Record<string, string | undefined>>(fields: T): Partial<Record<keyof T, string>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<
    Record<keyof T, string>
  >;
}

/** Returns the subject for an actor that a person typed. A name without a kind is that of a user. */
function subjectOf(actor: string): string {
  return actor.includes(':') || actor === 'registry' ? actor : `user:${actor}`;
}

function startOf(day: string, later: number): string {
  const time = DAY.test(day) ? Date.parse(`${day}T00:00:00Z`) : Number.NaN;
  return Number.isNaN(time) ? day : new Date(time + later).toISOString();
}

/** The kinds of events in the form, with the beginnings of their types. */
const KINDS: readonly (readonly [text: string, beginnings: readonly string[]])[] = [
  ['Tags', ['tag.']],
  ['Images', ['manifest.', 'blob.']],
  ['Repositories and their rules', ['repository.', 'comment.', 'tag-mutability.', 'lifecycle.', 'policy.']],
  ['People, teams and robots', ['user.', 'organization.', 'member.', 'team.', 'team-member.', 'robot.', 'trust-rule.']],
  ['Keys and logins', ['key.', 'login.']],
  ['Webhooks', ['webhook.']],
  ['Storage and trash', ['trash.', 'gc.', 'quota.', 'blob.missing']],
];

const OPTIONS: readonly (readonly [types: string, text: string])[] = KINDS.map(([text, beginnings]) => [
  EVENT_TYPES.filter((type: EventType) => beginnings.some((one) => type.startsWith(one))).join(','),
  text,
]);

interface FiltersProps {
  path: string;
  wanted: Wanted;
  hasTags: boolean;
}

export const Filters: FC<FiltersProps> = ({ path, wanted: { fields, isFiltered }, hasTags }) => (
  <form class="filters" action={path} data-filter>
    <label>
      Events
      <select name="type">
        <option value="">All</option>
        {OPTIONS.map(([types, text]) => (
          <option value={types} selected={types === fields.type}>
            {text}
          </option>
        ))}
        <Other type={fields.type} />
      </select>
    </label>
    <label>
      By
      <input name="actor" value={fields.actor} maxlength={255} autocomplete="off" placeholder="user or robot:acme/ci" />
    </label>
    {hasTags ? (
      <label>
        Tag
        <input name="tag" value={fields.tag} maxlength={128} autocomplete="off" class="mono" />
      </label>
    ) : null}
    <label>
      From
      <input name="since" type="date" value={fields.since} />
    </label>
    <label>
      To
      <input name="until" type="date" value={fields.until} />
    </label>
    <button type="submit">Show</button>
    {isFiltered ? <a href={path}>Clear</a> : null}
  </form>
);

/** An option for event types in the address that are not one of the form's kinds. */
const Other: FC<{ type: string | undefined }> = ({ type }) => {
  if (type === undefined || OPTIONS.some(([types]) => types === type)) return null;
  return (
    <option value={type} selected>
      {type}
    </option>
  );
};
