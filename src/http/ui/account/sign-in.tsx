/** Signing in with an access key, and signing out. */

import { logOutEverywhere } from '../../../app/login.ts';
import { hasAccess, providerName } from '../../../app/provider-sign-in.ts';
import { signIn, signOut } from '../../../app/sessions.ts';
import { arrivalOf } from '../../authenticate.ts';
import { type AppEnv, callOf, hostOf, originOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { guess } from '../../limits.ts';
import { readForm } from '../forms.ts';
import { Mark, Page, render, seeOther } from '../page.tsx';
import { ownPath, withQuery } from '../parts/addresses.ts';
import { Input, Refusals, type Refused } from '../parts/form.tsx';
import { Command } from '../parts/text.tsx';
import { statusOf, triedSignIn } from '../refused.tsx';
import { clearSession, mayHaveSession, setSession } from '../session.ts';
import { viewerCall } from '../viewer.ts';

export const signInPages = new Hono<AppEnv>()
  .get('/sign-in', async (c) => {
    // A session may have ended although the browser still has the cookie. So the session is checked in D1 before the reader
    // counts as signed in.
    await viewerCall(c);
    return render(c, <SignIn c={c} next={ownPath(c.req.query('next'), originOf(c))} />);
  })
  .post('/sign-in', async (c) => {
    const form = await readForm(c);
    const next = ownPath(form.text('next'), originOf(c));
    if (!mayHaveSession(c)) return render(c, <SignIn c={c} next={next} />, 403);
    const sent = { name: form.optional('name') ?? null, password: form.text('password') };
    const outcome = await triedSignIn(form, () => signIn(arrivalOf(c), sent, (compare) => guess(c, compare)));
    if ('refused' in outcome) {
      return render(c, <SignIn c={c} next={next} refused={outcome.refused} />, statusOf(outcome.refused.refusal));
    }
    const response = seeOther(next);
    setSession(c, response.headers, outcome.done);
    return response;
  })
  .post('/sign-out', async (c) => {
    const form = await readForm(c);
    const everywhere = form.has('everywhere');
    const call = callOf(c);
    if (everywhere) await logOutEverywhere(call, { keys: false });
    else await signOut(call);
    const response = seeOther('/sign-in', everywhere ? 'signed-out-everywhere' : 'signed-out');
    clearSession(c, response.headers);
    // Removes the pages from the browser's cache, so that the back button does not show them (W3C, Clear Site Data).
    response.headers.set('clear-site-data', '"cache"');
    return response;
  });

function SignIn({ c, next, refused }: { c: RequestContext; next: string; refused?: Refused }) {
  const host = hostOf(c);
  return (
    <Page c={c} title="Sign in">
      <section class="narrow">
        <h1>
          <Mark /> Sign in to {host}
        </h1>
        {mayHaveSession(c) ? <ByProvider c={c} next={next} /> : null}
        {mayHaveSession(c) ? <SignInForm next={next} refused={refused} /> : <Elsewhere host={host} />}
        <h2>No access key yet?</h2>
        <p>
          An administrator or the owner of an organization invites you by a link, which gives you one. Public images need no
          account:
        </p>
        <Command command={`docker pull ${host}/NAME/IMAGE`} />
      </section>
    </Page>
  );
}

function ByProvider({ c, next }: { c: RequestContext; next: string }) {
  const provider = providerName(c.env);
  const back = { next: next === '/' ? null : next };
  if (provider === null && !hasAccess(c.env)) return null;
  return (
    <p class="actions">
      {provider === null ? null : (
        <a class="button" href={withQuery('/sign-in/provider', back)}>
          Sign in with {provider}
        </a>
      )}
      {hasAccess(c.env) ? (
        <a class="button" href={withQuery('/sign-in/access', back)}>
          Sign in with Cloudflare Access
        </a>
      ) : null}
    </p>
  );
}

function SignInForm({ next, refused }: { next: string; refused: Refused | undefined }) {
  return (
    <form method="post" action="/sign-in" class="panel">
      <Refusals refused={refused} />
      <input type="hidden" name="next" value={next} />
      <Input name="name" label="User name" autocomplete="username" max={64} refused={refused} autofocus />
      <Input
        name="password"
        label="Access key"
        type="password"
        autocomplete="current-password"
        required
        hint="The same as for docker login. The first administrator uses the administrator's password."
        refused={refused}
      />
      <button type="submit" class="main">
        Sign in
      </button>
    </form>
  );
}

function Elsewhere({ host }: { host: string }) {
  return (
    <div class="notice warn" role="alert">
      <p>
        Signing in needs https, or an address of this machine such as <code>http://localhost:8787</code>, because a password
        sent to <code>{host}</code> could be read on the way. Open the registry by the address that its PUBLIC_URL names.
      </p>
    </div>
  );
}
