/** Sign-in by an identity provider, and linking an identity at a provider to the reader's account. */

import {
  ACCESS_HEADER,
  beginConfirmation,
  beginLinking,
  beginSignIn,
  confirmByProvider,
  hasAccess,
  type Identity,
  identityByAccess,
  identityOf,
  type LinkedIdentity,
  linkOwnIdentity,
  listOwnIdentities,
  offeredIdentity,
  offerIdentity,
  providerName,
  signInAs,
  unlinkOwnIdentity,
} from '../../../app/provider-sign-in.ts';
import { isRefusal } from '../../../vocabulary/refusal.ts';
import { arrivalOf } from '../../authenticate.ts';
import { type AppEnv, callOf, originOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { limitTokenRequests } from '../../limits.ts';
import { ConfirmKey, confirmedCall } from '../confirmed.tsx';
import { readForm } from '../forms.ts';
import { Page, render, seeOther } from '../page.tsx';
import { ownPath, signInAt } from '../parts/addresses.ts';
import { ActionForm, Refusals, type Refused, sentence } from '../parts/form.tsx';
import { When } from '../parts/text.tsx';
import { statusOf, triedSignIn } from '../refused.tsx';
import { clearPending, mayHaveSession, pendingToken, setPending, setSession } from '../session.ts';
import { viewerCall } from '../viewer.ts';
import { NewKey } from './keys.tsx';

export const providerPages = new Hono<AppEnv>()
  .get('/sign-in/provider', async (c) => begin(c, () => beginSignIn(arrivalOf(c), ownPath(c.req.query('next'), originOf(c)))))
  .get('/sign-in/access', async (c) => {
    const next = ownPath(c.req.query('next'), originOf(c));
    if (!mayHaveSession(c)) return seeOther('/sign-in');
    return answered(c, async () => {
      const response = seeOther(next);
      setSession(c, response.headers, await signInAs(arrivalOf(c), await identityByAccess(arrivalOf(c), accessToken(c))));
      return response;
    });
  })
  .get('/account/identities/access', async (c) => {
    const call = callOf(c);
    const identity = await identityByAccess(arrivalOf(c), accessToken(c));
    return render(c, <Confirm c={c} identity={identity} token={await offerIdentity(call, identity, call.authority.subject)} />);
  })
  .get('/account/identities/link', async (c) => begin(c, () => beginLinking(callOf(c), arrivalOf(c), '/account/identities')))
  .get('/account/keys/-/new/provider', async (c) => begin(c, () => beginConfirmation(callOf(c), arrivalOf(c), '/account/keys')))
  .get('/sign-in/provider/callback', async (c) => {
    const call = await viewerCall(c);
    const response = await answered(c, async () => {
      const { identity, begun } = await identityOf(arrivalOf(c), new URL(c.req.url).search, pendingToken(c));
      if (begun.purpose === 'key') {
        return render(c, <NewKey c={c} confirmation={await confirmByProvider(call, identity, begun)} />);
      }
      if (begun.purpose === 'link') {
        return render(c, <Confirm c={c} identity={identity} token={await offerIdentity(call, identity, begun.account)} />);
      }
      const landed = seeOther(begun.next);
      setSession(c, landed.headers, await signInAs(arrivalOf(c), identity));
      return landed;
    });
    clearPending(c, response.headers);
    return response;
  })
  .get('/account/identities', async (c) => render(c, <Identities c={c} identities={await listOwnIdentities(callOf(c))} />))
  .post('/account/identities', async (c) => {
    const form = await readForm(c);
    const token = form.text('identity');
    const outcome = await triedSignIn(form, async () => linkOwnIdentity(await confirmedCall(c, form), token));
    if ('done' in outcome) return seeOther('/account/identities', 'saved');
    const { refused } = outcome;
    const identity = await offeredIdentity(callOf(c), token);
    if (identity === null) throw refused.refusal;
    return render(c, <Confirm {...{ c, identity, token, refused }} />, statusOf(refused.refusal));
  })
  .post('/account/identities/remove', async (c) => {
    const form = await readForm(c);
    await unlinkOwnIdentity(callOf(c), { issuer: form.text('issuer'), subject: form.raw('subject') });
    return seeOther('/account/identities', 'removed');
  });

/** Runs a sign-in. If it is refused, answers with a page that says why. */
async function answered(c: RequestContext, signIn: () => Promise<Response>): Promise<Response> {
  try {
    return await signIn();
  } catch (error) {
    if (!isRefusal(error) || error.reason === 'address-unknown' || statusOf(error) >= 500) throw error;
    return render(c, <NotSignedIn c={c} message={error.message} />, statusOf(error));
  }
}

function accessToken(c: RequestContext): string | null {
  return c.req.header(ACCESS_HEADER) ?? null;
}

/**
 * Sends the browser to the provider. The number of such requests is limited, because each makes the registry send a request.
 */
async function begin(c: RequestContext, send: () => ReturnType<typeof beginSignIn>): Promise<Response> {
  if (!mayHaveSession(c)) return seeOther('/sign-in');
  await limitTokenRequests(c, 'sign-in');
  const { url, pending } = await send();
  const response = new Response(null, { status: 303, headers: { location: url, 'cache-control': 'no-store' } });
  setPending(c, response.headers, pending);
  return response;
}

interface ConfirmProps {
  c: RequestContext;
  identity: Identity;
  /** The token of `offerIdentity`. */
  token: string;
  refused?: Refused;
}

function Confirm({ c, identity, token, refused }: ConfirmProps) {
  return (
    <Page c={c} title="Link an identity" section="account">
      <section class="narrow">
        <h1>Link this identity to your account?</h1>
        <p class="field">
          At <strong>{new URL(identity.issuer).host}</strong> you are <code>{identity.subject}</code>. Whoever signs in there as
          this person can then do everything here that you can.
        </p>
        <form method="post" action="/account/identities" class="panel">
          <Refusals refused={refused} />
          <input type="hidden" name="identity" value={token} />
          <ConfirmKey c={c} refused={refused} />
          <p class="actions">
            <button type="submit" class="main">
              Link the identity
            </button>
            <a href="/account/identities">Do not link it</a>
          </p>
        </form>
      </section>
    </Page>
  );
}

function NotSignedIn({ c, message }: { c: RequestContext; message: string }) {
  return (
    <Page c={c} title="Not signed in">
      <section class="plain">
        <h1>You are not signed in</h1>
        <p>{sentence(message)}</p>
        <p>
          <a class="button main" href={signInAt('/')}>
            Sign in
          </a>
        </p>
      </section>
    </Page>
  );
}

function Identities({ c, identities }: { c: RequestContext; identities: LinkedIdentity[] }) {
  const provider = providerName(c.env);
  return (
    <Page c={c} title="Sign-in providers" section="account">
      <section class="narrow">
        <h1>Sign-in providers</h1>
        <p>An identity that is linked here signs you in without an access key. Your access keys keep working.</p>
        <ul class="plain">
          {identities.map((identity) => (
            <li class="panel">
              <p>
                <strong>{new URL(identity.issuer).host}</strong>, as <code>{identity.subject}</code>
              </p>
              <p class="hint">
                linked <When at={identity.createdAt} />
              </p>
              <ActionForm
                action="/account/identities/remove"
                label="Remove"
                name={`Remove the identity at ${new URL(identity.issuer).host}`}
                fields={{ issuer: identity.issuer, subject: identity.subject }}
              />
            </li>
          ))}
        </ul>
        {hasAccess(c.env) ? (
          <p class="actions">
            <a class="button" href="/account/identities/access">
              Link your identity at Cloudflare Access
            </a>
          </p>
        ) : null}
        {provider === null ? (
          <p class="hint">{hasAccess(c.env) ? '' : 'This registry has no sign-in provider.'}</p>
        ) : (
          <a class="button main" href="/account/identities/link">
            Link your identity at {provider}
          </a>
        )}
      </section>
    </Page>
  );
}
