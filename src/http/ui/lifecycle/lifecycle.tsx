/** The pages of a repository's lifecycle rules: read, save, preview, run and delete them. */
import type { Context } from 'hono';
import {
  deleteLifecycle,
  getLifecycle,
  type Lifecycle,
  previewLifecycle,
  putLifecycle,
  runLifecycle,
} from '../../../app/lifecycle.ts';
import { getRepository } from '../../../app/repositories.ts';
import { isRefusal } from '../../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { readForm, versionIn } from '../forms.ts';
import { render, seeOther } from '../page.tsx';
import { repositoryAt } from '../parts/addresses.ts';
import type { Refused } from '../parts/form.tsx';
import { statusOf, tried } from '../refused.tsx';
import { PreviewPage } from './preview.tsx';
import { type Policy, policyIn } from './rules.ts';
import { RulesPage } from './rules-page.tsx';

const PATH = '/repositories/:name{.+}/-/lifecycle';

export const lifecyclePages = new Hono<AppEnv>()
  .get(PATH, (c) => show(c))
  .post(PATH, async (c) => {
    const form = await readForm(c);
    const outcome = await tried(form, () => putLifecycle(callOf(c), repositoryIn(c), policyIn(form), versionIn(form)));
    return 'done' in outcome ? seeOther(pageOf(c), 'saved') : show(c, outcome.refused);
  })
  .get(`${PATH}/preview`, (c) => preview(c, {}))
  .post(`${PATH}/preview`, async (c) => {
    const form = await readForm(c);
    const parsed = await tried(form, async () => policyIn(form));
    if ('refused' in parsed) return show(c, parsed.refused);
    const draft = { policy: parsed.done, version: versionIn(form) ?? 0 };
    const outcome = await tried(form, () => preview(c, { draft, after: form.optional('after') }));
    return 'done' in outcome ? outcome.done : show(c, outcome.refused);
  })
  .post(`${PATH}/run`, async (c) => {
    const form = await readForm(c);
    const etag = form.text('etag');
    const expected = etag === '' ? null : (now: string) => now === etag;
    const outcome = await tried(form, () => runLifecycle(callOf(c), repositoryIn(c), expected));
    if ('refused' in outcome) return preview(c, { refused: outcome.refused });
    const { remaining, unfinished } = outcome.done;
    return seeOther(pageOf(c), remaining > 0 || unfinished ? 'rules-ran-partly' : 'rules-ran');
  })
  .post(`${PATH}/deletion`, async (c) => {
    const form = await readForm(c);
    const outcome = await tried(form, () => deleteLifecycle(callOf(c), repositoryIn(c), versionIn(form)));
    return 'done' in outcome ? seeOther(pageOf(c), 'deleted') : show(c, outcome.refused);
  });

function pageOf(c: RequestContext): string {
  return repositoryAt(repositoryIn(c), 'lifecycle');
}

async function show(c: Context<AppEnv>, refused?: Refused): Promise<Response> {
  const [repository, saved] = await Promise.all([getRepository(callOf(c), repositoryIn(c)), savedIn(c)]);
  const page = <RulesPage c={c} repository={repository} saved={saved} refused={refused} />;
  return render(c, page, refused ? statusOf(refused.refusal) : 200);
}

/** Returns the saved rules, or `null` if there are none. */
async function savedIn(c: RequestContext): Promise<Lifecycle | null> {
  try {
    return await getLifecycle(callOf(c), repositoryIn(c));
  } catch (error) {
    if (isRefusal(error, 'not-found')) return null;
    throw error;
  }
}

interface Previewed {
  /** Rules that are not saved yet, and the version of the saved rules that they would replace. */
  draft?: { policy: Policy; version: number };
  after?: string | undefined;
  refused?: Refused;
}

async function preview(c: Context<AppEnv>, { draft, after, refused }: Previewed): Promise<Response> {
  const wanted = { policy: draft?.policy, after };
  const [repository, saved, plan] = await Promise.all([
    getRepository(callOf(c), repositoryIn(c)),
    savedIn(c),
    previewLifecycle(callOf(c), repositoryIn(c), wanted),
  ]);
  const policy = draft?.policy ?? saved?.policy ?? { rules: [] };
  const isSaved = draft === undefined || JSON.stringify(draft.policy) === JSON.stringify(saved?.policy);
  const shown = { c, repository, policy, plan, refused, unsaved: isSaved ? null : (draft?.version ?? 0) };
  return render(c, <PreviewPage {...shown} />, refused ? statusOf(refused.refusal) : 200);
}
