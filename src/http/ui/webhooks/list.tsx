/** The page that lists the webhooks of a repository, an organization or the registry, and the form for a new webhook. */
import type { Context } from 'hono';
import { createWebhook, listWebhooks, type Webhook } from '../../../app/subscriptions.ts';
import type { NewWebhook } from '../../../contract/webhooks.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { readForm } from '../forms.ts';
import { Once, onceIn } from '../keys.tsx';
import { render } from '../page.tsx';
import { webhookAt } from '../parts/addresses.ts';
import { Refusals, type Refused } from '../parts/form.tsx';
import { type Column, Empty, Pager, Table } from '../parts/table.tsx';
import { Foreign } from '../parts/text.tsx';
import { type Place, PlacePage, placeAt, placeOf, scopeIn } from '../places/place.tsx';
import { statusOf, tried } from '../refused.tsx';
import { WebhookFields, webhookFrom } from './form.tsx';
import { SecretPage } from './secret.tsx';
import { eventsText, FORMAT_WORDS, StateChip } from './words.tsx';

const PAGE_SIZE = 50;

export const webhookListPages = new Hono<AppEnv>()
  .get('/webhooks', showList)
  .get('/organizations/:organization/webhooks', showList)
  .get('/repositories/:name{.+}/-/webhooks', showList)
  .get('/webhooks/new', showNew)
  .post('/webhooks/new', create)
  .get('/organizations/:organization/webhooks/new', showNew)
  .post('/organizations/:organization/webhooks/new', create)
  .get('/repositories/:name{.+}/-/webhooks/new', showNew)
  .post('/repositories/:name{.+}/-/webhooks/new', create);

async function showList(c: Context<AppEnv>): Promise<Response> {
  const last = c.req.query('last');
  const [place, { items, more }] = await Promise.all([
    placeOf(c),
    listWebhooks(callOf(c), scopeIn(c), { after: last ?? '', limit: PAGE_SIZE }),
  ]);
  const next = more ? (items.at(-1)?.id ?? null) : null;
  return render(c, <Webhooks c={c} place={place} items={items} last={last} next={next} />);
}

async function showNew(c: Context<AppEnv>): Promise<Response> {
  return render(c, <NewWebhookPage c={c} place={await placeOf(c)} />);
}

async function create(c: Context<AppEnv>): Promise<Response> {
  const form = await readForm(c);
  const scope = scopeIn(c);
  const outcome = await tried(form, async () => {
    // The input is not checked here, because the operation checks it.
    const wanted = { url: form.text('url'), ...webhookFrom(form, scope) } as NewWebhook;
    const options = { requestOrigin: new URL(c.req.url).origin, idempotency: onceIn(form) };
    return createWebhook(callOf(c), scope, wanted, options);
  });
  const place = await placeOf(c);
  if ('done' in outcome) return render(c, <SecretPage c={c} place={place} made={outcome.done} isNew />);
  return render(c, <NewWebhookPage c={c} place={place} refused={outcome.refused} />, statusOf(outcome.refused.refusal));
}

interface ListProps {
  c: RequestContext;
  place: Place;
  items: Webhook[];
  last: string | undefined;
  next: string | null;
}

function Webhooks({ c, place, items, last, next }: ListProps) {
  const path = placeAt(place, 'webhooks');
  return (
    <PlacePage c={c} place={place} tab="webhooks" title="Webhooks" json={`/api/v1${path}`}>
      <div class="subject">
        <p class="soft">{about(place)}</p>
        <a class="button main" href={`${path}/new`}>
          Create webhook
        </a>
      </div>
      {items.length === 0 ? <None place={place} /> : <Table caption="Webhooks" columns={COLUMNS} items={items} />}
      <Pager path={path} query={{}} last={last} next={next} />
    </PlacePage>
  );
}

function about({ name, repository }: Place): string {
  if (repository !== null) return 'They are told what happens in this repository. Those of the organization are told, too.';
  if (name !== '') return 'They are told what happens in the organization and in all its repositories.';
  return 'They are told what happens anywhere in the registry.';
}

function None({ place }: { place: Place }) {
  return (
    <Empty title="No webhooks">
      <p>A webhook sends a signed request to an address of yours when something happens, for example to deploy a new image.</p>
      <p>
        <a class="button" href={`${placeAt(place, 'webhooks')}/new`}>
          Create the first one
        </a>
      </p>
    </Empty>
  );
}

const COLUMNS: Column<Webhook>[] = [
  {
    head: 'Webhook',
    cell: ({ id, url, description }) => (
      <>
        <a class="strong" href={webhookAt(id)} data-row>
          <Foreign text={description || (url ?? id)} />
        </a>
        {description === '' ? null : (
          <span class="soft">
            <Foreign text={url ?? 'its URL cannot be read: set it again'} />
          </span>
        )}
      </>
    ),
  },
  { head: 'Events', cell: (webhook) => eventsText(webhook) },
  { head: 'Format', cell: ({ format }) => FORMAT_WORDS[format]?.[0] ?? format },
  { head: 'State', cell: (webhook) => <StateChip webhook={webhook} /> },
];

function NewWebhookPage({ c, place, refused }: { c: RequestContext; place: Place; refused?: Refused }) {
  const path = `${placeAt(place, 'webhooks')}/new`;
  return (
    <PlacePage c={c} place={place} tab="webhooks" title="Create webhook">
      <section class="narrow">
        {place.name === '' ? null : <h2>Create webhook</h2>}
        <form method="post" action={path} class="panel">
          <Refusals refused={refused} />
          <Once />
          <WebhookFields c={c} scope={place.scope} refused={refused} />
          <button type="submit" class="main">
            Create webhook
          </button>
        </form>
      </section>
    </PlacePage>
  );
}
