/**
 * Pages for refused requests. A page that does not exist and a page that the reader may not see look the same. A reader who is
 * not signed in is asked to sign in, and then gets to the page.
 */
import type { Reason } from '../../vocabulary/reasons.ts';
import { isRefusal, type Refusal } from '../../vocabulary/refusal.ts';
import type { RequestContext } from '../context.ts';
import { API } from '../refusals.ts';
import type { Form } from './forms.ts';
import { Page, pathOf, render, seeOther } from './page.tsx';
import { signInAt } from './parts/addresses.ts';
import { type Refused, sentence } from './parts/form.tsx';

/** Returns the HTTP status of a refusal. */
export function statusOf({ reason }: Refusal): number {
  return API[reason][0];
}

/** Reasons for which the page says that there is nothing, without giving the reason. */
const ABSENT: readonly Reason[] = ['not-found', 'repository-unknown', 'address-unknown', 'repository-name-invalid'];

export function refusedPage(c: RequestContext, refusal: Refusal): Response {
  const isRead = c.req.method === 'GET' || c.req.method === 'HEAD';
  const isAbsent = ABSENT.includes(refusal.reason);
  const isSignedOut = c.var.caller?.credential == null;
  if (refusal.reason === 'unauthenticated' || (isAbsent && isSignedOut && c.req.path.startsWith('/repositories/'))) {
    return seeOther(signInAt(isRead ? pathOf(c) : '/'));
  }
  const status = isAbsent ? 404 : statusOf(refusal);
  const response = render(
    c,
    <Page c={c} title={status === 404 ? 'Not found' : 'Refused'}>
      {isAbsent ? <Absent /> : <Explained c={c} refusal={refusal} status={status} />}
    </Page>,
    status,
  );
  if (refusal.retryAfter !== null) response.headers.set('retry-after', String(refusal.retryAfter));
  return response;
}

function Absent() {
  return (
    <section class="plain">
      <h1>There is nothing here</h1>
      <p>
        The page does not exist, or you do not have the right to see it. The owners of a repository or organization can give you
        a right.
      </p>
      <p>
        <a href="/repositories">All repositories that you may see</a>
      </p>
    </section>
  );
}

function Explained({ c, refusal, status }: { c: RequestContext; refusal: Refusal; status: number }) {
  const isOurs = status >= 500;
  return (
    <section class="plain">
      <h1>{headingOf(status)}</h1>
      <p>{sentence(refusal.message)}</p>
      {isOurs || status === 429 ? (
        <p>
          <a href={c.req.method === 'GET' ? pathOf(c) : '/'}>Try again</a>
        </p>
      ) : null}
      <p class="hint">
        Request <code>{c.var.requestId}</code>
      </p>
    </section>
  );
}

function headingOf(status: number): string {
  if (status >= 500) return 'The registry cannot answer now';
  if (status === 404) return 'There is nothing here';
  return status === 403 ? 'You may not do this' : 'This was refused';
}

/**
 * Runs the operation of a form. If the operation refuses the sent values or conflicts with the present state, returns the
 * refusal, so that the form is shown again with the message.
 * @throws the refusal if the caller lacks the right, and failures of the registry
 */
export async function tried<T>(form: Form, work: () => Promise<T>): Promise<{ done: T } | { refused: Refused }> {
  try {
    return { done: await work() };
  } catch (error) {
    if (!isRefusal(error) || isRefusal(error, 'unauthenticated', 'not-found') || statusOf(error) >= 500) throw error;
    return { refused: { refusal: error, value: (name) => form.raw(name), all: (name) => form.all(name) } };
  }
}

/** Does the same as `tried` for the sign-in form: a wrong password is shown at the form. */
export async function triedSignIn<T>(form: Form, work: () => Promise<T>): Promise<{ done: T } | { refused: Refused }> {
  try {
    return await tried(form, work);
  } catch (error) {
    if (!isRefusal(error, 'unauthenticated')) throw error;
    return { refused: { refusal: error, value: (name) => form.raw(name), all: (name) => form.all(name) } };
  }
}
