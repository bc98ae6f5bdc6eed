/** The page that lists the files of a layer. */

import { type LayerFiles, listLayerFiles, type TarEntry } from '../../../app/layer-files.ts';
import { getRepository, type Repository } from '../../../app/repositories.ts';
import { parseDigest } from '../../../oci/digest.ts';
import { isRefusal, type Refusal } from '../../../vocabulary/refusal.ts';
import { type AppEnv, callOf, type RequestContext, repositoryIn } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { render } from '../page.tsx';
import { repositoryAt } from '../parts/addresses.ts';
import { Notice, sentence } from '../parts/form.tsx';
import { type Column, Empty, Table } from '../parts/table.tsx';
import { Bytes, Chip, countText, Digest, Foreign } from '../parts/text.tsx';
import { statusOf } from '../refused.tsx';
import { RepositoryPage } from '../repositories/frame.tsx';

/** The maximum number of entries on one page. A filter finds the others. */
const SHOWN_MAX = 500;

export const layerFilePages = new Hono<AppEnv>().get('/repositories/:name{.+}/-/layers/:digest', async (c) => {
  const digest = parseDigest(c.req.param('digest') ?? '');
  const filter = c.req.query('filter')?.trim() ?? '';
  const [repository, files] = await Promise.all([
    getRepository(callOf(c), repositoryIn(c)),
    listLayerFiles(callOf(c), repositoryIn(c), digest).catch((error: unknown) => {
      // The layer exists, but its files cannot be listed. The page says why.
      if (isRefusal(error, 'too-much-work', 'conflict')) return error;
      throw error;
    }),
  ]);
  const status = isRefusal(files) ? statusOf(files) : 200;
  return render(c, <Files {...{ c, repository, digest, filter, files }} />, status);
});

interface FilesProps {
  c: RequestContext;
  repository: Repository;
  digest: string;
  filter: string;
  files: LayerFiles | Refusal;
}

function Files({ c, repository, digest, filter, files }: FilesProps) {
  const { name } = repository;
  return (
    <RepositoryPage c={c} repository={repository} tab="" title={`Files of a layer of ${name}`}>
      <h2>Files of a layer</h2>
      <p>
        <Digest digest={digest} />
      </p>
      {isRefusal(files) ? (
        <Notice tone="warn">{sentence(files.message)}</Notice>
      ) : (
        <Listed {...{ name, digest, filter, files }} />
      )}
    </RepositoryPage>
  );
}

function Listed({ name, digest, filter, files }: { name: string; digest: string; filter: string; files: LayerFiles }) {
  const wanted = filter.toLowerCase();
  const matching = files.entries.filter(({ path }) => path.toLowerCase().includes(wanted));
  const total = matching.reduce((sum, { size }) => sum + size, 0);
  const shown = matching.slice(0, SHOWN_MAX);
  return (
    <>
      <form class="filters" action={repositoryAt(name, `layers/${digest}`)} data-filter>
        <label>
          Path
          <input name="filter" type="search" value={filter} maxlength={255} autocomplete="off" data-main-search />
        </label>
        <button type="submit">Filter</button>
      </form>
      <div id="results" data-results>
        <p>
          {countText(matching.length, 'entry', 'entries')}, <Bytes value={total} /> unpacked
          {shown.length < matching.length ? `. The first ${SHOWN_MAX} are shown: filter by path to see others` : ''}
          {files.truncated ? '. The layer has more entries than are read' : ''}
        </p>
        {shown.length === 0 ? (
          <Empty title={filter === '' ? 'The layer has no files' : 'No path matches'} />
        ) : (
          <Table caption="Files" columns={COLUMNS} items={shown} />
        )}
      </div>
    </>
  );
}

const KINDS: Record<TarEntry['kind'], string> = {
  file: 'file',
  folder: 'folder',
  link: 'link',
  'hard link': 'hard link',
  removed: 'removed',
  emptied: 'emptied',
  other: 'special',
};

const COLUMNS: Column<TarEntry>[] = [
  {
    head: 'Path',
    cell: ({ path, kind, target }) => (
      <>
        <span class="mono">
          <Foreign text={path} />
        </span>
        {target === null ? null : (
          <span class="soft">
            to <Foreign text={target} />
          </span>
        )}
        {kind === 'removed' ? <Chip title="A layer below has it, and this one removes it">removed</Chip> : null}
        {kind === 'emptied' ? <Chip title="What layers below have in this folder is removed">emptied</Chip> : null}
      </>
    ),
  },
  { head: 'Kind', cell: ({ kind }) => KINDS[kind] },
  {
    head: 'Mode',
    cell: ({ kind, mode }) => (kind === 'removed' || kind === 'emptied' ? '' : mode.toString(8).padStart(4, '0')),
  },
  { head: 'Size', kind: 'number', cell: ({ kind, size }) => (kind === 'file' ? <Bytes value={size} /> : '') },
];
