/** The table of tags, with those of signatures and attestations in a table of their own, and with boxes to select several. */
import type { FC } from 'hono/jsx';
import type { TagDetails } from '../../../app/images.ts';
import { attachedTo } from '../../../oci/attachment.ts';
import { isDigest } from '../../../oci/digest.ts';
import type { RequestContext } from '../../context.ts';
import { imageAt, repositoryAt, tagAt } from '../parts/addresses.ts';
import { platformText } from '../parts/platform.ts';
import { isChart } from '../parts/pull-commands.ts';
import { type Column, Table } from '../parts/table.tsx';
import { Bytes, Chip, countText, Day, Digest, Foreign, Icon, Principal, When } from '../parts/text.tsx';
import { rightsIn } from './frame.tsx';

export const TagTable: FC<{ c: RequestContext; name: string; items: TagDetails[] }> = ({ c, name, items }) => {
  const mayDelete = rightsIn(c).delete;
  const ordinary = items.filter(({ tag }) => attachedTo(tag) === null);
  const attached = items.filter(({ tag }) => attachedTo(tag) !== null);
  const tables = (
    <>
      {ordinary.length === 0 ? null : (
        <Table caption={`Tags of ${name}`} columns={columnsOf(name, mayDelete)} items={ordinary} />
      )}
      <AttachedTags name={name} items={attached} />
    </>
  );
  if (!mayDelete) return tables;
  return (
    <form action={repositoryAt(name, 'deletion')} class="selection">
      <div class="actions">
        <label class="check scripted">
          <input type="checkbox" data-choose-all="tag" />
          <span>Select all</span>
        </label>
        <button type="submit" formaction={repositoryAt(name, 'compare')}>
          Compare two
        </button>
        <button type="submit" class="danger">
          Delete selected
        </button>
      </div>
      {tables}
    </form>
  );
};

/** Tags that clients make for signatures and attestations. Only these clients use them. */
function AttachedTags({ name, items }: { name: string; items: TagDetails[] }) {
  if (items.length === 0) return null;
  return (
    <details class="folded" open>
      <summary>{countText(items.length, 'tag')} of signatures and attestations on this page</summary>
      <Table caption="Tags of signatures and attestations" columns={attachedColumns(name)} items={items} />
    </details>
  );
}

function attachedColumns(name: string): Column<TagDetails>[] {
  return [
    {
      head: 'Tag',
      cell: ({ tag }) => (
        <a class="mono" href={tagAt(name, tag)}>
          {tag}
        </a>
      ),
    },
    {
      head: 'Attached to',
      cell: ({ tag }) => {
        const digest = attachedTo(tag) ?? '';
        return isDigest(digest) ? <Digest digest={digest} href={imageAt(name, digest)} /> : <span>an image</span>;
      },
    },
    { head: 'Pushed', cell: ({ pushedAt }) => <When at={pushedAt} /> },
  ];
}

function columnsOf(name: string, mayDelete: boolean): Column<TagDetails>[] {
  return [
    { head: 'Tag', cell: (item) => <TagName name={name} item={item} mayDelete={mayDelete} /> },
    { head: 'Platforms', cell: ({ image }) => <Platforms image={image} /> },
    { head: 'Size', kind: 'number', cell: ({ image }) => <Bytes value={image?.size ?? null} /> },
    {
      head: 'Digest',
      cell: ({ digest, tagged }) => (
        <>
          <Digest digest={digest} href={imageAt(name, digest)} />
          {tagged?.previous ? <span class="soft">moved from {tagged.previous.slice(0, SHORT)}</span> : null}
        </>
      ),
    },
    {
      head: 'Pushed',
      cell: ({ tag, pushedAt, tagged }) => (
        <>
          <When at={pushedAt} />
          <span class="soft">
            {tagged?.by ? (
              <>
                by <Principal subject={tagged.by.subject} {...(tagged.by.key ? { key: tagged.by.key } : {})} />,{' '}
              </>
            ) : null}
            <a href={`${tagAt(name, tag)}/history`}>history</a>
          </span>
        </>
      ),
    },
    { head: 'Last pull', cell: ({ image }) => <Day day={image?.lastPulledOn ?? null} /> },
  ];
}

/** The number of characters of a digest in a sentence. */
const SHORT = 19;
/** The maximum number of tags with the same digest that a row shows. */
const SAME_SHOWN = 3;
/** The maximum number of characters of each of these tags. */
const SAME_LENGTH = 40;

function TagName({ name, item, mayDelete }: { name: string; item: TagDetails; mayDelete: boolean }) {
  const { tag, immutable, sameAs, image } = item;
  const extras = (image?.attestations ?? 0) + (image?.referrers ?? 0);
  return (
    <div class="tag">
      {mayDelete && !immutable ? <input type="checkbox" name="tag" value={tag} aria-label={`Select ${tag}`} /> : null}
      <div>
        <a class="strong mono" href={tagAt(name, tag)} data-row>
          {tag}
        </a>
        {immutable ? (
          <Chip title="It can be neither moved nor deleted">
            <Icon name="lock" /> immutable
          </Chip>
        ) : null}
        {sameAs.length === 0 ? null : <span class="soft">same as {sameText(sameAs)}</span>}
        {extras === 0 ? null : (
          <a class="soft" href={`${tagAt(name, tag)}#attached`}>
            {extras >= ATTACHED_MAX ? `${ATTACHED_MAX} or more` : extras} attached
          </a>
        )}
      </div>
    </div>
  );
}

/** The number up to which lists count attached content. */
const ATTACHED_MAX = 100;

function short(tag: string): string {
  return tag.length > SAME_LENGTH ? `${tag.slice(0, SAME_LENGTH - 1)}…` : tag;
}

function sameText(tags: readonly string[]): string {
  const shown = tags.filter((tag) => attachedTo(tag) === null);
  const more = shown.length > SAME_SHOWN ? ' and others' : '';
  return `${shown.slice(0, SAME_SHOWN).map(short).join(', ')}${more}`;
}

function Platforms({ image }: { image: TagDetails['image'] }) {
  if (image === null) return <Chip tone="bad">the image is missing</Chip>;
  if (image.kind === 'artifact')
    return isChart(image) ? <span>Helm chart</span> : <Foreign text={image.artifactType ?? 'artifact'} />;
  const platforms = image.platforms ?? [];
  if (platforms.length === 0) return <span class="soft">not known yet</span>;
  return (
    <ul class="platforms">
      {platforms.map((platform) => (
        <li>
          <bdi>{platformText(platform).replace(/^linux\//, '')}</bdi>{' '}
          <span class="soft">
            <Bytes value={platform.size} />
          </span>
        </li>
      ))}
    </ul>
  );
}
