/** Deletes tags and images. A preview shows what would be deleted. The deletion then removes exactly that, or nothing. */

import { type DeletionPreview, deleteChosen, previewDeletion } from '../../../app/deletions.ts';
import { getRepository, type Repository } from '../../../app/repositories.ts';
import { DELETED_TAGS_MAX } from '../../../vocabulary/images.ts';
import { isRefusal } from '../../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { chargeReferences } from '../../limits.ts';
import { type Form, readForm } from '../forms.ts';
import { render, seeOther } from '../page.tsx';
import { imageAt, repositoryAt, tagAt } from '../parts/addresses.ts';
import { Refusals, type Refused, sentence } from '../parts/form.tsx';
import { type Column, Empty, Table } from '../parts/table.tsx';
import { Bytes, bytesText, Chip, countText, Digest, Foreign } from '../parts/text.tsx';
import { statusOf, tried } from '../refused.tsx';
import { RepositoryPage } from '../repositories/frame.tsx';

/** The tags and images that the user has chosen for deletion. */
interface Chosen {
  tags: string[];
  images: string[];
  orphans: 'keep' | 'delete';
}

/** The approximate number of D1 rows that deleting a tag or an image writes. */
const ROWS_EACH = 10;

export const deletionPages = new Hono<AppEnv>()
  .get('/repositories/:name{.+}/-/deletion', (c) => {
    const [tags, images] = [c.req.queries('tag') ?? [], c.req.queries('digest') ?? []];
    return showPreview(c, { tags, images, orphans: c.req.query('orphans') === 'delete' ? 'delete' : 'keep' });
  })
  .post('/repositories/:name{.+}/-/deletion', async (c) => {
    const form = await readForm(c);
    const chosen = chosenIn(form);
    const outcome = await tried(form, async () => {
      chargeReferences(c, ROWS_EACH * (chosen.tags.length + chosen.images.length));
      return deleteChosen(callOf(c), repositoryIn(c), chosen, (etag) => etag === form.text('etag'));
    });
    if ('done' in outcome) return seeOther(repositoryAt(repositoryIn(c)), 'content-deleted');
    return showPreview(c, chosen, outcome.refused);
  });

function chosenIn(form: Form): Chosen {
  const orphans = form.text('orphans') === 'delete' ? 'delete' : 'keep';
  return { tags: form.all('tag'), images: form.all('digest'), orphans };
}

async function showPreview(c: RequestContext, chosen: Chosen, refused?: Refused): Promise<Response> {
  const [call, name] = [callOf(c), repositoryIn(c)];
  const isEmpty = chosen.tags.length + chosen.images.length === 0;
  const [repository, preview] = await Promise.all([
    getRepository(call, name),
    isEmpty ? null : previewDeletion(call, name, chosen).catch(refusalOf),
  ]);
  const status = refused ? statusOf(refused.refusal) : isRefusal(preview) ? statusOf(preview) : 200;
  return render(c, <DeletionPage {...{ c, repository, chosen, preview, refused }} />, status);
}

/**
 * Returns a refusal that is caused by the user's choice, so that it is shown on a page of the repository. Throws any other
 * error.
 */
function refusalOf(error: unknown) {
  if (isRefusal(error, 'manifest-unknown', 'request-invalid', 'too-much-work', 'deletion-disabled')) return error;
  throw error;
}

interface DeletionProps {
  c: RequestContext;
  repository: Repository;
  chosen: Chosen;
  preview: DeletionPreview | Awaited<ReturnType<typeof refusalOf>> | null;
  refused: Refused | undefined;
}

function DeletionPage({ c, repository, chosen, preview, refused }: DeletionProps) {
  return (
    <RepositoryPage c={c} repository={repository} tab="" title={`Delete from ${repository.name}`}>
      <Refusals refused={refused} />
      {preview === null ? (
        <Empty title="No tag is selected">
          <p>
            Select up to {DELETED_TAGS_MAX} tags in the <a href={repositoryAt(repository.name)}>list of tags</a>.
          </p>
        </Empty>
      ) : isRefusal(preview) ? (
        <Empty title="This cannot be deleted">
          <p>{sentence(preview.message)}</p>
          <p>
            <a href={repositoryAt(repository.name)}>Back to the tags</a>
          </p>
        </Empty>
      ) : (
        <Preview name={repository.name} chosen={chosen} preview={preview} />
      )}
    </RepositoryPage>
  );
}

interface PreviewProps {
  name: string;
  chosen: Chosen;
  preview: DeletionPreview;
}

function Preview({ name, chosen, preview }: PreviewProps) {
  const { tags, attached, manifests, bytes, freedBytes } = preview;
  const isBlocked = tags.some(({ immutable }) => immutable) || preview.referenced.length > 0;
  const what = whatText(preview);
  return (
    <>
      <h2>Delete {what}</h2>
      <Blocked name={name} preview={preview} />
      {isBlocked ? null : <p>{bytesSentence(manifests.length, bytes, freedBytes)}</p>}
      <Scope name={name} chosen={chosen} preview={preview} />
      {tags.length === 0 ? null : <Some caption="Tags that go" columns={tagColumns(name)} items={tags} of="tag" />}
      {attached.length === 0 ? null : (
        <>
          <h3>Signatures, attestations and SBOMs that go with their image</h3>
          <Some caption="Attached tags that go" columns={tagColumns(name)} items={attached} of="tag" />
        </>
      )}
      {manifests.length === 0 ? null : (
        <details class="folded" open={manifests.length <= OPEN_MAX}>
          <summary>{countText(manifests.length, 'manifest')}: images, indexes, and what is attached</summary>
          <Some caption="Manifests that go" columns={manifestColumns(name)} items={manifests} of="manifest" />
        </details>
      )}
      {isBlocked ? null : <DeleteForm name={name} chosen={chosen} preview={preview} what={what} />}
    </>
  );
}

/** The maximum number of rows of a table: an image can have 10,000 tags. */
const LISTED_MAX = 200;

/** A table of the first rows, which says how many it leaves out. @param of what a row is, in the singular */
function Some<T>({ caption, columns, items, of }: { caption: string; columns: Column<T>[]; items: readonly T[]; of: string }) {
  const left = items.length - LISTED_MAX;
  return (
    <>
      <Table caption={caption} columns={columns} items={items.slice(0, LISTED_MAX)} />
      {left > 0 ? <p class="soft">and {countText(left, `more ${of}`)}.</p> : null}
    </>
  );
}

/** The maximum number of immutable tags that are named. */
const NAMED_MAX = 20;

/** The maximum number of manifests that are listed without a click. */
const OPEN_MAX = 5;

function whatText({ tags, manifests }: DeletionPreview): string {
  const parts = [
    tags.length === 1 ? `the tag ${tags[0]?.tag}` : tags.length > 1 ? countText(tags.length, 'tag') : '',
    manifests.length > 0 ? countText(manifests.length, 'manifest') : '',
  ];
  return parts.filter(Boolean).join(' and ');
}

function bytesSentence(manifests: number, bytes: number, freed: number | null): string {
  if (manifests === 0) return 'Only names go: the images stay, and can still be pulled by digest.';
  const own = `This repository gives up ${bytesText(bytes)} once the trash is emptied.`;
  return freed === null || freed === bytes ? own : `${own} ${bytesText(freed)} of it no other repository holds.`;
}

function Blocked({ name, preview: { tags, referenced } }: { name: string; preview: DeletionPreview }) {
  const immutable = tags.filter((tag) => tag.immutable);
  if (immutable.length + referenced.length === 0) return null;
  return (
    <div class="notice warn" role="status">
      {immutable.length === 0 ? null : (
        <p>
          Immutable, so nothing can be deleted:{' '}
          {immutable
            .slice(0, NAMED_MAX)
            .map(({ tag }) => tag)
            .join(', ')}
          {immutable.length > NAMED_MAX ? ` and ${immutable.length - NAMED_MAX} more` : ''}.
        </p>
      )}
      {referenced.slice(0, NAMED_MAX).map(({ digest, referencedBy }) => (
        <p>
          <Digest digest={digest} /> cannot be deleted before{' '}
          <Digest digest={referencedBy} href={imageAt(name, referencedBy)} />, which lists it.
        </p>
      ))}
    </div>
  );
}

/** A choice: whether images that nothing else needs are deleted, too. */
function Scope({ name, chosen, preview: { orphans } }: PreviewProps) {
  if (chosen.orphans === 'keep' && orphans.length === 0) return null;
  const here = (scope: Chosen['orphans']) => {
    const query = new URLSearchParams([
      ...chosen.tags.map((tag): [string, string] => ['tag', tag]),
      ...chosen.images.map((digest): [string, string] => ['digest', digest]),
      ['orphans', scope],
    ]);
    return `${repositoryAt(name, 'deletion')}?${query}`;
  };
  const only = chosen.images.length === 0 ? 'Only the tags' : 'Only what is named';
  const count = chosen.orphans === 'keep' ? ` (${orphans.length})` : '';
  return (
    <nav class="choices" aria-label="What goes">
      <a href={here('keep')} aria-current={chosen.orphans === 'keep' ? 'true' : undefined}>
        {only}
      </a>
      <a href={here('delete')} aria-current={chosen.orphans === 'delete' ? 'true' : undefined}>
        Also what nothing else holds then{count}
      </a>
    </nav>
  );
}

function tagColumns(name: string): Column<{ tag: string; digest: DeletionPreview['orphans'][number]; immutable?: boolean }>[] {
  return [
    {
      head: 'Tag',
      cell: ({ tag, immutable }) => (
        <>
          <a class="strong mono" href={tagAt(name, tag)}>
            {tag}
          </a>
          {immutable ? <Chip tone="warn">immutable</Chip> : null}
        </>
      ),
    },
    { head: 'Digest', cell: ({ digest }) => <Digest digest={digest} href={imageAt(name, digest)} /> },
  ];
}

function manifestColumns(name: string): Column<DeletionPreview['manifests'][number]>[] {
  return [
    { head: 'Digest', cell: ({ digest }) => <Digest digest={digest} href={imageAt(name, digest)} /> },
    { head: 'Type', cell: ({ mediaType }) => <Foreign text={mediaType} /> },
    { head: 'Manifest', kind: 'number', cell: ({ size }) => <Bytes value={size} /> },
  ];
}

function DeleteForm({ name, chosen, preview, what }: PreviewProps & { what: string }) {
  return (
    <form method="post" action={repositoryAt(name, 'deletion')} class="end">
      {chosen.tags.map((tag) => (
        <input type="hidden" name="tag" value={tag} />
      ))}
      {chosen.images.map((digest) => (
        <input type="hidden" name="digest" value={digest} />
      ))}
      <input type="hidden" name="orphans" value={chosen.orphans} />
      <input type="hidden" name="etag" value={preview.etag} />
      <p class="soft">
        All of it goes to the trash, from which it can be restored. If something changes meanwhile, nothing goes.
      </p>
      <div class="actions">
        <button type="submit" class="danger">
          Delete {what}
        </button>
        <a class="button" href={repositoryAt(name)}>
          Back
        </a>
      </div>
    </form>
  );
}
