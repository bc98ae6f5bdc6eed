/** The page "About" of a repository: its overview, which was rendered when it was saved, and its numbers. */

import { raw } from 'hono/html';
import { getStars, listComments } from '../../../app/comments.ts';
import { changeRepository, getOverview, getRepository, previewOverview, type Repository } from '../../../app/repositories.ts';
import { settings } from '../../../env.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { readForm, versionIn } from '../forms.ts';
import { render, seeOther } from '../page.tsx';
import { repositoryAt, withQuery } from '../parts/addresses.ts';
import { Refusals, type Refused, TextArea } from '../parts/form.tsx';
import { Empty } from '../parts/table.tsx';
import { Bytes, When } from '../parts/text.tsx';
import { statusOf, tried } from '../refused.tsx';
import { COMMENTS_SHOWN, Comments, type CommentsProps, StarForm } from './comment-parts.tsx';
import { RepositoryPage, rightsIn } from './frame.tsx';

/** The maximum number of characters of an overview. */
const OVERVIEW_MAX = 100_000;

export const aboutPages = new Hono<AppEnv>()
  .get('/repositories/:name{.+}/-/about', async (c) => {
    if (c.req.query('edit') !== undefined && rightsIn(c).admin) {
      return render(c, <EditPage c={c} repository={await getRepository(callOf(c), repositoryIn(c))} />);
    }
    return render(c, await aboutPage(c));
  })
  .post('/repositories/:name{.+}/-/about', async (c) => {
    const form = await readForm(c);
    const name = repositoryIn(c);
    const overview = form.raw('overview');
    const outcome = await tried(form, async () => {
      if (form.has('preview')) return { html: await previewOverview(callOf(c), name, overview) };
      await changeRepository(callOf(c), name, { overview }, versionIn(form));
      return null;
    });
    if ('done' in outcome && outcome.done === null) return seeOther(repositoryAt(name, 'about'), 'saved');
    const repository = await getRepository(callOf(c), name);
    if ('refused' in outcome) {
      const { refused } = outcome;
      return render(c, <EditPage c={c} repository={repository} refused={refused} />, statusOf(refused.refusal));
    }
    const shown = { ...repository, overview, version: versionIn(form) ?? repository.version };
    return render(c, <EditPage c={c} repository={shown} preview={outcome.done?.html} />);
  });

interface Shown {
  /** The id of the comment that the reader is editing. */
  editing?: number;
  /** The refused form of a comment. */
  refused?: Refused;
}

/** Answers with the page "About" of the repository. */
export async function aboutPage(c: RequestContext, { editing, refused }: Shown = {}) {
  const name = repositoryIn(c);
  const asked = c.req.query('last');
  const last = editing === undefined ? numberIn(asked) : editing + 1;
  const call = callOf(c);
  const [repository, html, stars, { items, more }] = await Promise.all([
    getRepository(call, name),
    getOverview(call, name),
    getStars(call, name),
    listComments(call, name, { before: last, limit: COMMENTS_SHOWN }),
  ]);
  const isPerson = call.authority.credentialKind === 'session' && call.authority.bounds.length === 0;
  const comments = settings(c.env).comments
    ? {
        ...{ c, name, comments: items, last: last === null ? undefined : String(last), isPerson, refused },
        ...{ mayModerate: rightsIn(c).admin, editing: editing ?? numberIn(c.req.query('comment')) ?? undefined },
        next: more ? String(items.at(-1)?.id) : null,
      }
    : null;
  return <AboutPage c={c} repository={repository} html={html} stars={{ ...stars, isPerson }} comments={comments} />;
}

function numberIn(text: string | undefined): number | null {
  return text !== undefined && /^[1-9]\d{0,14}$/.test(text) ? Number(text) : null;
}

interface AboutProps {
  c: RequestContext;
  repository: Repository;
  stars: { stars: number; starred: boolean; isPerson: boolean };
  /** `null` if comments are switched off. */
  comments: CommentsProps | null;
  /** The overview as HTML. */
  html: string;
}

function AboutPage({ c, repository, html, stars, comments }: AboutProps) {
  const { name } = repository;
  const edit = rightsIn(c).admin ? withQuery(repositoryAt(name, 'about'), { edit: '1' }) : null;
  return (
    <RepositoryPage c={c} repository={repository} tab="about" title={`About ${name}`} json={`/api/v1/repositories/${name}`}>
      <div class="about">
        <div>
          <section aria-labelledby="overview-title">
            <header class="subject">
              <h2 id="overview-title">Overview</h2>
              {edit === null || html === '' ? null : (
                <a class="button small" href={edit}>
                  Edit
                </a>
              )}
            </header>
            {html === '' ? <NoOverview edit={edit} /> : <Prose html={html} />}
          </section>
          {comments === null ? null : <Comments {...comments} />}
        </div>
        <aside aria-label="Figures">
          <StarForm name={name} {...stars} />
          <Figures repository={repository} />
        </aside>
      </div>
    </RepositoryPage>
  );
}

function NoOverview({ edit }: { edit: string | null }) {
  return (
    <Empty title="No overview yet">
      {edit === null ? (
        <p>Its administrators can write one.</p>
      ) : (
        <p>
          <a class="button" href={edit}>
            Write an overview
          </a>
        </p>
      )}
    </Empty>
  );
}

/** @param html HTML that the registry has rendered, never HTML that a user wrote */
function Prose({ html }: { html: string }) {
  return (
    <div class="prose panel" dir="auto">
      {raw(html)}
    </div>
  );
}

function Figures({ repository }: { repository: Repository }) {
  const { tags, manifests, bytes, lastPushedAt, createdAt } = repository;
  return (
    <dl class="facts">
      <dt>Tags</dt>
      <dd>{tags.toLocaleString('en')}</dd>
      <dt>Manifests</dt>
      <dd>{manifests.toLocaleString('en')}</dd>
      <dt>Size</dt>
      <dd>
        <Bytes value={bytes} />
      </dd>
      <dt>Last push</dt>
      <dd>
        <When at={lastPushedAt} />
      </dd>
      <dt>Created</dt>
      <dd>
        <When at={createdAt} />
      </dd>
    </dl>
  );
}

interface EditProps {
  c: RequestContext;
  repository: Repository;
  preview?: string | undefined;
  refused?: Refused;
}

function EditPage({ c, repository, preview, refused }: EditProps) {
  const { name, version, overview } = repository;
  return (
    <RepositoryPage c={c} repository={repository} tab="about" title={`Edit the overview of ${name}`}>
      <section class="about-edit" aria-labelledby="edit-title">
        <h2 id="edit-title">Edit the overview</h2>
        <form method="post" action={repositoryAt(name, 'about')} class="panel">
          <Refusals refused={refused} />
          {refused?.refusal.reason === 'version-mismatch' ? (
            <p class="hint">
              Somebody changed the repository meanwhile. Saving again replaces the overview that is there now:{' '}
              <a href={repositoryAt(name, 'about')}>look at it</a>.
            </p>
          ) : null}
          <input type="hidden" name="version" value={String(version)} />
          <TextArea
            name="overview"
            label="Overview"
            hint="Markdown: headings, lists, tables, code and links. HTML is shown as text, and images as links."
            rows={20}
            max={OVERVIEW_MAX}
            value={overview}
            mono
            refused={refused}
          />
          <div class="actions">
            <button type="submit" class="main">
              Save overview
            </button>
            <button type="submit" name="preview" value="1">
              Preview
            </button>
            <a href={repositoryAt(name, 'about')}>Back</a>
          </div>
        </form>
        {preview === undefined ? null : (
          <section aria-labelledby="preview-title">
            <h2 id="preview-title">Preview</h2>
            <Prose html={preview} />
          </section>
        )}
      </section>
    </RepositoryPage>
  );
}
