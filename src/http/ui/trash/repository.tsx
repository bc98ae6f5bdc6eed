/** The trash page of a repository: its deleted tags and images, with buttons to restore them and to delete them for good. */
import type { Context } from 'hono';
import { may } from '../../../app/access.ts';
import { getRepository, type Repository } from '../../../app/repositories.ts';
import {
  listTrash,
  purgeManifest,
  purgeTag,
  restoreManifest,
  restoreTag,
  type TrashEntry,
  trashCursor,
} from '../../../app/trash.ts';
import { type Digest, isDigest } from '../../../oci/digest.ts';
import { isTag, type Tag } from '../../../oci/reference.ts';
import { Refusal } from '../../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { readForm, requireConfirmed } from '../forms.ts';
import { render, seeOther } from '../page.tsx';
import { repositoryAt, withQuery } from '../parts/addresses.ts';
import { ActionForm, ConfirmName, Refusals, type Refused } from '../parts/form.tsx';
import { type Column, Empty, Pager, Table } from '../parts/table.tsx';
import { Digest as DigestText, Foreign, Principal, When } from '../parts/text.tsx';
import { statusOf, tried } from '../refused.tsx';
import { RepositoryPage } from '../repositories/frame.tsx';

const PAGE_SIZE = 50;
const PATH = '/repositories/:name{.+}/-/trash';

/** A deleted tag or image. */
type Named = { kind: 'tag'; name: Tag } | { kind: 'manifest'; name: Digest };

export const repositoryTrashPages = new Hono<AppEnv>()
  .get(PATH, (c) => show(c))
  .post(`${PATH}/restore`, async (c) => {
    const form = await readForm(c);
    const entry = namedBy(form.text('kind'), form.text('name'));
    const outcome = await tried(form, () =>
      entry.kind === 'tag'
        ? restoreTag(callOf(c), repositoryIn(c), entry.name)
        : restoreManifest(callOf(c), repositoryIn(c), entry.name),
    );
    if ('refused' in outcome) return show(c, outcome.refused);
    return seeOther(pageOf(c), outcome.done.notRestored.length > 0 ? 'restored-partly' : 'restored');
  })
  .get(`${PATH}/purge`, (c) => showPurge(c, namedBy(c.req.query('kind'), c.req.query('name'))))
  .post(`${PATH}/purge`, async (c) => {
    const form = await readForm(c);
    const entry = namedBy(form.text('kind'), form.text('name'));
    const outcome = await tried(form, async () => {
      requireConfirmed(form, typedFor(entry));
      if (entry.kind === 'tag') await purgeTag(callOf(c), repositoryIn(c), entry.name);
      else await purgeManifest(callOf(c), repositoryIn(c), entry.name);
    });
    if ('refused' in outcome) return showPurge(c, entry, outcome.refused);
    return seeOther(pageOf(c), 'purged');
  });

function pageOf(c: RequestContext): string {
  return repositoryAt(repositoryIn(c), 'trash');
}

/** @throws not-found if the texts name neither a tag nor an image */
function namedBy(kind = '', name = ''): Named {
  if (kind === 'tag' && isTag(name)) return { kind, name };
  if (kind === 'manifest' && isDigest(name)) return { kind, name };
  throw new Refusal('not-found');
}

/** The number of characters of a digest that the user must type to confirm. */
const TYPED_DIGITS = 19;

/** Returns the text that the user must type before something is deleted for good. */
function typedFor({ kind, name }: Named): string {
  return kind === 'tag' ? name : name.slice(0, TYPED_DIGITS);
}

async function show(c: Context<AppEnv>, refused?: Refused): Promise<Response> {
  const last = c.req.query('last');
  const [repository, { items, more }] = await Promise.all([
    getRepository(callOf(c), repositoryIn(c)),
    listTrash(callOf(c), repositoryIn(c), { after: last ?? '', limit: PAGE_SIZE }),
  ]);
  const end = items.at(-1);
  const page = { c, repository, items, last, next: more && end ? trashCursor(end) : null, refused };
  return render(c, <Trash {...page} />, refused ? statusOf(refused.refusal) : 200);
}

interface TrashProps {
  c: RequestContext;
  repository: Repository;
  items: TrashEntry[];
  last: string | undefined;
  next: string | null;
  refused: Refused | undefined;
}

function Trash({ c, repository, items, last, next, refused }: TrashProps) {
  const { name } = repository;
  const path = repositoryAt(name, 'trash');
  const isAdmin = may(callOf(c).authority, 'admin', name);
  return (
    <RepositoryPage c={c} repository={repository} tab="trash" title={`Trash · ${name}`} json={`/api/v1${path}`}>
      <Refusals refused={refused} />
      {items.length === 0 ? (
        <Empty title="The trash is empty">
          <p>Deleted tags and images stay here for some days and can be restored.</p>
        </Empty>
      ) : (
        <>
          <p class="soft">Restoring an image brings back its tags that are still free, and its signatures and SBOMs.</p>
          <Table caption="Deleted images by digest, then tags by name" columns={columnsOf(name, isAdmin)} items={items} />
        </>
      )}
      <Pager path={path} query={{}} last={last} next={next} />
    </RepositoryPage>
  );
}

function columnsOf(repository: string, isAdmin: boolean): Column<TrashEntry>[] {
  return [
    { head: 'Deleted', cell: (entry) => <What entry={entry} /> },
    {
      head: 'By',
      cell: ({ deletedAt, deletedBy, reason }) => (
        <>
          {deletedBy === 'registry' ? <span>a lifecycle rule</span> : <Principal subject={deletedBy} />}
          <span class="soft">
            <When at={deletedAt} />
          </span>
          {reason === null ? null : (
            <span class="soft">
              <Foreign text={reason} />
            </span>
          )}
        </>
      ),
    },
    { head: 'Restorable until', cell: ({ restorableUntil }) => <When at={restorableUntil} /> },
    {
      head: 'Actions',
      cell: ({ kind, name }) => (
        <div class="actions">
          <ActionForm
            action={repositoryAt(repository, 'trash/restore')}
            label="Restore"
            name={`Restore ${name}`}
            fields={{ kind, name }}
          />
          {isAdmin ? (
            <a class="button danger" href={withQuery(repositoryAt(repository, 'trash/purge'), { kind, name })}>
              Delete for good
            </a>
          ) : null}
        </div>
      ),
    },
  ];
}

function What({ entry: { kind, name, digest, tags } }: { entry: TrashEntry }) {
  if (kind === 'tag') {
    return (
      <>
        <span class="strong mono">{name}</span>
        <span class="soft">
          named <DigestText digest={digest} />
        </span>
      </>
    );
  }
  return (
    <>
      <DigestText digest={digest} />
      <span class="soft">{tags.length === 0 ? 'an image without a tag' : `with the tags ${tags.join(', ')}`}</span>
    </>
  );
}

async function showPurge(c: Context<AppEnv>, entry: Named, refused?: Refused): Promise<Response> {
  const repository = await getRepository(callOf(c), repositoryIn(c));
  const path = repositoryAt(repository.name, 'trash');
  const what = entry.kind === 'tag' ? `the tag ${entry.name}` : 'the image';
  const page = (
    <RepositoryPage c={c} repository={repository} tab="trash" title={`Delete for good · ${repository.name}`}>
      <section class="narrow">
        <h2>Delete {what} for good</h2>
        <form method="post" action={`${path}/purge`} class="panel danger">
          <Refusals refused={refused} />
          <input type="hidden" name="kind" value={entry.kind} />
          <input type="hidden" name="name" value={entry.name} />
          {entry.kind === 'tag' ? null : (
            <p>
              <DigestText digest={entry.name} />
            </p>
          )}
          <p>This cannot be undone. Bytes that nothing else needs are freed by a later pass of the collector.</p>
          <ConfirmName expected={typedFor(entry)} refused={refused} />
          <div class="actions">
            <button type="submit" class="danger">
              Delete for good
            </button>
            <a href={path}>Back to the trash</a>
          </div>
        </form>
      </section>
    </RepositoryPage>
  );
  return render(c, page, refused ? statusOf(refused.refusal) : 200);
}
