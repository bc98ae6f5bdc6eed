/** The first page of a repository: its tags, or instructions for the first push if there are none. */

import { listTagDetails, type TagDetails } from '../../../app/images.ts';
import { getRepository, type Repository } from '../../../app/repositories.ts';
import { attachedTo } from '../../../oci/attachment.ts';
import { ATTACHED_TAGS_MAX, TAG_ORDERS, type TagOrder } from '../../../vocabulary/images.ts';
import { type AppEnv, callOf, hostOf, type RequestContext, repositoryIn } from '../../context.ts';
import { Hono } from '../../hono.ts';
import { render } from '../page.tsx';
import { repositoryAt, withQuery } from '../parts/addresses.ts';
import { pullCommands } from '../parts/pull-commands.ts';
import { Empty, Pager } from '../parts/table.tsx';
import { Command } from '../parts/text.tsx';
import { RepositoryPage } from './frame.tsx';
import { TagTable } from './tag-table.tsx';

export const tagPages = new Hono<AppEnv>().get('/repositories/:name{.+}', async (c) => {
  const wanted = wantedIn(c);
  const [repository, page] = await Promise.all([
    getRepository(callOf(c), repositoryIn(c)),
    listTagDetails(callOf(c), repositoryIn(c), { ...wanted, attached: wanted.attached ?? 'false' }),
  ]);
  return render(c, <Tags c={c} repository={repository} wanted={wanted} {...page} />);
});

interface Wanted {
  filter?: string;
  sort?: TagOrder;
  last?: string;
  /** With the tags of signatures and attestations. */
  attached?: 'true';
}

function wantedIn(c: RequestContext): Wanted {
  const [filter, sort, last] = [c.req.query('filter')?.trim(), c.req.query('sort'), c.req.query('last')];
  return {
    ...(filter ? { filter } : {}),
    ...((TAG_ORDERS as readonly (string | undefined)[]).includes(sort) ? { sort: sort as TagOrder } : {}),
    ...(last ? { last } : {}),
    ...(c.req.query('attached') === 'true' ? { attached: 'true' } : {}),
  };
}

interface TagsProps {
  c: RequestContext;
  repository: Repository;
  wanted: Wanted;
  items: TagDetails[];
  next: string | null;
  attached: number;
}

const ORDERS: readonly (readonly [TagOrder, string])[] = [
  ['newest', 'Newest first'],
  ['oldest', 'Oldest first'],
  ['name', 'By name'],
  ['version', 'By version'],
];

function Tags({ c, repository, wanted, items, next, attached }: TagsProps) {
  const { name } = repository;
  const { filter, sort, last } = wanted;
  const json = withQuery(`/api/v1/repositories/${name}/-/tags`, { filter, sort, attached: wanted.attached ?? 'false' });
  const isEmpty = items.length === 0 && filter === undefined && last === undefined && attached === 0 && next === null;
  return (
    <RepositoryPage c={c} repository={repository} tab="" json={json}>
      {isEmpty ? (
        <FirstPush host={hostOf(c)} name={name} />
      ) : (
        <>
          <PullNewest c={c} items={sort === undefined && filter === undefined && last === undefined ? items : []} />
          <Filters name={name} wanted={wanted} attached={attached} />
          <div id="results" data-results>
            {items.length === 0 ? <NoTags name={name} goesOn={next !== null} /> : <TagTable c={c} name={name} items={items} />}
            <Pager path={repositoryAt(name)} query={{ filter, sort, attached: wanted.attached }} last={last} next={next} />
          </div>
        </>
      )}
    </RepositoryPage>
  );
}

function Filters({ name, wanted, attached }: { name: string; wanted: Wanted; attached: number }) {
  return (
    <form class="filters" action={repositoryAt(name)} data-filter>
      <label>
        Filter tags
        <input name="filter" type="search" value={wanted.filter} maxlength={128} autocomplete="off" data-main-search />
      </label>
      <label>
        Sort
        <select name="sort">
          {ORDERS.map(([order, text]) => (
            <option value={order} selected={order === (wanted.sort ?? 'newest')}>
              {text}
            </option>
          ))}
        </select>
      </label>
      {attached === 0 && wanted.attached === undefined ? null : (
        <label class="check">
          <input type="checkbox" name="attached" value="true" checked={wanted.attached === 'true'} />
          <span>
            Show tags of signatures{' '}
            <span class="count">{attached >= ATTACHED_TAGS_MAX ? `${attached} or more` : attached}</span>
          </span>
        </label>
      )}
      <button type="submit">Show</button>
    </form>
  );
}

/** The command that pulls the newest tag. */
function PullNewest({ c, items }: { c: RequestContext; items: TagDetails[] }) {
  const newest = items.find(({ tag, image }) => attachedTo(tag) === null && image !== null);
  if (!newest?.image) return null;
  const { tag, digest, image } = newest;
  const place = { host: hostOf(c), repository: repositoryIn(c) };
  const [first] = pullCommands({ ...place, tag, digest, facts: image, platform: null }).byTag;
  return first === undefined ? null : <Command command={first.command} label="Copy the command that pulls the newest tag" />;
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
