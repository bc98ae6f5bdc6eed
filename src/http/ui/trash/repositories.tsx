/** The page of deleted repositories, with buttons to restore them and to delete them for good. */
import type { Context } from 'hono';
import {
  type DeletedRepository,
  getDeletedRepository,
  listDeletedRepositories,
  purgeRepository,
  restoreRepository,
} from '../../../app/trash.ts';
import { type AppEnv, callOf, type RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { readForm, requireConfirmed } from '../forms.ts';
import { Page, render, seeOther } from '../page.tsx';
import { repositoryAt } from '../parts/addresses.ts';
import { ActionForm, ConfirmName, Refusals, type Refused } from '../parts/form.tsx';
import { type Column, Empty, Pager, Table } from '../parts/table.tsx';
import { Principal, When } from '../parts/text.tsx';
import { statusOf, tried } from '../refused.tsx';

const PAGE_SIZE = 50;

export const deletedRepositoryPages = new Hono<AppEnv>()
  .get('/trash', (c) => show(c))
  .post('/trash/:entry/restore', async (c) => {
    const form = await readForm(c);
    const outcome = await tried(form, () => restoreRepository(callOf(c), c.req.param('entry')));
    if ('refused' in outcome) return show(c, outcome.refused);
    const { name, webhooks } = outcome.done;
    return seeOther(repositoryAt(name), webhooks.restored.length > 0 ? 'restored-webhooks' : 'restored');
  })
  .get('/trash/:entry/purge', (c) => showPurge(c, c.req.param('entry')))
  .post('/trash/:entry/purge', async (c) => {
    const form = await readForm(c);
    const entry = c.req.param('entry');
    const outcome = await tried(form, async () => {
      requireConfirmed(form, (await getDeletedRepository(callOf(c), entry)).name);
      await purgeRepository(callOf(c), entry);
    });
    return 'done' in outcome ? seeOther('/trash', 'purged') : showPurge(c, entry, outcome.refused);
  });

async function show(c: Context<AppEnv>, refused?: Refused): Promise<Response> {
  const last = c.req.query('last');
  const { items, next } = await listDeletedRepositories(callOf(c), { after: last ?? '', limit: PAGE_SIZE });
  const page = <Deleted c={c} items={items} last={last} next={next} refused={refused} />;
  return render(c, page, refused ? statusOf(refused.refusal) : 200);
}

interface DeletedProps {
  c: RequestContext;
  items: DeletedRepository[];
  last: string | undefined;
  next: string | null;
  refused: Refused | undefined;
}

function Deleted({ c, items, last, next, refused }: DeletedProps) {
  return (
    <Page c={c} title="Trash" json="/api/v1/trash">
      <header class="subject">
        <h1>Trash</h1>
        <p class="description">
          Deleted repositories that you may restore. Deleted tags and images are in the trash of their repository.
        </p>
      </header>
      <Refusals refused={refused} />
      {items.length === 0 ? (
        <Empty title={next === null ? 'No deleted repositories' : 'Nothing on this page, but there are more pages'} />
      ) : (
        <Table caption="Deleted repositories, by name" columns={COLUMNS} items={items} />
      )}
      <Pager path="/trash" query={{}} last={last} next={next} />
    </Page>
  );
}

const COLUMNS: Column<DeletedRepository>[] = [
  { head: 'Repository', cell: ({ name }) => <span class="strong">{name}</span> },
  {
    head: 'Deleted',
    cell: ({ deletedAt, deletedBy }) => (
      <>
        <When at={deletedAt} />
        <span class="soft">
          by <Principal subject={deletedBy} />
        </span>
      </>
    ),
  },
  { head: 'Restorable until', cell: ({ restorableUntil }) => <When at={restorableUntil} /> },
  {
    head: 'Actions',
    cell: ({ entry, name }) => (
      <div class="actions">
        <ActionForm action={`/trash/${entry}/restore`} label="Restore" name={`Restore ${name}`} />
        <a class="button danger" href={`/trash/${entry}/purge`}>
          Delete for good
        </a>
      </div>
    ),
  },
];

async function showPurge(c: Context<AppEnv>, entry: string, refused?: Refused): Promise<Response> {
  const { name } = await getDeletedRepository(callOf(c), entry);
  const page = (
    <Page c={c} title={`Delete ${name} for good`}>
      <section class="narrow">
        <h1>Delete {name} for good</h1>
        <form method="post" action={`/trash/${entry}/purge`} class="panel danger">
          <Refusals refused={refused} />
          <p>
            All its images, tags, rules and webhooks are deleted. This cannot be undone. Bytes that no other repository needs
            are freed by later passes of the collector.
          </p>
          <ConfirmName expected={name} refused={refused} />
          <div class="actions">
            <button type="submit" class="danger">
              Delete for good
            </button>
            <a href="/trash">Back to the trash</a>
          </div>
        </form>
      </section>
    </Page>
  );
  return render(c, page, refused ? statusOf(refused.refusal) : 200);
}
