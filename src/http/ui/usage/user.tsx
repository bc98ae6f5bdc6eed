/** The usage of the repositories under a user's own name, for this user and for administrators, who set its limit. */
import type { Context } from 'hono';
import { getUserUsage, listLargestOfUser, putUserQuota } from '../../../app/usage.ts';
import { parseName } from '../../../vocabulary/names.ts';
import { type AppEnv, callOf } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { readForm, versionIn } from '../forms.ts';
import { Page, render, seeOther } from '../page.tsx';
import { userAt } from '../parts/addresses.ts';
import type { Refused } from '../parts/form.tsx';
import { statusOf, tried } from '../refused.tsx';
import { LARGEST_SHOWN } from './largest.tsx';
import { NamespaceUsage, quotaIn } from './namespace.tsx';

export const userUsagePages = new Hono<AppEnv>()
  .get('/users/:user/usage', (c) => show(c))
  .post('/users/:user/usage', async (c) => {
    const form = await readForm(c);
    const user = parseName(c.req.param('user'));
    const outcome = await tried(form, () => putUserQuota(callOf(c), user, quotaIn(form), versionIn(form)));
    return 'done' in outcome ? seeOther(userAt(user, 'usage'), 'saved') : show(c, outcome.refused);
  });

async function show(c: Context<AppEnv>, refused?: Refused): Promise<Response> {
  const user = parseName(c.req.param('user') ?? '');
  const [holdings, largest] = await Promise.all([
    getUserUsage(callOf(c), user),
    listLargestOfUser(callOf(c), user, LARGEST_SHOWN),
  ]);
  const isSelf = callOf(c).authority.subject === `user:${user}`;
  const path = userAt(user, 'usage');
  const page = (
    <Page c={c} title={`Usage of ${user}`} section="account" json={`/api/v1${path}`}>
      <header class="subject">
        <h1>
          <a href={isSelf ? '/account' : userAt(user)}>{user}</a>
          <span class="slash">/</span>
          Usage
        </h1>
        <p class="description">
          What the repositories under the name {user}/… hold. Repositories of organizations count there.
        </p>
      </header>
      <NamespaceUsage {...{ c, path, holdings, largest, refused }} whose={isSelf ? 'your account' : 'the account'} />
    </Page>
  );
  return render(c, page, refused ? statusOf(refused.refusal) : 200);
}
