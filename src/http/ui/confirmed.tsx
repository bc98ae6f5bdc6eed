/** Forms that create a credential. A browser session does not suffice for that, so these forms ask for an access key. */
import type { FC } from 'hono/jsx';
import type { Call } from '../../app/call.ts';
import { confirm } from '../../app/sessions.ts';
import { nameOf } from '../../vocabulary/names.ts';
import { arrivalOf } from '../authenticate.ts';
import { callOf, type RequestContext } from '../context.ts';
import { guess } from '../limits.ts';
import type { Form } from './forms.ts';
import { Input, type Refused } from './parts/form.tsx';

/**
 * Returns the context for an operation with the rights of the access key in the form. @throws unauthenticated for a wrong key;
 * forbidden for a key of another account
 */
export async function confirmedCall(c: RequestContext, form: Form): Promise<Call> {
  const call = callOf(c);
  const sent = { name: null, password: form.text('password') };
  const authority = await confirm(arrivalOf(c), sent, (compare) => guess(c, compare), call.authority.subject);
  return { ...call, authority };
}

/** The field for the access key. The hidden user name tells a password manager whose key is needed. */
export const ConfirmKey: FC<{ c: RequestContext; refused?: Refused | undefined }> = ({ c, refused }) => (
  <>
    <input type="text" value={nameOf(callOf(c).authority.subject)} autocomplete="username" readonly hidden />
    <Input
      name="password"
      label="Your access key"
      type="password"
      autocomplete="current-password"
      required
      hint="The one with which you sign in. A signed-in browser alone cannot make a credential."
      refused={refused}
    />
  </>
);
