/** The part of a comparison that shows which files differ, and asks for the lists of layers that are not there yet. */
import type { FileComparison } from '../../../app/layer-files.ts';
import { changesMatching, type FileChange } from '../../../oci/file-changes.ts';
import { FILE_CHANGES_SHOWN_MAX, FILE_FILTER_MAX } from '../../../vocabulary/images.ts';
import { repositoryAt, withQuery } from '../parts/addresses.ts';
import { sentence } from '../parts/form.tsx';
import { type Column, Table } from '../parts/table.tsx';
import { Bytes, bytesText, Chip, countText, Digest, Foreign } from '../parts/text.tsx';

interface FilesProps {
  repository: string;
  /** The query of the page, which its links and its form keep. */
  query: { from: string; to: string; platform: string };
  names: { from: string; to: string };
  filter: string;
  comparison: FileComparison;
}

export function FileChanges(props: FilesProps) {
  const { changes } = props.comparison;
  const count = changes && changes.added + changes.removed + changes.changed;
  return (
    <section aria-labelledby="files">
      <h2 id="files">
        Files <span class="soft count">{count === null ? '' : countText(count, 'difference')}</span>
      </h2>
      <Unread {...props} />
      <Unreadable {...props} />
      {changes === null ? null : <Found {...props} changes={changes} />}
    </section>
  );
}

/** Layers that can be read, and have not been. */
function Unread({ repository, query, comparison: { unread, changes } }: FilesProps) {
  if (unread.length === 0) return null;
  const bytes = unread.reduce((sum, { size }) => sum + size, 0);
  const href = withQuery(repositoryAt(repository, 'compare'), { ...query, files: 'read' });
  return (
    <div class="panel">
      <p>{unreadText(`${countText(unread.length, 'layer')} with ${bytesText(bytes)}`, changes !== null)}</p>
      <p>
        <a class="button" href={href + FRAGMENT}>
          Read {countText(unread.length, 'layer')}
        </a>
      </p>
    </div>
  );
}

const FRAGMENT = '#files';

function unreadText(what: string, areShared: boolean): string {
  return areShared
    ? `${what} that both images share are not read: of a file that one of them has, it is not known what it was before.`
    : `Which files differ is known once the archives of ${what} are read.`;
}

/** Layers of which the reason is shown. */
const REASONS_MAX = 5;

function Unreadable({ comparison: { unreadable, changes } }: FilesProps) {
  if (unreadable.length === 0) return null;
  return (
    <div class="notice warn">
      {changes === null ? <p>The files cannot be compared.</p> : null}
      {unreadable.slice(0, REASONS_MAX).map(({ digest, message }) => (
        <p>
          <Digest digest={digest} /> {sentence(message)}
        </p>
      ))}
      {unreadable.length > REASONS_MAX ? <p>So it is with {unreadable.length - REASONS_MAX} more.</p> : null}
    </div>
  );
}

interface FoundProps extends FilesProps {
  changes: NonNullable<FileComparison['changes']>;
}

function Found({ repository, query, names, filter, comparison, changes }: FoundProps) {
  if (changes.added + changes.removed + changes.changed === 0) return <p class="soft">No file differs.</p>;
  const matching = changesMatching(changes.items, filter);
  const shown = matching.slice(0, FILE_CHANGES_SHOWN_MAX);
  return (
    <>
      <Sums changes={changes} isCut={comparison.truncated || changes.truncated} />
      <form class="filters" action={repositoryAt(repository, 'compare')} data-filter>
        <Hidden name="from" value={query.from} />
        <Hidden name="to" value={query.to} />
        {query.platform === '' ? null : <Hidden name="platform" value={query.platform} />}
        <label>
          Path
          <input name="filter" type="search" value={filter} maxlength={FILE_FILTER_MAX} autocomplete="off" />
        </label>
        <button type="submit">Filter</button>
      </form>
      <div id="results" data-results>
        {shown.length === 0 ? (
          <p class="soft">No path matches.</p>
        ) : (
          <Table caption="Files that differ" columns={columnsOf(names)} items={shown} />
        )}
        {matching.length > shown.length ? (
          <p class="hint">
            The first {shown.length} of {matching.length.toLocaleString('en')} are shown: filter by path to see others.
          </p>
        ) : null}
      </div>
      <p class="hint">Contents are not compared: a file is the same if its size, permissions and time are.</p>
    </>
  );
}

function Hidden({ name, value }: { name: string; value: string }) {
  return <input type="hidden" name={name} value={value} />;
}

function Sums({ changes, isCut }: { changes: FoundProps['changes']; isCut: boolean }) {
  const { added, removed, changed, addedBytes, removedBytes } = changes;
  return (
    <p>
      {countText(added, 'file')} added, {removed.toLocaleString('en')} removed, {changed.toLocaleString('en')} changed.
      Unpacked, {bytesText(addedBytes)} are new and {bytesText(removedBytes)} are gone.
      {isCut ? ' There are more files than are looked at.' : ''}
    </p>
  );
}

const TONES = { added: 'good', removed: 'bad', changed: 'warn' } as const;

function columnsOf(names: FilesProps['names']): Column<FileChange>[] {
  return [
    {
      head: 'Path',
      cell: ({ path }) => (
        <span class="mono">
          <Foreign text={path} />
        </span>
      ),
    },
    { head: 'Change', cell: ({ change }) => <Chip tone={TONES[change]}>{change}</Chip> },
    { head: names.from, kind: 'number', cell: (change) => <State change={change} side="from" /> },
    { head: names.to, kind: 'number', cell: (change) => <State change={change} side="to" /> },
  ];
}

/** What one image has: the size of a file, or what else it is, and what else differs. */
function State({ change, side }: { change: FileChange; side: 'from' | 'to' }) {
  const state = change[side];
  const other = change[side === 'from' ? 'to' : 'from'];
  if (state === null) return <span class="soft">{change.from === null && change.to === null ? 'not known' : '—'}</span>;
  const { kind, size, mode, modified, target } = state;
  const isSameSize = other !== null && other.kind === kind && other.size === size && other.target === target;
  return (
    <>
      {kind === 'file' ? <Bytes value={size} /> : <span>{kind}</span>}
      {target === null ? null : (
        <span class="soft">
          to <Foreign text={target} />
        </span>
      )}
      {other !== null && other.mode !== mode ? <span class="soft">mode {mode.toString(8).padStart(4, '0')}</span> : null}
      {isSameSize && kind === 'file' && other.modified !== modified ? (
        <span class="soft">of {new Date(modified * 1000).toISOString().slice(0, 19).replace('T', ' ')}</span>
      ) : null}
    </>
  );
}
