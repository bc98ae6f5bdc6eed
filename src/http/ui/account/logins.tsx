/** The page that explains how to log in with docker: with an access key, or with a temporary password. */

import { createLoginPassword } from '../../../app/login.ts';
import { loginNameOf } from '../../../vocabulary/names.ts';
import { type AppEnv, callOf, hostOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { limitTokenRequests } from '../../limits.ts';
import { ConfirmKey, confirmedCall } from '../confirmed.tsx';
import { readForm } from '../forms.ts';
import { Secret } from '../keys.tsx';
import { Page, render } from '../page.tsx';
import { Notice, Refusals, type Refused, Select } from '../parts/form.tsx';
import { Command, When } from '../parts/text.tsx';
import { statusOf, triedSignIn } from '../refused.tsx';

interface Password {
  token: string;
  expiresAt: number;
}

export const loginPages = new Hono<AppEnv>()
  .get('/account/logins', (c) => render(c, <Logins c={c} />))
  .post('/account/logins', async (c) => {
    const form = await readForm(c);
    await limitTokenRequests(c, callOf(c).authority.subject);
    const lifetime = Number(form.text('lifetime'));
    const outcome = await triedSignIn(form, async () => createLoginPassword(await confirmedCall(c, form), lifetime));
    if ('done' in outcome) return render(c, <Made c={c} password={outcome.done} />);
    return render(c, <Logins c={c} refused={outcome.refused} />, statusOf(outcome.refused.refusal));
  });

const HOUR = 60 * 60;

function Logins({ c, refused }: { c: RequestContext; refused?: Refused }) {
  const name = loginNameOf(callOf(c).authority.subject);
  return (
    <Page c={c} title="Log in with docker" section="account">
      <section class="narrow">
        <h1>Log in with docker</h1>
        <section class="panel">
          <h2>With an access key</h2>
          <p>docker asks for the password: paste an access key. The login lasts until the key ends.</p>
          <Command command={`docker login -u ${name} ${hostOf(c)}`} />
          <p>
            No key at hand? <a href="/account/keys/-/new">Make one for this computer</a>
          </p>
        </section>
        <form method="post" action="/account/logins" class="panel">
          <h2>With a password that expires</h2>
          <p>For a computer that is not yours, or a script that runs once. The password is for docker only.</p>
          <Refusals refused={refused} />
          <Select
            name="lifetime"
            label="It works for"
            value={String(HOUR)}
            options={[
              [String(HOUR / 4), '15 minutes'],
              [String(HOUR), '1 hour'],
              [String(4 * HOUR), '4 hours'],
              [String(12 * HOUR), '12 hours'],
            ]}
            refused={refused}
          />
          <ConfirmKey c={c} refused={refused} />
          <button type="submit" class="main">
            Make login password
          </button>
        </form>
      </section>
    </Page>
  );
}

function Made({ c, password: { token, expiresAt } }: { c: RequestContext; password: Password }) {
  const name = loginNameOf(callOf(c).authority.subject);
  return (
    <Page c={c} title="Login password" section="account">
      <section class="narrow">
        <h1>Login password</h1>
        <div class="panel">
          <Notice tone="warn">
            <strong>Run this now.</strong> The password in it is not shown again. It expires <When at={expiresAt} />.
          </Notice>
          <Secret
            text={`echo ${token} | docker login -u ${name} --password-stdin ${hostOf(c)}`}
            label="Copy the command with the password"
          />
          <p>
            podman, crane and helm take the same words: <code>podman login</code>, <code>crane auth login</code>,{' '}
            <code>helm registry login</code>.
          </p>
          <p>
            To end it early: sign out everywhere, in <a href="/account">your account</a>.
          </p>
        </div>
      </section>
    </Page>
  );
}
