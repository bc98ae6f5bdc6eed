/** The settings page of a repository: its description, its visibility, which tags are immutable, and its deletion. */

import { type Preview, previewVisibility } from '../../../app/policies.ts';
import { changeRepository, deleteRepository, getRepository } from '../../../app/repositories.ts';
import { getTagMutability, putTagMutability } from '../../../app/tags.ts';
import type { Mutability } from '../../../vocabulary/mutability.ts';
import { withFieldsIn } from '../../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { type Form, readForm, requireConfirmed, versionIn } from '../forms.ts';
import { render, seeOther } from '../page.tsx';
import { repositoryAt } from '../parts/addresses.ts';
import type { Refused } from '../parts/form.tsx';
import { statusOf, tried } from '../refused.tsx';
import { RepositoryPage } from './frame.tsx';
import {
  DangerZone,
  DescriptionForm,
  ImmutableTagsForm,
  type Settings,
  VisibilityPanel,
  VisibilityReview,
} from './settings-forms.tsx';

type Visibility = 'private' | 'public';

/** The functions that handle the forms of the page. The field `what` of a form names its function. */
const CHANGES = { description, visibility, tags, deletion } as const;

type What = keyof typeof CHANGES;

export const settingsPages = new Hono<AppEnv>()
  .get('/repositories/:name{.+}/-/settings', async (c) => {
    const wanted = visibilityOf(c.req.query('visibility'));
    const [data, preview] = await Promise.all([
      settingsIn(c),
      wanted === null ? null : previewVisibility(callOf(c), repositoryIn(c), wanted),
    ]);
    return render(c, <SettingsPage c={c} {...data} preview={preview} />);
  })
  .post('/repositories/:name{.+}/-/settings', async (c) => {
    const form = await readForm(c);
    const what = form.text('what');
    const change = what in CHANGES ? CHANGES[what as What] : description;
    const outcome = await tried(form, () => change(c, form));
    if ('done' in outcome) return outcome.done;
    const { refused } = outcome;
    const data = await settingsIn(c);
    return render(c, <SettingsPage c={c} {...data} what={what as What} refused={refused} />, statusOf(refused.refusal));
  });

async function settingsIn(c: RequestContext): Promise<Settings> {
  const [repository, { mutability, version }] = await Promise.all([
    getRepository(callOf(c), repositoryIn(c)),
    getTagMutability(callOf(c), repositoryIn(c)),
  ]);
  return { repository, mutability, mutabilityVersion: version };
}

function visibilityOf(text: string | undefined): Visibility | null {
  return text === 'public' || text === 'private' ? text : null;
}

function saved(c: RequestContext): Response {
  return seeOther(repositoryAt(repositoryIn(c), 'settings'), 'saved');
}

async function description(c: RequestContext, form: Form): Promise<Response> {
  await changeRepository(callOf(c), repositoryIn(c), { description: form.text('description') }, versionIn(form));
  return saved(c);
}

async function visibility(c: RequestContext, form: Form): Promise<Response> {
  const wanted = visibilityOf(form.text('visibility'));
  if (wanted !== null) await changeRepository(callOf(c), repositoryIn(c), { visibility: wanted }, versionIn(form));
  return saved(c);
}

async function tags(c: RequestContext, form: Form): Promise<Response> {
  const exclusions = form
    .text('exclusions')
    .split(/[\s,]+/)
    .filter(Boolean);
  const base = form.text('mutability') === 'IMMUTABLE' ? ('IMMUTABLE' as const) : ('MUTABLE' as const);
  const value: Mutability['value'] = exclusions.length === 0 ? base : `${base}_WITH_EXCLUSION`;
  const put = () => putTagMutability(callOf(c), repositoryIn(c), { value, exclusions }, versionIn(form));
  await withFieldsIn('exclusions', put);
  return saved(c);
}

async function deletion(c: RequestContext, form: Form): Promise<Response> {
  requireConfirmed(form, repositoryIn(c));
  await deleteRepository(callOf(c), repositoryIn(c), { force: true, ifVersion: versionIn(form) });
  return seeOther('/repositories', 'repository-deleted');
}

interface PageProps extends Settings {
  c: RequestContext;
  /** What a change of the visibility would do. If set, the page asks the reader to confirm the change. */
  preview?: Comparison | null;
  /** The name of the refused form. */
  what?: What;
  refused?: Refused;
}

type Comparison = Omit<Preview, 'warnings'>;

function SettingsPage({ c, preview = null, what, refused, ...settings }: PageProps) {
  const { repository } = settings;
  const of = (one: What) => (what === one ? refused : undefined);
  return (
    <RepositoryPage
      c={c}
      repository={repository}
      tab="settings"
      title={`Settings of ${repository.name}`}
      json={`/api/v1/repositories/${repository.name}`}
    >
      <div class="settings">
        {preview === null ? (
          <>
            <DescriptionForm {...settings} refused={of('description')} />
            <VisibilityPanel {...settings} refused={of('visibility')} />
            <ImmutableTagsForm {...settings} refused={of('tags')} />
            <DangerZone c={c} {...settings} refused={of('deletion')} />
          </>
        ) : (
          <VisibilityReview {...settings} {...preview} />
        )}
      </div>
    </RepositoryPage>
  );
}
