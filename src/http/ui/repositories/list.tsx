/** The page that lists the repositories from which the reader may pull. */

import type { ListedRepository } from '../../../app/repositories.ts';
import { listRepositories } from '../../../app/repository-lists.ts';
import type { AppEnv, RequestContext } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { Page, render } from '../page.tsx';
import { repositoryAt, withQuery } from '../parts/addresses.ts';
import { type Column, Empty, Pager, RowName, Table } from '../parts/table.tsx';
import { Bytes, Chip, Icon, When } from '../parts/text.tsx';
import { viewerCall } from '../viewer.ts';

/** The number of repositories on one page. */
const PAGE_SIZE = 50;

interface Wanted {
  search: string | undefined;
  namespace: string | undefined;
  visibility: 'public' | 'private' | undefined;
}

function wantedIn(c: RequestContext): Wanted {
  const visibility = c.req.query('visibility');
  return {
    search: c.req.query('search')?.trim() || undefined,
    namespace: c.req.query('namespace')?.trim() || undefined,
    visibility: visibility === 'public' || visibility === 'private' ? visibility : undefined,
  };
}

export const repositoryListPages = new Hono<AppEnv>().get('/repositories', async (c) => {
  const call = await viewerCall(c);
  const wanted = wantedIn(c);
  const last = c.req.query('last');
  const { items, next } = await listRepositories(call, { after: last ?? '', limit: PAGE_SIZE }, wanted);
  const list = { c, wanted, items, next, last, isSignedIn: call.authority.subject !== '' };
  return render(c, <RepositoryList {...list} />);
});

interface ListProps {
  c: RequestContext;
  wanted: Wanted;
  items: ListedRepository[];
  next: string | null;
  last: string | undefined;
  isSignedIn: boolean;
}

function RepositoryList({ c, wanted, items, next, last, isSignedIn }: ListProps) {
  const { search, namespace, visibility } = wanted;
  const query = { search, namespace, visibility };
  const isFiltered = Object.values(query).some((value) => value !== undefined);
  return (
    <Page c={c} title="Repositories" section="repositories" json={withQuery('/api/v1/repositories', query)}>
      <header class="subject">
        <h1>Repositories</h1>
        {isSignedIn ? (
          <a class="button main" href={withQuery('/repositories/-/new', { namespace })}>
            Create repository
          </a>
        ) : null}
      </header>
      <Filters {...wanted} isFiltered={isFiltered} />
      <div id="results" data-results>
        {items.length === 0 ? (
          <NoRepositories isFiltered={isFiltered} isSignedIn={isSignedIn} goesOn={next !== null} />
        ) : (
          <Table caption="Repositories, by name" columns={COLUMNS} items={items} />
        )}
        <Pager path="/repositories" query={query} last={last} next={next} />
      </div>
    </Page>
  );
}

function Filters({ search, namespace, visibility, isFiltered }: Wanted & { isFiltered: boolean }) {
  return (
    <form class="filters" action="/repositories" data-filter>
      <label>
        Name or description
        <input name="search" type="search" value={search} maxlength={255} autocomplete="off" data-main-search />
      </label>
      <label>
        Namespace
        <input name="namespace" value={namespace} maxlength={64} autocomplete="off" placeholder="all" />
      </label>
      <label>
        Visibility
        <select name="visibility">
          {[
            ['', 'all'],
            ['public', 'public'],
            ['private', 'private'],
          ].map(([value, text]) => (
            <option value={value} selected={value === (visibility ?? '')}>
              {text}
            </option>
          ))}
        </select>
      </label>
      <button type="submit">Filter</button>
      {isFiltered ? <a href="/repositories">Clear</a> : null}
    </form>
  );
}

const COLUMNS: Column<ListedRepository>[] = [
  {
    head: 'Repository',
    cell: ({ name, description }) => <RowName href={repositoryAt(name)} name={name} description={description} />,
  },
  {
    head: 'Visibility',
    cell: ({ visibility }) => (
      <Chip tone={visibility === 'public' ? 'good' : 'plain'}>
        {visibility === 'private' ? <Icon name="lock" /> : null}
        {visibility}
      </Chip>
    ),
  },
  { head: 'Tags', kind: 'number', cell: ({ tags }) => tags.toLocaleString('en') },
  { head: 'Size', kind: 'number', cell: ({ bytes }) => <Bytes value={bytes} /> },
  { head: 'Last push', cell: ({ lastPushedAt }) => <When at={lastPushedAt} /> },
  { head: 'Stars', kind: 'number', cell: ({ stars }) => stars.toLocaleString('en') },
];

function NoRepositories({ isFiltered, isSignedIn, goesOn }: { isFiltered: boolean; isSignedIn: boolean; goesOn: boolean }) {
  if (goesOn) return <Empty title="Nothing on this page, but there are more pages" />;
  if (isFiltered) {
    return (
      <Empty title="No repository matches">
        <p>
          <a href="/repositories">Show all repositories</a>
        </p>
      </Empty>
    );
  }
  if (!isSignedIn) {
    return (
      <Empty title="No public repositories">
        <p>Sign in to see those that you may pull.</p>
      </Empty>
    );
  }
  return (
    <Empty title="No repositories yet">
      <p>Create one, or push an image: the first push creates its repository.</p>
      <p>
        <a class="button main" href="/repositories/-/new">
          Create repository
        </a>
      </p>
    </Empty>
  );
}
