/** The page that lists the reader's access keys, and the form for a new key. */

import { type AccessKey, type CreatedKey, createConfirmedKey, createKey, listKeys } from '../../../app/keys.ts';
import { describeCaller } from '../../../app/login.ts';
import { canConfirmByProvider, hasAccess, providerName } from '../../../app/provider-sign-in.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { confirmedCall } from '../confirmed.tsx';
import { type Form, readForm } from '../forms.ts';
import { KeyTable, MadeKey, NewKeyForm, newKeyIn, onceIn } from '../keys.tsx';
import { Page, render } from '../page.tsx';
import type { Refused } from '../parts/form.tsx';
import { Empty, Pager } from '../parts/table.tsx';
import { statusOf, triedSignIn } from '../refused.tsx';

const PAGE_SIZE = 50;

export const keyListPages = new Hono<AppEnv>()
  .get('/account/keys', async (c) => {
    const last = c.req.query('last');
    const { items, more } = await listKeys(callOf(c), undefined, { after: last ?? '', limit: PAGE_SIZE });
    return render(c, <Keys c={c} items={items} last={last} next={more ? (items.at(-1)?.id ?? null) : null} />);
  })
  .get('/account/keys/-/new', async (c) => render(c, <NewKey c={c} byProvider={await canConfirmByProvider(callOf(c))} />))
  .post('/account/keys/-/new', async (c) => {
    const form = await readForm(c);
    const outcome = await triedSignIn(form, () => create(c, form));
    if ('done' in outcome) return render(c, <MadeKey c={c} made={outcome.done} back="/account/keys" section="account" />);
    const { refused } = outcome;
    const confirmation = form.optional('confirmation');
    const byProvider = confirmation === undefined && (await canConfirmByProvider(callOf(c)));
    return render(c, <NewKey {...{ c, byProvider, confirmation, refused }} />, statusOf(refused.refusal));
  });

/** A new sign-in at the provider confirms the key, or an access key in the form does. */
async function create(c: RequestContext, form: Form): Promise<CreatedKey> {
  const confirmation = form.optional('confirmation');
  if (confirmation !== undefined) return createConfirmedKey(callOf(c), newKeyIn(form), confirmation);
  return createKey(await confirmedCall(c, form), newKeyIn(form), onceIn(form));
}

interface KeysProps {
  c: RequestContext;
  items: AccessKey[];
  last: string | undefined;
  next: string | null;
}

function Keys({ c, items, last, next }: KeysProps) {
  const { narrowed } = describeCaller(callOf(c)).credential;
  return (
    <Page c={c} title="Access keys" section="account" json="/api/v1/keys">
      <header class="subject">
        <h1>Access keys</h1>
        {narrowed ? null : (
          <a class="button main" href="/account/keys/-/new">
            New access key
          </a>
        )}
        <p class="description">
          {narrowed
            ? 'You are signed in with a limited key, which sees only itself.'
            : 'A key is your password for docker, the console and the API. Its secret is shown once, when it is made.'}
        </p>
      </header>
      <div id="results" class="spaced">
        {items.length === 0 ? <Empty title="No access keys" /> : <KeyTable keys={items} />}
        <Pager path="/account/keys" query={{}} last={last} next={next} />
      </div>
    </Page>
  );
}

interface NewKeyProps {
  c: RequestContext;
  refused?: Refused | undefined;
  /** True if the reader can confirm the key by a sign-in at the provider. */
  byProvider?: boolean;
  /** The token of a sign-in at the provider that confirms the key. */
  confirmation?: string | undefined;
}

/** The page with the form for a key of the reader. */
export function NewKey({ c, refused, byProvider = false, confirmation }: NewKeyProps) {
  return (
    <Page c={c} title="New access key" section="account">
      <section class="narrow">
        <h1>New access key</h1>
        <NewKeyForm
          c={c}
          action="/account/keys/-/new"
          owner={callOf(c).authority.subject}
          confirmation={confirmation}
          refused={refused}
        />
        {confirmation === undefined ? <WithoutKey c={c} byProvider={byProvider} /> : null}
      </section>
    </Page>
  );
}

/** What a person does who has no access key to confirm the new one with. */
function WithoutKey({ c, byProvider }: { c: RequestContext; byProvider: boolean }) {
  const provider = providerName(c.env);
  return (
    <>
      <h2>No access key at hand?</h2>
      {byProvider ? (
        <>
          <p>Sign in at {provider} once more: that confirms one key.</p>
          <p>
            <a class="button" href="/account/keys/-/new/provider">
              Sign in again at {provider}
            </a>
          </p>
        </>
      ) : (
        <p>
          An administrator can make a new invitation link for you, which gives you a key.
          {hasAccess(c.env) ? ' Cloudflare Access does not tell when you signed in, so it cannot confirm a key.' : ''}
        </p>
      )}
    </>
  );
}
