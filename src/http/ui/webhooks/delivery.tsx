/** The page of one delivery of a webhook: what was sent, and each attempt with its answer. */

import { getPayload, type Payload } from '../../../app/payloads.ts';
import { type Attempt, type Delivery, getDelivery, replayDelivery, type Webhook } from '../../../app/subscriptions.ts';
import { type AppEnv, callOf, type RequestContext, webhookIn } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { limitReplays } from '../../limits.ts';
import { readForm } from '../forms.ts';
import { render, seeOther } from '../page.tsx';
import { webhookAt } from '../parts/addresses.ts';
import { Sentence } from '../parts/event.tsx';
import { ActionForm, Refusals, type Refused } from '../parts/form.tsx';
import { type Column, Empty, Table } from '../parts/table.tsx';
import { Chip, Foreign, When } from '../parts/text.tsx';
import { type Place, PlacePage, placeOf } from '../places/place.tsx';
import { statusOf, tried } from '../refused.tsx';
import { PayloadText } from './form.tsx';
import { DeliveryChip } from './webhook-view.tsx';

export const deliveryPages = new Hono<AppEnv>()
  .get('/webhooks/:webhook/deliveries/:delivery', async (c) => {
    const id = c.req.param('delivery');
    const [place, delivery, payload] = await Promise.all([
      placeOf(c, webhookIn(c).scope),
      getDelivery(callOf(c), webhookIn(c), id),
      getPayload(callOf(c), webhookIn(c), id),
    ]);
    return render(c, <DeliveryPage c={c} place={place} webhook={webhookIn(c)} delivery={delivery} payload={payload} />);
  })
  .post('/webhooks/:webhook/deliveries/:delivery/replay', async (c) => {
    const form = await readForm(c);
    const [id, webhook] = [c.req.param('delivery'), webhookIn(c)];
    const outcome = await tried(form, async () => {
      await limitReplays(c);
      return replayDelivery(callOf(c), webhook, id);
    });
    if ('done' in outcome) return seeOther(webhookAt(webhook.id, `deliveries/${id}`), 'replayed');
    const { refused } = outcome;
    const [place, delivery, payload] = await Promise.all([
      placeOf(c, webhook.scope),
      getDelivery(callOf(c), webhook, id),
      getPayload(callOf(c), webhook, id),
    ]);
    const shown = { c, place, webhook, delivery, payload, refused };
    return render(c, <DeliveryPage {...shown} />, statusOf(refused.refusal));
  });

interface DeliveryProps {
  c: RequestContext;
  place: Place;
  webhook: Pick<Webhook, 'id' | 'disabled' | 'description'>;
  delivery: Delivery;
  payload: Payload | null;
  refused?: Refused;
}

function DeliveryPage({ c, place, webhook, delivery, payload, refused }: DeliveryProps) {
  const { id, event, state, attempts, createdAt, dueAt } = delivery;
  const path = webhookAt(webhook.id, `deliveries/${id}`);
  return (
    <PlacePage c={c} place={place} tab="webhooks" title={`Delivery of ${event.type}`} json={`/api/v1${path}`}>
      <p class="more">
        <a href={webhookAt(webhook.id)}>
          <Foreign text={webhook.description || 'The webhook'} />
        </a>
      </p>
      <div class="subject">
        <h2 class="mono">{event.type}</h2>
        <DeliveryChip state={state} />
        {webhook.disabled === null ? (
          <div class="actions">
            <ActionForm
              action={`${path}/replay`}
              label={state === 'waiting' ? 'Send now' : 'Replay'}
              tone={state === 'failed' ? 'main' : 'plain'}
            />
          </div>
        ) : null}
      </div>
      <Refusals refused={refused} />
      <p>
        <Sentence event={event} />
      </p>
      <dl class="facts">
        <dt>Happened</dt>
        <dd>
          <When at={event.at} />
        </dd>
        <dt>Delivery</dt>
        <dd>
          <When at={createdAt} />
          {state === 'waiting' ? ', the next attempt is ' : null}
          {state === 'waiting' ? <When at={dueAt} /> : null}
        </dd>
        <dt>webhook-id</dt>
        <dd class="mono">{id}</dd>
      </dl>
      <h2>Attempts</h2>
      <Attempts attempts={attempts} />
      <h2>What is sent</h2>
      <Request payload={payload} />
    </PlacePage>
  );
}

function Request({ payload }: { payload: Payload | null }) {
  if (payload === null) return <p class="soft">The event is no longer stored.</p>;
  return (
    <>
      <p class="hint">
        Content-Type: {payload.contentType}. Each attempt also has the headers webhook-id, webhook-timestamp and
        webhook-signature, and the headers of the webhook.
      </p>
      <PayloadText body={payload.body} label="The body of the request" />
    </>
  );
}

function Attempts({ attempts }: { attempts: Attempt[] }) {
  if (attempts.length === 0) return <Empty title="No attempt yet" />;
  return <Table caption="Attempts, the newest first" columns={COLUMNS} items={attempts.toReversed()} />;
}

const COLUMNS: Column<Attempt>[] = [
  { head: 'Time', cell: ({ at }) => <When at={at} /> },
  {
    head: 'Answer',
    cell: ({ status, error }) => (
      <>
        <Chip tone={error === null ? 'good' : 'bad'}>{status === null ? 'no answer' : String(status)}</Chip>
        {error === null ? null : (
          <span class="soft">
            <Foreign text={error} />
          </span>
        )}
      </>
    ),
  },
  { head: 'Took', kind: 'number', cell: ({ latencyMs }) => `${latencyMs.toLocaleString('en')} ms` },
  {
    head: 'Body of the answer',
    cell: ({ response }) =>
      response === '' ? (
        <span class="soft">empty</span>
      ) : (
        <code>
          <Foreign text={response} />
        </code>
      ),
  },
  { head: 'Next attempt', cell: ({ next }) => <When at={next} none="none" /> },
];
