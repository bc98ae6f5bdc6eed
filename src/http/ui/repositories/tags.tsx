/** The first page of a repository: its tags, or, if there are none, how to push the first image. */
import { Hono } from 'hono';
import { listTagDetails, type TagDetails } from '../../../app/images.ts';
import { getRepository, type Repository } from '../../../app/repositories.ts';
import { TAG_ORDERS, type TagOrder } from '../../../vocabulary/images.ts';
import { type AppEnv, callOf, hostOf, type RequestContext, repositoryIn } from '../../context.ts';
import { render } from '../page.tsx';
import { imageAt, repositoryAt, tagAt, withQuery } from '../parts/addresses.ts';
import { type Column, Empty, Pager, Table } from '../parts/table.tsx';
import { Bytes, Chip, Command, Day, Digest, Icon, Principal, When } from '../parts/text.tsx';
import { RepositoryPage } from './frame.tsx';

export const tagPages = new Hono<AppEnv>().get('/repositories/:name{.+}', async (c) => {
  const wanted = wantedIn(c);
  const [repository, page] = await Promise.all([
    getRepository(callOf(c), repositoryIn(c)),
    listTagDetails(callOf(c), repositoryIn(c), wanted),
  ]);
  return render(c, <Tags c={c} repository={repository} wanted={wanted} {...page} />);
});

interface Wanted {
  filter?: string;
  sort?: TagOrder;
  last?: string;
}

function wantedIn(c: RequestContext): Wanted {
  const [filter, sort, last] = [c.req.query('filter')?.trim(), c.req.query('sort'), c.req.query('last')];
  return {
    ...(filter ? { filter } : {}),
    ...((TAG_ORDERS as readonly (string | undefined)[]).includes(sort) ? { sort: sort as TagOrder } : {}),
    ...(last ? { last } : {}),
  };
}

interface TagsProps {
  c: RequestContext;
  repository: Repository;
  wanted: Wanted;
  items: TagDetails[];
  next: string | null;
}

const ORDERS: readonly (readonly [TagOrder, string])[] = [
  ['newest', 'Newest first'],
  ['oldest', 'Oldest first'],
  ['name', 'By name'],
  ['version', 'By version'],
];

function Tags({ c, repository, wanted: { filter, sort, last }, items, next }: TagsProps) {
  const { name } = repository;
  const json = withQuery(`/api/v1/repositories/${name}/-/tags`, { filter, sort });
  const isEmpty = items.length === 0 && filter === undefined && last === undefined;
  return (
    <RepositoryPage c={c} repository={repository} tab="" json={json}>
      {isEmpty ? (
        <FirstPush host={hostOf(c)} name={name} />
      ) : (
        <>
          <form class="filters" action={repositoryAt(name)} data-filter>
            <label>
              Filter tags
              <input name="filter" type="search" value={filter} maxlength={128} autocomplete="off" data-main-search />
            </label>
            <label>
              Sort
              <select name="sort">
                {ORDERS.map(([order, text]) => (
                  <option value={order} selected={order === (sort ?? 'newest')}>
                    {text}
                  </option>
                ))}
              </select>
            </label>
            <button type="submit">Show</button>
          </form>
          <div id="results" data-results>
            {items.length === 0 ? <NoTags name={name} goesOn={next !== null} /> : <TagTable name={name} items={items} />}
            <Pager path={repositoryAt(name)} query={{ filter, sort }} last={last} next={next} />
          </div>
        </>
      )}
    </RepositoryPage>
  );
}

function NoTags({ name, goesOn }: { name: string; goesOn: boolean }) {
  if (goesOn) return <Empty title="No match so far: there are more tags to look at on the next page" />;
  return (
    <Empty title="No tag matches">
      <p>
        <a href={repositoryAt(name)}>Show all tags</a>
      </p>
    </Empty>
  );
}

function FirstPush({ host, name }: { host: string; name: string }) {
  return (
    <section class="narrow" data-poll>
      <h2>Push the first image</h2>
      <ol class="steps">
        <li>
          Log in. The password is an access key.
          <Command command={`docker login ${host}`} />
        </li>
        <li>
          Give an image this registry's name.
          <Command command={`docker tag IMAGE ${host}/${name}:latest`} />
        </li>
        <li>
          Push it.
          <Command command={`docker push ${host}/${name}:latest`} />
        </li>
      </ol>
      <p class="soft">
        This page shows the tag as soon as it is here. <a href={repositoryAt(name)}>Look again</a>
      </p>
    </section>
  );
}

function TagTable({ name, items }: { name: string; items: TagDetails[] }) {
  return <Table caption={`Tags of ${name}`} columns={columnsOf(name)} items={items} />;
}

function columnsOf(name: string): Column<TagDetails>[] {
  return [
    {
      head: 'Tag',
      cell: ({ tag, immutable, sameAs }) => (
        <>
          <a class="strong mono" href={tagAt(name, tag)} data-row>
            {tag}
          </a>
          {immutable ? (
            <Chip title="It can be neither moved nor deleted">
              <Icon name="lock" /> immutable
            </Chip>
          ) : null}
          {sameAs.length === 0 ? null : <span class="soft">same as {sameAs.slice(0, 3).join(', ')}</span>}
        </>
      ),
    },
    { head: 'Platforms', cell: ({ image }) => <Platforms image={image} /> },
    { head: 'Size', kind: 'number', cell: ({ image }) => <Bytes value={image?.size ?? null} /> },
    { head: 'Digest', cell: ({ digest }) => <Digest digest={digest} href={imageAt(name, digest)} /> },
    {
      head: 'Pushed',
      cell: ({ pushedAt, tagged }) => (
        <>
          <When at={pushedAt} />
          {tagged?.by ? (
            <span class="soft">
              by <Principal subject={tagged.by.subject} {...(tagged.by.key ? { key: tagged.by.key } : {})} />
            </span>
          ) : null}
        </>
      ),
    },
    { head: 'Last pull', cell: ({ image }) => <Day day={image?.lastPulledOn ?? null} /> },
  ];
}

function Platforms({ image }: { image: TagDetails['image'] }) {
  if (image === null) return <Chip tone="bad">the image is missing</Chip>;
  if (image.kind === 'artifact') return <span>{image.artifactType ?? 'artifact'}</span>;
  const platforms = image.platforms ?? [];
  if (platforms.length === 0) return <span class="soft">not known yet</span>;
  return (
    <ul class="platforms">
      {platforms.map(({ os, architecture, variant, size }) => (
        <li>
          {[os === 'linux' ? null : os, architecture, variant].filter(Boolean).join('/') || 'any'}{' '}
          <span class="soft">
            <Bytes value={size} />
          </span>
        </li>
      ))}
    </ul>
  );
}
