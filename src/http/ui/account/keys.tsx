/** The list of the reader's access keys, and the form for a new one. */

import { type AccessKey, createKey, listKeys } from '../../../app/keys.ts';
import { describeCaller } from '../../../app/login.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { confirmedCall } from '../confirmed.tsx';
import { readForm } from '../forms.ts';
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
  .get('/account/keys/-/new', (c) => render(c, <NewKey c={c} />))
  .post('/account/keys/-/new', async (c) => {
    const form = await readForm(c);
    const outcome = await triedSignIn(form, async () => createKey(await confirmedCall(c, form), newKeyIn(form), onceIn(form)));
    if ('done' in outcome) return render(c, <MadeKey c={c} made={outcome.done} back="/account/keys" section="account" />);
    return render(c, <NewKey c={c} refused={outcome.refused} />, statusOf(outcome.refused.refusal));
  });

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

function NewKey({ c, refused }: { c: RequestContext; refused?: Refused }) {
  return (
    <Page c={c} title="New access key" section="account">
      <section class="narrow">
        <h1>New access key</h1>
        <NewKeyForm c={c} action="/account/keys/-/new" owner={callOf(c).authority.subject} refused={refused} />
      </section>
    </Page>
  );
}
