/** The parts of a webhook's page. */
import type { FC } from 'hono/jsx';
import type { Delivery, Webhook } from '../../../app/subscriptions.ts';
import type { RequestContext } from '../../context.ts';
import { webhookAt } from '../parts/addresses.ts';
import { Sentence } from '../parts/event.tsx';
import { ActionForm, ConfirmName, Refusals, type Refused, Select } from '../parts/form.tsx';
import { type Column, Empty, Pager, Table } from '../parts/table.tsx';
import { Chip, Foreign, Icon, When } from '../parts/text.tsx';
import { type Place, PlacePage, placeAt } from '../places/place.tsx';
import { WebhookConflict, WebhookFields } from './form.tsx';
import { eventsText, FORMAT_WORDS, StateChip, StateText } from './words.tsx';

/** The form of the page that was refused. */
export interface RefusedForm {
  form: 'state' | 'settings' | 'secret' | 'delete';
}

type State = Delivery['state'];

interface Deliveries {
  items: Delivery<number>[];
  state: State | null;
  last: string | undefined;
  next: string | null;
}

interface ViewProps {
  c: RequestContext;
  place: Place;
  webhook: Webhook;
  deliveries: Deliveries;
  refused: (Refused & RefusedForm) | undefined;
}

const STATES: readonly (readonly [State, string])[] = [
  ['waiting', 'Waiting'],
  ['delivered', 'Delivered'],
  ['failed', 'Failed'],
];

export function isState(text: string | undefined): text is State {
  return STATES.some(([state]) => state === text);
}

/** Returns the name that the user must type to delete a webhook: the host of its URL. */
export function nameToType({ id, url }: Webhook): string {
  return url !== null && URL.canParse(url) ? new URL(url).hostname : id;
}

export const WebhookPage: FC<ViewProps> = ({ c, place, webhook, deliveries, refused }) => {
  const { id, description, url } = webhook;
  const title = place.name === '' ? 'Webhook of the registry' : description || 'Webhook';
  const of = (form: RefusedForm['form']) => (refused?.form === form ? refused : undefined);
  return (
    <PlacePage c={c} place={place} tab="webhooks" title={title} json={`/api/v1${webhookAt(id)}`}>
      <p class="more">
        <a href={placeAt(place, 'webhooks')}>All webhooks</a>
      </p>
      <div class="subject">
        <h2>
          <Foreign text={description || (url ?? id)} />
        </h2>
        <StateChip webhook={webhook} />
        <Actions webhook={webhook} />
      </div>
      <Refusals refused={of('state')} />
      <StateText webhook={webhook} />
      <Facts webhook={webhook} />
      <DeliveryList webhook={webhook} {...deliveries} />
      <h2>Settings</h2>
      <Settings c={c} webhook={webhook} refused={of('settings')} />
      <SecretForm webhook={webhook} refused={of('secret')} />
      <DeleteForm webhook={webhook} refused={of('delete')} />
    </PlacePage>
  );
};

const Actions: FC<{ webhook: Webhook }> = ({ webhook: { id, disabled, openUntil, version } }) => {
  const state = { version: String(version), enabled: String(disabled !== null) };
  const isPausing = disabled === null && openUntil * 1000 > Date.now();
  return (
    <div class="actions">
      <ActionForm action={webhookAt(id, 'test')} label="Send a test" />
      {disabled === null ? <ActionForm action={webhookAt(id, 'replay')} label="Replay failed" /> : null}
      {isPausing ? (
        <ActionForm action={webhookAt(id, 'state')} label="End the pause" fields={{ ...state, enabled: 'true' }} />
      ) : null}
      <ActionForm action={webhookAt(id, 'state')} label={disabled === null ? 'Disable' : 'Enable'} fields={state} />
    </div>
  );
};

const Facts: FC<{ webhook: Webhook }> = ({ webhook }) => {
  const { id, url, format, createdAt, headerNames, previousUntil } = webhook;
  return (
    <dl class="facts">
      <dt>URL</dt>
      <dd class="mono">
        <Foreign text={url ?? 'cannot be read: set it again'} />
      </dd>
      <dt>Events</dt>
      <dd>{eventsText(webhook)}</dd>
      <dt>Format</dt>
      <dd>{FORMAT_WORDS[format]?.[0] ?? format}</dd>
      {headerNames.length === 0 ? null : (
        <>
          <dt>Headers</dt>
          <dd class="mono">{headerNames.join(', ')}</dd>
        </>
      )}
      <dt>Created</dt>
      <dd>
        <When at={createdAt} />
      </dd>
      {previousUntil * 1000 < Date.now() ? null : (
        <>
          <dt>Old secret</dt>
          <dd>
            signs as well until <When at={previousUntil} />
          </dd>
        </>
      )}
      <dt>Id</dt>
      <dd class="mono">{id}</dd>
    </dl>
  );
};

const DeliveryList: FC<Deliveries & { webhook: Webhook }> = ({ webhook: { id }, items, state, last, next }) => (
  <section aria-labelledby="deliveries">
    <h2 id="deliveries">Deliveries</h2>
    <form class="filters" action={webhookAt(id)} data-filter>
      <label>
        State
        <select name="state">
          <option value="">All</option>
          {STATES.map(([value, text]) => (
            <option value={value} selected={value === state}>
              {text}
            </option>
          ))}
        </select>
      </label>
      <button type="submit">Show</button>
    </form>
    <div id="results" data-results>
      {items.length === 0 ? (
        <Empty title={state === null ? 'Nothing was delivered yet' : `No ${state} deliveries`} />
      ) : (
        <Table caption="Deliveries, the newest first" columns={columnsOf(id)} items={items} />
      )}
      <Pager path={webhookAt(id)} query={{ state: state ?? undefined }} last={last} next={next} />
    </div>
  </section>
);

export const DeliveryChip: FC<{ state: State }> = ({ state }) => {
  if (state === 'waiting') return <Chip>waiting</Chip>;
  const [tone, icon] = state === 'delivered' ? (['good', 'check'] as const) : (['bad', 'cross'] as const);
  return (
    <Chip tone={tone}>
      <Icon name={icon} />
      {state}
    </Chip>
  );
};

function columnsOf(id: string): Column<Delivery<number>>[] {
  return [
    {
      head: 'Event',
      cell: ({ id: delivery, event }) => (
        <>
          <a class="strong mono" href={webhookAt(id, `deliveries/${delivery}`)} data-row>
            {event.type}
          </a>
          <span class="soft">
            <Sentence event={event} />
          </span>
        </>
      ),
    },
    { head: 'State', cell: ({ state }) => <DeliveryChip state={state} /> },
    {
      head: 'Attempts',
      kind: 'number',
      cell: ({ attempts, state, dueAt }) => (
        <>
          {String(attempts)}
          {state === 'waiting' ? (
            <span class="soft">
              next <When at={dueAt} />
            </span>
          ) : null}
        </>
      ),
    },
    { head: 'Created', cell: ({ createdAt }) => <When at={createdAt} /> },
  ];
}

const Settings: FC<{ c: RequestContext; webhook: Webhook; refused: Refused | undefined }> = ({ c, webhook, refused }) => (
  <details class="panel" open={refused !== undefined}>
    <summary>Change URL, events, format and headers</summary>
    <form method="post" action={webhookAt(webhook.id)}>
      <Refusals refused={refused} />
      <WebhookConflict webhook={webhook} refused={refused} />
      <input type="hidden" name="version" value={String(webhook.version)} />
      <WebhookFields c={c} scope={webhook.scope} webhook={webhook} refused={refused} />
      <button type="submit" class="main">
        Save webhook
      </button>
    </form>
  </details>
);

const OVERLAPS = [
  ['86400', 'for a day'],
  ['3600', 'for an hour'],
  ['604800', 'for a week'],
  ['0', 'no longer'],
] as const;

const SecretForm: FC<{ webhook: Webhook; refused: Refused | undefined }> = ({ webhook: { id, version }, refused }) => (
  <details class="panel" open={refused !== undefined}>
    <summary>Replace the secret</summary>
    <form method="post" action={webhookAt(id, 'rotate')}>
      <Refusals refused={refused} />
      <input type="hidden" name="version" value={String(version)} />
      <Select
        name="overlap"
        label="The old secret signs as well"
        hint="Long enough to give the new one to the receiver."
        options={OVERLAPS}
        refused={refused}
      />
      <button type="submit">Make a new secret</button>
    </form>
  </details>
);

const DeleteForm: FC<{ webhook: Webhook; refused: Refused | undefined }> = ({ webhook, refused }) => (
  <details class="panel danger" open={refused !== undefined}>
    <summary>Delete the webhook</summary>
    <form method="post" action={webhookAt(webhook.id, 'delete')}>
      <Refusals refused={refused} />
      <p>Deliveries that wait are not sent any more. This cannot be undone: to stop for a while, disable the webhook.</p>
      <input type="hidden" name="version" value={String(webhook.version)} />
      <ConfirmName expected={nameToType(webhook)} refused={refused} />
      <button type="submit" class="danger">
        Delete webhook
      </button>
    </form>
  </details>
);
