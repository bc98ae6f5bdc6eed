/**
 * The home page. For a signed-in user it shows what needs attention and the latest events. For others it says what this
 * registry is.
 */

import { listActivity } from '../../../app/activity.ts';
import { getAttention } from '../../../app/home.ts';
import { getBudget } from '../../../app/maintenance.ts';
import { listRepositories } from '../../../app/repository-lists.ts';
import { listUsage } from '../../../app/usage.ts';
import type { AppEnv } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { render } from '../page.tsx';
import { viewerCall } from '../viewer.ts';
import { Dashboard } from './dashboard.tsx';
import { Welcome } from './welcome.tsx';

/** The maximum number of repositories, and of events, that the page shows. */
const SHOWN = 8;
/** The number of repositories among which the most recent ones are searched. */
const LOOKED_AT = 50;

export const homePage = new Hono<AppEnv>().get('/', async (c) => {
  const call = await viewerCall(c);
  const { authority } = call;
  if (authority.subject === '') {
    const { items } = await listRepositories(call, { after: '', limit: SHOWN }, {});
    return render(c, <Welcome c={c} repositories={items} />);
  }
  const isAll = authority.administrator && authority.bounds.length === 0;
  const [attention, repositories, activity, usage, budget] = await Promise.all([
    getAttention(call),
    listRepositories(call, { after: '', limit: LOOKED_AT }, {}),
    // A narrowed key must not see what its owner did with other keys.
    authority.bounds.length > 0 ? null : listActivity(call, {}, { before: null, limit: LOOKED_AT }),
    isAll ? listUsage(call, { after: null, limit: 1 }) : null,
    isAll ? getBudget(call) : null,
  ]);
  const events = activity?.items ?? [];
  const told = events.filter(({ type }) => !type.startsWith('login.') && type !== 'manifest.pushed').slice(0, SHOWN);
  const shown = mostRecent(
    repositories.items,
    events.flatMap(({ repository }) => repository ?? []),
  );
  const numbers = usage && budget ? { total: usage.total, budget } : null;
  return render(c, <Dashboard c={c} attention={attention} repositories={shown} events={told} numbers={numbers} />);
});

/**
 * Sorts repositories: first those with the latest events, then those with the latest pushes. @param touched names of
 * repositories with events, the newest first
 */
function mostRecent<T extends { name: string; createdAt: number; lastPushedAt: number | null }>(
  repositories: readonly T[],
  touched: readonly string[],
): T[] {
  const timeOf = ({ lastPushedAt, createdAt }: T) => lastPushedAt ?? createdAt;
  const place = (name: string) => (touched.includes(name) ? touched.indexOf(name) : touched.length);
  return [...repositories].sort((a, b) => place(a.name) - place(b.name) || timeOf(b) - timeOf(a)).slice(0, SHOWN);
}
