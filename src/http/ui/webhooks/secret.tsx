/** The page that shows the secret of a webhook once. */
import type { FC } from 'hono/jsx';
import type { CreatedWebhook } from '../../../app/subscriptions.ts';
import type { RequestContext } from '../../context.ts';
import { Secret } from '../keys.tsx';
import { webhookAt } from '../parts/addresses.ts';
import { Notice } from '../parts/form.tsx';
import { When } from '../parts/text.tsx';
import { type Place, PlacePage } from '../places/place.tsx';

export const SecretPage: FC<{ c: RequestContext; place: Place; made: CreatedWebhook; isNew?: boolean }> = ({
  c,
  place,
  made: { webhook, secret },
  isNew = false,
}) => {
  const title = isNew ? 'The webhook is created' : 'The webhook has a new secret';
  return (
    <PlacePage c={c} place={place} tab="webhooks" title={title}>
      <section class="narrow">
        {place.name === '' ? null : <h2>{title}</h2>}
        <div class="panel">
          <Notice tone="warn">
            <strong>Save the secret now.</strong> It is not shown again.
          </Notice>
          <Secret text={secret} label="Copy the secret" />
          <p>
            It signs every delivery: the header <code>webhook-signature</code> holds the signature of{' '}
            <code>webhook-id.webhook-timestamp.body</code>, as{' '}
            <a href="https://www.standardwebhooks.com" rel="noreferrer">
              Standard Webhooks
            </a>{' '}
            defines. Libraries for it exist in most languages.
          </p>
          {isNew || webhook.previousUntil * 1000 < Date.now() ? null : (
            <p>
              Deliveries are signed with the old secret as well until <When at={webhook.previousUntil} />.
            </p>
          )}
          <p>
            <a class="button" href={webhookAt(webhook.id)}>
              I have saved it
            </a>
          </p>
        </div>
      </section>
    </PlacePage>
  );
};
