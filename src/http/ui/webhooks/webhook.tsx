/** The page of a webhook: its state and deliveries, and the forms that test, change, enable, disable and delete it. */
import type { Context } from 'hono';
import { INTERNET } from '../../../app/call.ts';
import {
  changeWebhook,
  deleteWebhook,
  describeWebhook,
  listDeliveries,
  replayDeliveries,
  rotateWebhookSecret,
  testWebhook,
} from '../../../app/subscriptions.ts';
import type { WebhookChange } from '../../../contract/webhooks.ts';
import { type AppEnv, callOf, webhookIn } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { limitReplays, limitTestDeliveries } from '../../limits.ts';
import { type Form, readForm, requireConfirmed, versionIn } from '../forms.ts';
import type { NoticeName } from '../notices.ts';
import { render, seeOther } from '../page.tsx';
import { webhookAt } from '../parts/addresses.ts';
import type { Refused } from '../parts/form.tsx';
import { placeAt, placeOf } from '../places/place.tsx';
import { statusOf, tried } from '../refused.tsx';
import { webhookFrom } from './form.tsx';
import { SecretPage } from './secret.tsx';
import { isState, nameToType, type RefusedForm, WebhookPage } from './webhook-view.tsx';

const PAGE_SIZE = 50;

export const webhookPages = new Hono<AppEnv>()
  .get('/webhooks/:webhook', (c) => show(c))
  .post('/webhooks/:webhook', (c) =>
    change(c, 'settings', (form) => {
      const url = form.optional('url');
      const wanted = { ...(url === undefined ? {} : { url }), ...webhookFrom(form, webhookIn(c).scope) };
      // The input is not checked here, because the operation checks it.
      return save(c, wanted as WebhookChange, versionIn(form)).then(() => 'saved');
    }),
  )
  .post('/webhooks/:webhook/state', (c) =>
    change(c, 'state', async (form) => {
      const enabled = form.text('enabled') === 'true';
      await save(c, { enabled }, versionIn(form));
      return enabled ? 'enabled' : 'disabled';
    }),
  )
  .post('/webhooks/:webhook/test', (c) =>
    change(c, 'state', async () => {
      await limitTestDeliveries(c, webhookIn(c).id);
      const runtime = { now: () => Date.now(), random: () => Math.random(), ...INTERNET };
      return (await testWebhook(callOf(c), webhookIn(c), runtime)) ? 'test-delivered' : 'test-failed';
    }),
  )
  .post('/webhooks/:webhook/replay', (c) =>
    change(c, 'state', async () => {
      await limitReplays(c);
      const { count, next } = await replayDeliveries(callOf(c), webhookIn(c), null, 0);
      if (next !== null) return 'replayed-some';
      return count === 0 ? 'nothing-to-replay' : 'replayed';
    }),
  )
  .post('/webhooks/:webhook/rotate', async (c) => {
    const form = await readForm(c);
    const wanted = { overlap: Number(form.text('overlap')), ifVersion: versionIn(form) };
    const outcome = await tried(form, () => rotateWebhookSecret(callOf(c), webhookIn(c), wanted));
    if ('refused' in outcome) return show(c, { form: 'secret', ...outcome.refused });
    return render(c, <SecretPage c={c} place={await placeOf(c, webhookIn(c).scope)} made={outcome.done} />);
  })
  .post('/webhooks/:webhook/delete', async (c) => {
    const form = await readForm(c);
    const outcome = await tried(form, async () => {
      requireConfirmed(form, nameToType(await describeWebhook(callOf(c), webhookIn(c))));
      await deleteWebhook(callOf(c), webhookIn(c), versionIn(form));
    });
    if ('refused' in outcome) return show(c, { form: 'delete', ...outcome.refused });
    const place = await placeOf(c, webhookIn(c).scope);
    return seeOther(placeAt(place, 'webhooks'), 'deleted');
  });

/** Runs the change of a form, and leads back to the page of the webhook. */
async function change(
  c: Context<AppEnv>,
  name: RefusedForm['form'],
  work: (form: Form) => Promise<NoticeName>,
): Promise<Response> {
  const form = await readForm(c);
  const outcome = await tried(form, () => work(form));
  if ('refused' in outcome) return show(c, { form: name, ...outcome.refused });
  return seeOther(webhookAt(webhookIn(c).id), outcome.done);
}

async function save(c: Context<AppEnv>, wanted: WebhookChange, ifVersion: number | null): Promise<void> {
  await changeWebhook(callOf(c), webhookIn(c), wanted, { requestOrigin: new URL(c.req.url).origin, ifVersion });
}

async function show(c: Context<AppEnv>, refused?: Refused & RefusedForm): Promise<Response> {
  const [last, state] = [c.req.query('last'), c.req.query('state')];
  const wanted = isState(state) ? state : null;
  const [place, webhook, { items, more }] = await Promise.all([
    placeOf(c, webhookIn(c).scope),
    describeWebhook(callOf(c), webhookIn(c)),
    listDeliveries(callOf(c), webhookIn(c), { after: last ?? '', limit: PAGE_SIZE }, wanted),
  ]);
  const deliveries = { items, state: wanted, last, next: more ? (items.at(-1)?.id ?? null) : null };
  const page = <WebhookPage c={c} place={place} webhook={webhook} deliveries={deliveries} refused={refused} />;
  return render(c, page, refused ? statusOf(refused.refusal) : 200);
}
